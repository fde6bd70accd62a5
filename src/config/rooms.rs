//! `[rooms]`: new rooms.

use ruma::RoomVersionId;

use crate::section::{preset, section};

section! {
    /// New rooms.
    [rooms]
    pub struct Rooms {
        /// The version of rooms for which the client names none: "6" to "12"; "3" to "5" work but are outdated.
        /// Older clients that give levels to a room's creator cannot create rooms of version "12": "11" serves them.
        default_version: RoomVersionId = preset(RoomVersionId::V12),
    }
}
