//! The promises of the contract as tests, for every engine: [`conformance_tests!`](crate::conformance_tests) makes one
//! test of each case, [`differential`] drives two engines with the same random steps and compares, and
//! [`follows_the_model`] one engine and a plain map.
//!
//! An engine's tests implement [`Database`] and call all of them. The cases wait for events, never for time; a case that
//! waits for something that does not come fails after [`PATIENCE`].

pub mod commits;
mod differential;
pub mod follow;
pub mod leases;
mod model;
pub mod reads;
pub mod restart;

pub use differential::differential;
pub use model::follows_the_model;

use std::{future::Future, path::Path, sync::Arc, time::Duration};

use crate::{
    Batch, Bytes, CommitError, Engine, Operation, Options, Position, Range, Requirement, Row, Topic, memory::Memory,
};

/// How long a case may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A database under test. Dropping it removes what it put on disk.
pub trait Database: Sized {
    /// An empty database.
    fn create(options: Options) -> Self;

    /// The open engine. Cases give back what they got from it before they reopen.
    fn engine(&self) -> Arc<dyn Engine>;

    /// An orderly end and a new start.
    fn reopen(self) -> Self;

    /// Opens the checkpoint in this directory. It may be changed; the caller removes it.
    fn restore(options: Options, copy: &Path) -> Self;
}

/// The memory engine as a database under test.
pub struct MemoryDatabase(Memory);

impl Database for MemoryDatabase {
    fn create(options: Options) -> Self {
        Self(Memory::new(options))
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(self.0.clone())
    }

    fn reopen(self) -> Self {
        Self(self.0.reopen())
    }

    fn restore(options: Options, copy: &Path) -> Self {
        Self(Memory::restore(options, copy).expect("the checkpoint opens"))
    }
}

/// Makes a test of every case for a [`Database`](crate::conformance::Database).
#[macro_export]
macro_rules! conformance_tests {
    ($database:ty) => {
        $crate::conformance_tests!(@ $database, commits:
            a_batch_is_applied_whole_or_not_at_all, a_batch_does_everything_at_once,
            ranges_are_deleted_before_the_writes, required_values, requirements_see_the_group,
            a_conflict_names_the_key, stamps_carry_the_position, batches_outside_the_contract_are_refused,
            concurrent_commits_have_an_order, lazy_batches_are_visible_when_answered, a_dropped_commit_is_whole,
            a_batch_at_its_limits);
        $crate::conformance_tests!(@ $database, reads:
            a_snapshot_stays_as_it_was, scans_in_both_directions, prefixes, many_keys_at_once, limits_of_reads,
            large_rows, the_engines_own_rows_stay_hidden);
        $crate::conformance_tests!(@ $database, follow:
            changes_in_order, old_changes_are_trimmed, topics_are_announced_when_visible,
            a_watch_before_the_snapshot_misses_nothing, a_watch_tells_what_changed,
            what_a_snapshot_shows_was_announced, snapshots_do_not_wait_for_wake_ups);
        $crate::conformance_tests!(@ $database, leases:
            a_lease_has_one_holder, a_lost_lease_fences_its_holder, renewing_leaves_batches_alone,
            a_released_lease_is_free, of_two_at_once_one_has_it, leases_outlive_a_restart);
        $crate::conformance_tests!(@ $database, restart:
            positions_grow_over_restarts, rows_and_changes_survive, volatile_rows_do_not,
            a_checkpoint_is_a_database, a_checkpoint_under_load_is_whole);
    };
    (@ $database:ty, $module:ident: $($case:ident),+) => {
        $(#[test]
        fn $case() {
            $crate::conformance::$module::$case::<$database>();
        })+
    };
}

/// Runs a case; a case that hangs fails.
pub fn run<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build();
    let runtime = runtime.expect("a runtime starts");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, case).await.expect("the case hangs") })
}

fn open<D: Database>() -> (D, Arc<dyn Engine>) {
    let database = D::create(options());
    let engine = database.engine();
    (database, engine)
}

fn options() -> Options {
    Options { refuse_peeked_writes: true, ..Options::default() }
}

fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

impl Batch {
    fn put(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.operations.insert(bytes(key), Operation::Put(bytes(value), vec![]));
        self
    }

    fn delete(mut self, key: impl AsRef<[u8]>) -> Self {
        self.operations.insert(bytes(key), Operation::Delete);
        self
    }

    fn delete_range(mut self, range: Range) -> Self {
        self.delete_ranges.push(range);
        self
    }

    fn absent(mut self, key: impl AsRef<[u8]>) -> Self {
        self.requirements.insert(bytes(key), Requirement::Absent);
        self
    }

    fn is(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.requirements.insert(bytes(key), Requirement::Is(bytes(value)));
        self
    }

    fn topic(mut self, topic: u64) -> Self {
        self.topics.insert(Topic(topic));
        self
    }
}

/// How many cases a property has: as many as usual, or as `PROPTEST_CASES` says if that is more.
fn cases(usual: u32) -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(usual).max(usual)
}

fn batch() -> Batch {
    Batch::default()
}

async fn commit(engine: &dyn Engine, batch: Batch) -> Position {
    engine.commit(batch).await.expect("the batch is applied")
}

async fn conflict(engine: &dyn Engine, batch: Batch) -> Bytes {
    match engine.commit(batch).await {
        Err(CommitError::Conflict(key)) => key,
        other => panic!("not a conflict: {other:?}"),
    }
}

async fn get(engine: &dyn Engine, key: impl AsRef<[u8]>) -> Option<Bytes> {
    engine.snapshot().get(key.as_ref()).await.expect("the key is read")
}

async fn all(engine: &dyn Engine) -> Vec<Row> {
    engine.snapshot().scan(Range::new("", ""), false, crate::MAX_SCAN).await.expect("the rows are read")
}

fn row(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Row {
    (bytes(key), bytes(value))
}

#[cfg(test)]
mod tests {
    use super::MemoryDatabase;

    crate::conformance_tests!(MemoryDatabase);

    /// Positions differ between two engines; this holds that the comparison allows for it.
    #[test]
    fn the_comparison_finds_no_difference_where_there_is_none() {
        super::differential::<MemoryDatabase, MemoryDatabase>(64);
    }

    #[test]
    fn batches_do_what_they_do_to_a_map() {
        super::follows_the_model::<MemoryDatabase>(256);
    }
}
