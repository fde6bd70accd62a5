//! `[rooms]`: new rooms.

use ruma::RoomVersionId;

use crate::section::{preset, section};

section! {
    /// New rooms.
    [rooms]
    pub struct Rooms {
        /// The version of rooms for which the client names none: "6" to "12"; "3" to "5" work but are outdated.
        default_version: RoomVersionId = preset(RoomVersionId::V12),
    }
}
