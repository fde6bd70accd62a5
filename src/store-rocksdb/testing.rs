//! The engine for the tests of what stands above it: in a folder that goes with it, without syncs, and inline.
//!
//! Inline: a commit or a read is done when it is first polled. So a test whose clock is paused does not jump ahead while
//! the commit thread works.

use std::path::Path;

use depesche_store::{
    Batch, Bytes, Changes, CommitError, Engine, Options, Position, Range, ReadError, Reading, Row, Snapshot,
    SnapshotReads, Topics,
};
use futures::{executor::block_on, future::BoxFuture};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::unconstrained;

use crate::{RocksDb, RocksOptions};

/// A database that lasts as long as this.
pub struct Temporary {
    engine: Arc<RocksDb>,
    // Behind the engine, which is dropped first.
    _folder: TempDir,
}

impl Temporary {
    /// An empty one.
    pub fn new(common: Options) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let options = RocksOptions {
            cache_bytes: 1 << 20,
            write_buffer_bytes: 1 << 20,
            sync: false,
            common,
            ..RocksOptions::default()
        };
        let engine = RocksDb::open(&folder.path().join("db"), &options).expect("an empty folder takes a database");
        Self { engine: Arc::new(engine), _folder: folder }
    }
}

impl Engine for Temporary {
    fn snapshot(&self) -> Snapshot {
        Arc::new(Inline(self.engine.snapshot()))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>> {
        let engine = Arc::clone(&self.engine);
        Box::pin(async move { wait(engine.commit(batch)) })
    }

    fn changes(&self, after: Position, limit: usize) -> Reading<Changes> {
        done(self.engine.changes(after, limit))
    }

    fn topics(&self) -> &Arc<Topics> {
        self.engine.topics()
    }

    fn checkpoint(&self, into: &Path) -> BoxFuture<'static, Result<(), ReadError>> {
        self.engine.checkpoint(into)
    }

    fn statistics(&self) -> Vec<(String, u64)> {
        self.engine.statistics()
    }
}

struct Inline(Snapshot);

impl SnapshotReads for Inline {
    fn position(&self) -> Position {
        self.0.position()
    }

    fn get(&self, key: &[u8]) -> Reading<Option<Bytes>> {
        done(self.0.get(key))
    }

    fn get_many(&self, keys: Vec<Bytes>) -> Reading<Vec<Option<Bytes>>> {
        done(self.0.get_many(keys))
    }

    fn scan(&self, range: Range, reverse: bool, limit: usize) -> Reading<Vec<Row>> {
        done(self.0.scan(range, reverse, limit))
    }
}

fn done<T: Send + 'static>(reading: Reading<T>) -> Reading<T> {
    Reading::ready(wait(reading))
}

/// Out of tokio's budget: a task that has used it up would be told to wait, and woken by the very thread that waits here.
fn wait<T>(work: impl Future<Output = T>) -> T {
    block_on(unconstrained(work))
}
