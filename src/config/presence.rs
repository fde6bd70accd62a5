//! `[presence]`: who is there.

use crate::section::{preset, section};

section! {
    /// Whether people see of those with whom they share a room if they are there.
    [presence]
    pub struct Presence {
        /// Keeps and tells presence. Clients expect it; where it would watch people at work, turn it off: everybody is
        /// offline then.
        enabled: bool = preset(true),
    }
}
