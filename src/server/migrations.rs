//! From an older schema to this program's, one migration after the other, at the start and before anything else. Which
//! there are stands in `schemas.rs`.
//!
//! The first batch of a migration raises the schema of the database, so that from then on no older program opens it, says
//! that it is under way, and removes the rows that it ends. It then goes through ranges of rows, in batches that also say
//! how far it has come: killed, it goes on from there. The last batch ends it. All of them require a lease, so that of two
//! processes one works and the other waits.
//!
//! Where older records can be read through (a new version of a record), a migration without rows raises the schema:
//! `schemas.rs`.

use std::time::{Duration, Instant};

use depesche_store::{Bytes, Engine, Lease, LeaseError, MAX_SCAN, Range};
use futures::future::BoxFuture;

use crate::{
    clock::Clock,
    keyspace::{IDENTITY, MIGRATION},
    records::server::MigrationState,
    tx::{Fault, Tx},
};

/// The name of the lease.
const LEASE: &str = "migration";
/// Who holds it. There is one process to a database at present, which the lock of the data folder keeps: after a kill the
/// next one takes the lease over at once. Several nodes will have names of their own.
const HOLDER: &str = "node";
/// How long the lease lasts unless it is renewed, which every batch does when half of it is over.
const LASTS: Duration = Duration::from_secs(30);
/// Rows of one batch, at most.
pub const ROWS: usize = 500;
/// A batch takes no further row once those it has are of so many bytes.
const BYTES: usize = 1 << 20;
/// How often the log says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// One step between two schemas.
pub struct Migration {
    /// The schema it leads to, from the one before.
    pub to: u32,
    /// What it does, for the log.
    pub what: &'static str,
    /// Rows that are not needed any more, or made anew: they go first.
    pub ends: fn() -> Vec<Range>,
    /// The rows it goes through, in stored form and in their order. It may write others, but none that is still before it.
    pub rows: fn() -> Vec<Range>,
    /// How many of them share a batch, at most.
    pub at_a_time: usize,
    /// What becomes of them. Sees each row once, in their order; writes at most some kilobytes a row.
    pub change: for<'a> fn(Step<'a>) -> BoxFuture<'a, Result<(), Fault>>,
}

/// One batch of a migration.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// The batch.
    pub tx: &'a Tx,
    /// The next rows: keys and values.
    pub rows: &'a [(Bytes, Bytes)],
    /// The time.
    pub now_ms: u64,
}

/// Why the database was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The lease cannot be had.
    #[error("the migration of the database cannot go on: {0}")]
    Lease(#[from] LeaseError),
    /// There is no way from the schema of the database.
    #[error("this program has no migration of the database to schema {0}")]
    Missing(u32),
    /// The database could not be read or written.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Whether [`run`] would change the database.
pub async fn is_due(engine: &dyn Engine, schema: u32) -> Result<bool, Fault> {
    let tx = Tx::new(engine.snapshot());
    let identity = tx.peek(&IDENTITY, &(0,)).await?;
    Ok(identity.is_some_and(|identity| identity.schema < schema) || tx.peek(&MIGRATION, &(0,)).await?.is_some())
}

/// Brings a database up to this schema. Does nothing, and takes no lease, if it is there.
pub async fn run(engine: &dyn Engine, clock: &Clock, all: &[Migration], schema: u32) -> Result<(), MigrationError> {
    let tx = Tx::new(engine.snapshot());
    let identity = tx.peek(&IDENTITY, &(0,)).await?;
    if identity.is_none_or(|identity| identity.schema == schema) && tx.peek(&MIGRATION, &(0,)).await?.is_none() {
        return Ok(());
    }
    let mut run = Run { engine, clock, lease: lease(engine, clock).await?, said: Instant::now() };
    while run.step(all, schema).await? {}
    Ok(run.lease.release(engine).await?)
}

/// Waits for whoever has it.
async fn lease(engine: &dyn Engine, clock: &Clock) -> Result<Lease, LeaseError> {
    loop {
        match Lease::acquire(engine, LEASE, HOLDER, clock.now_ms(), LASTS).await {
            Err(LeaseError::Held { holder, left_ms }) => {
                tracing::info!(holder, left_ms, "another process brings the database up to date; waiting");
                tokio::time::sleep(Duration::from_millis(left_ms.min(1000))).await;
            }
            outcome => return outcome,
        }
    }
}

/// Migrations under way.
struct Run<'a> {
    engine: &'a dyn Engine,
    clock: &'a Clock,
    lease: Lease,
    said: Instant,
}

