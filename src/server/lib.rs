//! The homeserver: no HTTP, no storage engine, no TLS.
//!
//! `layers.rs` has the modules in the order to read them: each uses only what stands above it, and a test keeps it so.

pub mod account_data;
pub mod accounts;
pub mod backup;
pub mod base;
pub mod clock;
pub mod codec;
pub mod devices;
pub mod directory;
pub mod event_cache;
pub mod expiry;
pub mod filters;
pub mod identity;
pub mod keys;
pub mod keyspace;
pub mod media;
pub mod migrations;
pub mod notifications;
pub mod outbox;
pub mod presence;
pub mod previews;
pub mod profiles;
pub mod push_rules;
pub mod pushers;
pub mod records;
pub mod reports;
pub mod restored;
pub mod rooms;
pub mod schemas;
pub mod search;
mod server;
pub mod spaces;
mod stripes;
pub mod sync;
pub mod table;
mod tasks;
pub mod to_device;
pub mod topic;
pub mod turn;
pub mod turns;
pub mod tx;
pub mod typing;
pub mod user_directory;
pub mod verify;
pub mod workflows;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod layers;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod writers;

pub use base::Base;
pub use clock::{Clock, Random};
pub use depesche_store::Mutex;
pub use server::{Parts, Server, StartError};
pub use tx::Fault;
