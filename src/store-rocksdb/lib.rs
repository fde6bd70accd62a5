//! The storage contract on RocksDB, the embedded default engine.
//!
//! One thread writes: it takes the batches that wait, checks and stamps them, and writes them as one with one sync
//! ([`commit`]). After each such group it publishes one snapshot with its position ([`view`]); whoever asks for a
//! snapshot shares it. Reads look into memtables and block cache in place and go to a few threads of their own for the
//! rest ([`pool`]). Volatile rows live beside the database in a persistent map.
//!
//! Invariants: nothing but the commit thread writes (so no pipelined or unordered writes, no transactions); what is
//! published is durable, lazy batches apart; nothing here needs an async runtime around it.
//!
//! Names: "the database" is RocksDB's, "the engine" is this crate's.

mod checkpoint;
mod commit;
mod group;
mod open;
mod options;
mod pool;
mod space;
mod statistics;
#[cfg(feature = "testing")]
pub mod testing;
mod verify;
mod view;

pub use open::OpenError;
pub use options::RocksOptions;
pub use space::check_room;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use depesche_store::{
    Batch, Changes, CommitError, Engine, Mutex, Position, ReadError, Reading, Snapshot, Topic, Topics,
};
use futures::future::BoxFuture;
use rocksdb::properties;

use crate::{commit::Queue, pool::Pool, statistics::Figures, view::Published};

/// A database directory, open. Dropping it closes it.
pub struct RocksDb {
    shared: Arc<Shared>,
    queue: Queue,
    /// None once closed.
    writer: Mutex<Option<JoinHandle<()>>>,
    copied: Option<Position>,
}

/// What reads, the commit thread and the engine share.
struct Shared {
    database: Arc<Database>,
    published: RwLock<Arc<Published>>,
    topics: Arc<Topics>,
    pool: Arc<Pool>,
    figures: Arc<Figures>,
    /// What takes long gives up.
    closing: AtomicBool,
}

/// RocksDB's handle. It closes when the last snapshot that is still held goes.
struct Database {
    db: rocksdb::DB,
    /// Kept for the statistics that hang on it.
    options: rocksdb::Options,
    path: PathBuf,
    /// How much of the disk must be free for what can wait, in bytes.
    reserve: u64,
}

impl RocksDb {
    /// Opens a database, or makes a new one in an empty or absent directory. Blocks, for seconds after a crash under
    /// load.
    pub fn open(path: &Path, options: &RocksOptions) -> Result<Self, OpenError> {
        open::open(path, options)
    }

    /// Answers what waits, makes everything durable and stops the threads. Later commits and reads from disk fail; the
    /// directory is free once the last snapshot is dropped. A compaction or a verification under way gives up. Blocks until
    /// done. Closing twice does nothing.
    pub fn close(&self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            self.queue.close();
            if writer.join().is_err() {
                tracing::error!(path = %self.shared.database.path.display(), "the commit thread had panicked");
            }
            self.shared.pool.close();
            // Everything is in the log, which the next start reads: flushes and compactions need not come to their end.
            self.shared.database.db.cancel_all_background_work(false);
        }
    }

    /// Whether what lies at this path is a copy that nobody has yet accepted as the one that goes on. Opens nothing.
    pub fn is_copy(path: &Path) -> io::Result<bool> {
        checkpoint::is_copy(path)
    }

    /// If this is a copy that nobody has yet accepted as the one that goes on: the newest change it shares with the
    /// original. Positions have been raised.
    pub fn copied(&self) -> Option<Position> {
        self.copied
    }

    /// The copy is now a database like others: whoever opens it again goes on where it stood. Until then each opening
    /// raises the positions again.
    pub fn accept_copy(&self) -> io::Result<()> {
        if self.copied.is_some() { checkpoint::is_copy_no_more(&self.shared.database.path) } else { Ok(()) }
    }

    /// Rewrites the whole database: gives back the space of deleted rows. Needs its size once more meanwhile, and is not
    /// begun where the disk has not so much. Blocks, for minutes.
    pub fn compact(&self) -> io::Result<()> {
        let Database { db, path, reserve, .. } = &*self.shared.database;
        space::check_room(path, statistics::figure(db, properties::TOTAL_SST_FILES_SIZE), *reserve)?;
        // RocksDB's C interface does not say whether it worked; what went wrong is counted.
        let before = statistics::figure(db, properties::BACKGROUND_ERRORS);
        db.compact_range(None::<&[u8]>, None::<&[u8]>);
        if self.shared.closing.load(Ordering::Relaxed) {
            return Err(io::Error::other("the compaction was given up, since the server stops; nothing is lost"));
        }
        if statistics::figure(db, properties::BACKGROUND_ERRORS) > before {
            let log = path.join("LOG");
            return Err(io::Error::other(format!("the compaction failed, nothing is lost; see {}", log.display())));
        }
        Ok(())
    }

    /// Reads every row from the disk, past what is in memory, and compares the checksums; how many there are. Blocks, for
    /// minutes; `stop` is asked now and then.
    pub fn verify(&self, stop: impl Fn() -> bool) -> Result<u64, ReadError> {
        verify::count_rows(&self.shared.database, || self.shared.closing.load(Ordering::Relaxed) || stop())
    }
}

impl Shared {
    fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The commit thread alone calls this. Announces under the lock, so that no snapshot shows a batch before its
    /// topics are out, and whoever hears of one finds it in the next snapshot. Wakes behind it: each snapshot waits for it.
    fn publish(&self, newest: Published, announced: Vec<(Position, BTreeSet<Topic>)>) {
        let mut newest = Arc::new(newest);
        let mut announcement = self.topics.announcement();
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *published, &mut newest);
        for (position, topics) in announced {
            announcement.mark(position, topics);
        }
        drop(published);
        announcement.wake();
        // What is the old one now goes here, outside the lock.
    }
}

impl Engine for RocksDb {
    fn snapshot(&self) -> Snapshot {
        self.shared.published()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>> {
        Box::pin(self.queue.commit(batch))
    }

    fn changes(&self, after: Position, limit: usize) -> Reading<Changes> {
        self.shared.published().changes(after, limit)
    }

    fn topics(&self) -> &Arc<Topics> {
        &self.shared.topics
    }

    fn checkpoint(&self, into: &Path) -> BoxFuture<'static, Result<(), ReadError>> {
        Box::pin(checkpoint::checkpoint(Arc::clone(&self.shared.database), into.to_owned()))
    }

    fn statistics(&self) -> Vec<(String, u64)> {
        statistics::all(&self.shared)
    }
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        self.close();
    }
}
