//! The homeserver: no HTTP, no storage engine, no TLS.
//!
//! Read the modules in this order; each uses only what stands above it (a test keeps it so).

pub mod backup;
pub mod base;
pub mod rooms;
pub mod workflows;
pub mod clock;
pub mod codec;
pub mod keys;
pub mod keyspace;
pub mod records;
pub mod table;
pub mod to_device;
pub mod topic;
pub mod tx;

pub use base::Base;
pub use clock::{Clock, Random};
pub use tx::Fault;
