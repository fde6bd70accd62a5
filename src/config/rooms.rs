//! `[rooms]`: new rooms.

use ruma::RoomVersionId;

use crate::section::{preset, section};

section! {
    /// New rooms.
    [rooms]
    pub struct Rooms {
        /// The version of rooms for which the client names none: "6" to "12"; "3" to "5" work but are outdated.
        default_version: RoomVersionId = preset(RoomVersionId::V12),
        /// How many people one request may invite when it creates a room.
        invites_per_creation: usize = preset(100).within(0..=10_000),
    }
}
