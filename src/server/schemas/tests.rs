//! Databases of earlier schemas.

mod expiry;
mod relations;

use std::sync::Arc;

use depesche_store::{
    Bytes, Engine, Options, Range,
    faults::{Fault as Injected, Faults},
    memory::Memory,
};

use super::MIGRATIONS;
use crate::{
    clock::Clock,
    identity::SCHEMA,
    keyspace::IDENTITY,
    migrations::{self, Migration},
    records::server::Identity,
    tx::{Tx, View},
};

type Rows = Vec<(Bytes, Bytes)>;

/// All rows of some ranges, as they are stored.
async fn rows(engine: &dyn Engine, ranges: impl IntoIterator<Item = Range>) -> Rows {
    let mut found = Vec::new();
    for range in ranges {
        found.extend(View::new(engine.snapshot()).scan_stored(range, 10_000).await.unwrap());
    }
    found
}

/// Makes the database one of an earlier schema, with what a test changes.
async fn set_back(engine: &dyn Engine, schema: u32, change: impl FnOnce(&Tx)) {
    let tx = Tx::new(engine.snapshot());
    let identity = tx.read(&IDENTITY, &(0,)).await.unwrap();
    let name = ruma::owned_server_name!("agency.test");
    let identity = identity.unwrap_or(Identity { schema, name });
    tx.put(&IDENTITY, &(0,), &Identity { schema, ..identity });
    change(&tx);
    engine.commit(tx.finish()).await.unwrap();
}

/// The migration to a schema, in steps of so many rows.
fn migration_to(schema: u32, at_a_time: usize) -> Migration {
    let Migration { to, what, ends, rows, change, .. } =
        *MIGRATIONS.iter().find(|migration| migration.to == schema).unwrap();
    Migration { to, what, ends, rows, at_a_time, change }
}

/// Migrates, killed at every commit in turn: `back` makes the old database, `check` looks at the new one. Says how many
/// commits it takes.
async fn killed_at_every_commit(
    engine: &Arc<dyn Engine>,
    migration: Migration,
    back: impl AsyncFn(),
    check: impl AsyncFn(&str),
) -> usize {
    let (clock, _) = Clock::paused(1_700_000_000_000);
    let (to, all) = (migration.to, [migration]);
    for commits in 0.. {
        for last in [Injected::UnknownLost, Injected::UnknownApplied] {
            back().await;
            let faults = Faults::new(Arc::clone(engine));
            let control = faults.control();
            control.next(std::iter::repeat_n(Injected::None, commits).chain([last]));
            let outcome = migrations::run(&faults, &clock, &all, to).await;
            if control.left() > 0 {
                assert!(outcome.is_ok());
                return commits;
            }
            migrations::run(engine.as_ref(), &clock, &all, to).await.unwrap();
            check(&format!("killed after {commits} commits, {last:?}")).await;
        }
    }
    unreachable!("no migration is without end")
}

#[tokio::test]
async fn a_database_with_older_records_opens_and_older_programs_refuse_it_from_then_on() {
    let engine: Arc<dyn Engine> = Arc::new(Memory::new(Options::default()));
    set_back(engine.as_ref(), 3, |_| ()).await;
    let (clock, _) = Clock::paused(1_700_000_000_000);
    migrations::run(engine.as_ref(), &clock, MIGRATIONS, SCHEMA).await.unwrap();
    let identity = Tx::new(engine.snapshot()).peek(&IDENTITY, &(0,)).await.unwrap();
    assert_eq!(identity.map(|identity| identity.schema), Some(SCHEMA));
    assert!(!migrations::is_due(engine.as_ref(), SCHEMA).await.unwrap());
}

#[test]
fn every_schema_has_its_migration() {
    let steps = MIGRATIONS.iter().map(|migration| migration.to);
    assert!(steps.eq((1..SCHEMA).map(|from| from + 1)));
}
