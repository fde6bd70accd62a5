//! The server as a whole on the memory engine: what it costs, what it writes, and what a crash leaves.

mod big_room;
mod growth;
mod hot_room;
mod records;
mod verify;

use std::sync::Arc;

use depesche_config::Config;
use depesche_rules::signing::SigningKey;
use depesche_store::Engine;
use ruma::server_name;

use crate::{Clock, Parts, Random, Server};

/// When the tests begin.
const START_MS: u64 = 1_700_000_000_000;

/// A server `agency.test` over an engine: paused clock, seeded randomness.
async fn start(engine: Arc<dyn Engine>) -> Arc<Server> {
    let (clock, _) = Clock::paused(START_MS);
    let config = Arc::new(Config::named(server_name!("agency.test")));
    let key = SigningKey::from_seed([7; 32], "test").expect("a valid version");
    let parts = Parts { config, engine, key, clock, random: Random::seeded(1) };
    Server::start(parts).await.expect("the server starts")
}
