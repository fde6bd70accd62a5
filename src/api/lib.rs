//! HTTP in and out: routes, callers, status codes and errcodes.
//!
//! The only crate that knows them. A request goes through [`routes`] (the table), [`route`] (ruma's types on axum's
//! router), [`caller`] (who asks), its handler under [`client`], one call to the server, and back; [`envelope`] surrounds
//! every answer, [`error`] is every refusal. A handler parses nothing and stores nothing.
//!
//! To add an endpoint, read `docs/adding-an-endpoint.md`.

pub mod body;
pub mod caller;
pub mod client;
mod envelope;
pub mod error;
pub mod route;
pub mod routes;
pub mod well_known;

use std::sync::Arc;

use ipnet::IpNet;
use ruma::RoomVersionId;

pub use routes::{Routed, listing, router};

/// What the handlers work with.
pub struct App {
    /// Looks access tokens up.
    pub tokens: Arc<dyn caller::Tokens>,
    /// The proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// The URL at which clients reach this server, for `/.well-known/matrix/client`.
    pub client_base_url: Option<String>,
    /// The version of rooms whose creator names none.
    pub default_room_version: RoomVersionId,
    /// Whom to ask for help, for `/.well-known/matrix/support`.
    pub support: Option<well_known::Support>,
}

#[cfg(test)]
mod tests;
