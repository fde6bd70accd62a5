//! The client-server API: one module for each first segment after the version in the URL.

pub mod capabilities;
pub mod create_room;
pub mod directory;
pub mod join;
pub mod joined_rooms;
pub mod knock;
pub mod rooms;
pub mod sync;
pub mod versions;
