//! Black-box cases against a running Matrix server, over HTTP alone.
//!
//! The same case runs against Depesche and, as the oracle, against a Synapse from PyPI: a case that passes there is
//! proved to ask for what the specification says and not for what we happen to do. `DEPESCHE_TARGET` chooses.
//!
//! - [`server`] starts a target on a free port with a data directory of its own, and ends it; `operator` does what only
//!   who runs it can do.
//! - [`client`] sends one request, named by the path *template* of the specification, and judges the answer.
//! - [`user`] is a registered person with a device; [`sync`] follows `/sync` for one.
//! - [`gateway`] is a push gateway, [`site`] a web site.
//! - [`keys`] makes end-to-end keys with real signatures.
//! - [`object_store`] is a store of files that speaks the S3 protocol.
//! - [`oracle`] reads the cases' sources and keeps `oracle.tsv`; [`source`] knows what a case uses of its file.
//!
//! Nothing here knows the inside of a server. Only the test of the ledger reads our table of routes.

pub mod client;
pub mod gateway;
pub mod keys;
pub mod object_store;
mod operator;
pub mod oracle;
mod process;
pub mod server;
pub mod site;
pub mod source;
pub mod sync;
mod targets;
pub mod user;

pub use client::{Answer, Client, Request};
pub use server::{Server, Target, differs, shared, target};
pub use sync::{RoomSync, Syncer};
pub use targets::binary;
pub use user::User;

/// What nearly every case needs.
pub mod prelude {
    pub use crate::{Answer, Client, Request, RoomSync, Server, Syncer, Target, User, differs, shared, target};
    pub use serde_json::{Value, json};
}
