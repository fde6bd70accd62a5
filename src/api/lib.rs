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

use std::{
    future::Future,
    panic::resume_unwind,
    sync::{Arc, Once},
};

use depesche_config::Config;
use depesche_server::{
    Server,
    turns::{self, Turns},
};
use ruma::UserId;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use body::Bodies;
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
    bodies: Bodies,
    large: LargeAnswers,
    /// Whether the log has said that a proxy may have been forgotten in the configuration.
    told_of_a_proxy: Once,
    /// What goes on whoever waits for it.
    work: TaskTracker,
}

/// Large answers being made at a time; each may take a megabyte and more for every thousand members of a room.
const LARGE_AT_ONCE: usize = 8;

/// The turns of answers that may be large: one of each user, a few of all.
struct LargeAnswers {
    of_users: Turns,
    of_all: Semaphore,
}

impl Default for LargeAnswers {
    fn default() -> Self {
        Self { of_users: Turns::default(), of_all: Semaphore::new(LARGE_AT_ONCE) }
    }
}

/// The turn of a large answer, until this is dropped.
struct LargeTurn<'a> {
    _own: Option<turns::Held<'a>>,
    _of_all: Option<SemaphorePermit<'a>>,
}

impl LargeAnswers {
    async fn turn(&self, user: Option<&UserId>) -> LargeTurn<'_> {
        let own = match user {
            Some(user) => Some(self.of_users.of(user).await),
            None => None,
        };
        // Nobody closes it.
        LargeTurn { _own: own, _of_all: self.of_all.acquire().await.ok() }
    }
}

impl App {
    /// Over a server, by its own configuration.
    pub fn new(server: Arc<Server>) -> Arc<Self> {
        let config = Arc::clone(&server.base.config);
        let rate_limits = RateLimits::new(&config.rate_limits);
        Arc::new(Self {
            config,
            server,
            rate_limits,
            bodies: Bodies::default(),
            large: LargeAnswers::default(),
            told_of_a_proxy: Once::new(),
            work: TaskTracker::new(),
        })
    }

    /// Carries out to its end what changes something, also when its client does not wait for the answer: behind a commit
    /// stand effects that only the handler brings about. A panic goes on where it would have.
    pub(crate) async fn carry_out<F>(&self, work: F) -> F::Output
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        match self.work.spawn(work.in_current_span()).await {
            Ok(answer) => answer,
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // Only the end of the process ends a task from outside.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Resolves when all that was begun is carried out. To be called when no requests come any more.
    pub async fn finished(&self) {
        self.work.close();
        self.work.wait().await;
    }
}

#[cfg(test)]
mod tests;
