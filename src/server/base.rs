//! What every part of the server stands on: the store, the clock, randomness, the configuration and who we are.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Arc, atomic::AtomicU64},
};

use depesche_config::Config;
use depesche_store::{CommitError, Engine, Mutex, Position, Topics};
use ruma::{MilliSecondsSinceUnixEpoch, OwnedServerName, UInt};
use tokio::sync::watch;

use crate::{
    clock::{Clock, Random},
    event_cache::EventCache,
    keyspace::RoomNo,
    stripes::Stripes,
    tx::{Fault, Tx, View},
};

/// How often a batch is built anew after a conflict, the first time included.
const ATTEMPTS: usize = 8;
/// Damaged rooms of which the log knows; beyond, it is told of them anew.
const DAMAGED: usize = 10_000;

/// Shared by all parts of one server; one per [`crate::Server`].
pub struct Base {
    /// The database.
    pub engine: Arc<dyn Engine>,
    /// The wall clock.
    pub clock: Clock,
    /// The source of randomness.
    pub random: Random,
    /// Events that were read or written lately.
    pub events: Arc<EventCache>,
    /// The operator's choices.
    pub config: Arc<Config>,
    /// The server's own name.
    pub name: OwnedServerName,
    /// Counts the users who came to have a pusher, and is 0 while nobody has one: until then no event leaves a row for push.
    pub pushers: AtomicU64,
    /// Becomes true when the server stops: whoever waits gives up.
    pub stopping: watch::Receiver<bool>,
    /// Damaged rooms that are in the log.
    damaged: Mutex<HashSet<RoomNo>>,
    /// Those who lost a conflict, by its key.
    contended: Stripes,
}

impl Base {
    /// What a server with this configuration stands on, until `stopping` becomes true.
    pub fn new(
        engine: Arc<dyn Engine>,
        clock: Clock,
        random: Random,
        config: Arc<Config>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let events = Arc::new(EventCache::new(config.store.event_cache_mb << 20));
        let name = config.server.name.clone();
        Self {
            engine,
            clock,
            random,
            events,
            config,
            name,
            pushers: AtomicU64::new(0),
            stopping,
            damaged: Mutex::default(),
            contended: Stripes::default(),
        }
    }

    /// The newest snapshot, for reading.
    pub fn view(&self) -> View {
        View::beside(self.engine.snapshot(), Arc::clone(&self.events))
    }

    /// An empty batch over the newest snapshot.
    pub fn tx(&self) -> Tx {
        Tx::over(self.view())
    }

    /// The time, as events carry it.
    pub fn now(&self) -> MilliSecondsSinceUnixEpoch {
        // Beyond the largest integer of JSON (the year 287396) the clock is wrong, not the event.
        MilliSecondsSinceUnixEpoch(UInt::new_wrapping(self.clock.now_ms()))
    }

    /// Who waits for what.
    pub fn topics(&self) -> &Arc<Topics> {
        self.engine.topics()
    }

    /// Commits a batch. An empty one is not sent: its position is that of the snapshot it read.
    pub async fn commit(&self, tx: &Tx) -> Result<Position, Fault> {
        let batch = tx.finish();
        if batch.is_empty() {
            return Ok(tx.view().position());
        }
        Ok(self.engine.commit(batch).await?)
    }

    /// Reads, decides and commits; on a conflict with another batch, all of it again. `decide` must therefore have no
    /// effect but what it puts into the batch. An error of `decide` commits nothing.
    ///
    /// Who was in conflict waits in the queue of its key before the next attempt: of many who want one row at once each
    /// gets it, one after the other. Nobody has more than one turn, and `decide` waits for nobody else's.
    ///
    /// ```text
    /// base.transact(|tx| async move {
    ///     let profile = tx.read(&PROFILE, &key).await?;
    ///     tx.put(&PROFILE, &key, &changed(profile));
    ///     Ok(())
    /// }).await
    /// ```
    pub async fn transact<T, E, F, R>(&self, decide: F) -> Result<T, E>
    where
        E: From<Fault>,
        F: Fn(Tx) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let (mut attempt, mut wanted) = (1, None);
        loop {
            let turn = match &wanted {
                Some(key) => Some(self.contended.of(key).await),
                None => None,
            };
            let tx = self.tx();
            let value = decide(tx.clone()).await?;
            let committed = self.commit(&tx).await;
            // Before the next is waited for.
            drop(turn);
            match committed {
                Ok(_) => return Ok(value),
                Err(Fault::Commit(CommitError::Conflict(key))) if attempt < ATTEMPTS => {
                    attempt += 1;
                    wanted = Some(key);
                }
                Err(fault) => return Err(fault.into()),
            }
        }
    }

    /// What a room gives to an answer about many; nothing if what is stored of it is damaged. That is an error in the
    /// log, once for each room, and takes no other room from anybody.
    pub fn unless_damaged<T>(&self, room: RoomNo, outcome: Result<T, Fault>) -> Result<Option<T>, Fault> {
        let fault = match outcome {
            Ok(value) => return Ok(Some(value)),
            Err(fault) if fault.is_damage() => fault,
            Err(fault) => return Err(fault),
        };
        let mut damaged = self.damaged.lock();
        if damaged.len() >= DAMAGED {
            damaged.clear();
        }
        if damaged.insert(room) {
            tracing::error!(room, %fault, "a room cannot be read; it is left out");
        }
        Ok(None)
    }

    /// Resolves when the server stops.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the sender is gone, which is the end as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
