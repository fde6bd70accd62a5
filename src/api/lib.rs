//! HTTP in and out: routes, callers, status codes and errcodes.
//!
//! The only crate that knows them. A request goes through [`routes`] (the table), [`route`] (ruma's types on axum's
//! router), [`caller`] (who asks), its handler under [`client`], one call to the server, and back; [`envelope`] surrounds
//! every answer, [`error`] is every refusal. A handler parses nothing and stores nothing.
//!
//! To add an endpoint, read `docs/adding-an-endpoint.md`.

pub mod admin;
pub mod body;
pub mod caller;
pub mod client;
mod envelope;
pub mod error;
pub mod federation;
pub mod media;
mod page;
mod rate_limit;
pub mod route;
pub mod routes;
pub mod r#static;
mod uia;
pub mod well_known;

use std::sync::Arc;

use depesche_config::Config;
use depesche_server::Server;

use rate_limit::RateLimits;

pub use admin::router as admin_router;
pub use caller::AnsweredTo;
pub use routes::{Routed, listing, router};

/// What the handlers work with.
pub struct App {
    /// The operator's choices.
    pub config: Arc<Config>,
    /// The homeserver.
    pub server: Arc<Server>,
    rate_limits: RateLimits,
}

impl App {
    /// Over a server, by its own configuration.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        let config = Arc::clone(&server.base.config);
        let rate_limits = RateLimits::new(&config.rate_limits);
        Arc::new(Self { config, server, rate_limits })
    }
}

#[cfg(test)]
mod tests;
