//! `[federation]`: other servers. The section exists so that its absence is said and not only felt.

use crate::section::{preset, section};

section! {
    /// Other servers. This version does not federate: people talk with people of this server only.
    [federation]
    pub struct Federation {
        /// Whether to talk with other servers. Only false is possible in this version.
        enabled: bool = preset(false),
    }
}