impl Run<'_> {
    /// One batch. False if there is nothing left to do.
    async fn step(&mut self, all: &[Migration], schema: u32) -> Result<bool, MigrationError> {
        let now_ms = self.clock.now_ms();
        if self.lease.expires_ms.saturating_sub(now_ms) < u64::try_from(LASTS.as_millis()).unwrap_or(u64::MAX) / 2 {
            self.lease.renew(self.engine, now_ms, LASTS).await?;
        }
        let tx = Tx::new(self.engine.snapshot());
        tx.under(&self.lease);
        let find = |to: u32| all.iter().find(|migration| migration.to == to).ok_or(MigrationError::Missing(to));
        if let Some(state) = tx.read(&MIGRATION, &(0,)).await? {
            self.go_on(&tx, find(state.to)?, state).await?;
        } else {
            let Some(mut identity) = tx.read(&IDENTITY, &(0,)).await? else { return Ok(false) };
            if identity.schema >= schema {
                return Ok(false);
            }
            identity.schema += 1;
            let migration = find(identity.schema)?;
            tracing::info!(schema = migration.to, what = migration.what, "migrating the database");
            for range in (migration.ends)() {
                tx.delete_range(range);
            }
            tx.put(&IDENTITY, &(0,), &identity);
            tx.put(&MIGRATION, &(0,), &MigrationState { to: migration.to, after: Vec::new(), rows: 0 });
        }
        self.engine.commit(tx.finish()).await.map_err(Fault::from)?;
        Ok(true)
    }

    /// The next rows, or the end.
    async fn go_on(&mut self, tx: &Tx, migration: &Migration, mut state: MigrationState) -> Result<(), Fault> {
        let rows = next_rows(tx, migration, &state.after).await?;
        let Some((last, _)) = rows.last() else {
            tracing::info!(schema = migration.to, what = migration.what, rows = state.rows, "the database is migrated");
            tx.delete(&MIGRATION, &(0,));
            return Ok(());
        };
        state.after = last.to_vec();
        state.rows += rows.len() as u64;
        (migration.change)(Step { tx, rows: &rows, now_ms: self.clock.now_ms() }).await?;
        if self.said.elapsed() >= SAY_EVERY {
            self.said = Instant::now();
            tracing::info!(schema = migration.to, what = migration.what, rows = state.rows, "migrating the database");
        }
        tx.put(&MIGRATION, &(0,), &state);
        Ok(())
    }
}

/// The first rows behind a key that a batch takes, of the first range that has any.
async fn next_rows(tx: &Tx, migration: &Migration, after: &[u8]) -> Result<Vec<(Bytes, Bytes)>, Fault> {
    for mut range in (migration.rows)() {
        let behind: Bytes = [after, &[0]].concat().into();
        if !after.is_empty() && behind > range.from {
            range.from = behind;
        }
        if range.is_empty() {
            continue;
        }
        let mut rows = tx.view().scan_stored(range, migration.at_a_time.clamp(1, MAX_SCAN)).await?;
        let (mut bytes, mut taken) = (0, 0);
        for (key, value) in &rows {
            if bytes > BYTES {
                break;
            }
            bytes += key.len() + value.len();
            taken += 1;
        }
        rows.truncate(taken);
        if !rows.is_empty() {
            return Ok(rows);
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests;
