//! Every stored type, versioned. A snapshot test holds the bytes of each.

pub mod accounts;
pub mod events;
pub mod keys;
pub mod media;
pub mod push;
pub mod reading;
pub mod relations;
pub mod reports;
pub mod rooms;
pub mod search;
pub mod server;
#[cfg(test)]
mod testing;
