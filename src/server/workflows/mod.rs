//! What takes more than one part of the server: creating a room, deactivating an account, changing a profile everywhere.

pub mod create;
pub mod deactivate;
pub mod profile;
