//! `[search]`: finding messages.

use crate::section::{preset, section};

section! {
    /// Whether people find messages, names and topics of their rooms by words. Encrypted rooms are never searched.
    [search]
    pub struct Search {
        /// Keeps an index of the words of unencrypted messages. Without it clients are told that there is no search; it is
        /// brought up to date when it is turned on again.
        enabled: bool = preset(true),
    }
}
