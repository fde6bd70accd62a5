//! The server as a whole on the memory engine: what it costs, what it writes, and what a crash leaves.

mod big_room;
mod crash;
mod growth;
mod hot_room;
mod people;
mod records;
mod replay;
mod script;
mod verify;

use std::sync::Arc;

use depesche_config::Config;
use depesche_rules::signing::SigningKey;
use depesche_store::Engine;

use crate::{
    Clock, Parts, Random, Server, StartError,
    media::memory::{MemoryBlobs, NoThumbnails},
};

/// When the tests begin.
const START_MS: u64 = 1_700_000_000_000;
/// Logging in by token costs no password hash.
const CONFIG: &str = "[server]\nname = \"agency.test\"\n[accounts]\ntoken_login = true";

/// A server `agency.test` over an engine: paused clock, randomness seeded by where the engine stands, so that a restarted
/// server draws other numbers.
async fn start(engine: Arc<dyn Engine>) -> Arc<Server> {
    open(engine).await.expect("the server starts")
}

/// As [`start`], where the engine may fail.
async fn open(engine: Arc<dyn Engine>) -> Result<Arc<Server>, StartError> {
    let (clock, _) = Clock::paused(START_MS);
    let config = Arc::new(Config::parse(CONFIG).expect("a valid configuration"));
    let key = SigningKey::from_seed([7; 32], "test").expect("a valid version");
    let random = Random::seeded(engine.snapshot().position().0);
    let (blobs, thumbnailer) = (Arc::new(MemoryBlobs::default()), Arc::new(NoThumbnails));
    Server::start(Parts { config, engine, key, clock, random, copied: None, blobs, thumbnailer }).await
}
