//! The storage contract: an ordered map of bytes with snapshots, atomic batches, positions, topics and leases.
//!
//! An engine implements [`Engine`]; everything above it knows only what stands here. The contract knows nothing of
//! Matrix. Its promises are tested for every engine by `conformance`, and explained in
//! `docs/decisions/0001-storage-contract.md`.
//!
//! - A [`Snapshot`] sees exactly the batches at or below its position.
//! - [`Engine::commit`] applies a [`Batch`] whole or not at all. What a snapshot sees is durable, except what
//!   [lazy](Batch::lazy) batches wrote in the last second, and keys from [`VOLATILE_FROM`] on, which live in memory and
//!   are empty after a restart.
//! - [`Position`]s strictly increase in commit order, also over a restart. Gaps are allowed; nobody subtracts them.
//! - Keys are at most [`MAX_KEY`] bytes, values at most [`MAX_VALUE`], a batch at most [`MAX_BATCH`] bytes in all, so
//!   that a distributed engine can stand behind the same contract.

mod batch;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
pub mod counting;
#[cfg(any(test, feature = "testing"))]
pub mod faults;
mod lease;
pub mod memory;
mod mutex;
mod read;
pub mod reserved;
mod topics;

pub use batch::{Batch, Operation, Requirement, Stamp, StampAt};
pub use lease::{Lease, LeaseError, LeaseRows, MAX_LEASE_NAME};
pub use mutex::Mutex;
pub use read::Read;
pub use topics::{Announcement, Topic, Topics, Watch};

use std::{path::Path, sync::Arc, time::Duration};

pub use bytes::Bytes;
use futures::future::BoxFuture;

/// The longest key in bytes.
pub const MAX_KEY: usize = 2048;
/// The longest value in bytes: an event of the largest size the specification allows fits.
pub const MAX_VALUE: usize = 64 * 1024;
/// The most bytes of keys and values in one batch.
pub const MAX_BATCH: usize = 5 * 1024 * 1024;
/// The most topics one batch announces.
pub const MAX_TOPICS: usize = 8192;
/// The most rows one scan returns, the most keys one [`SnapshotReads::get_many`] takes, and the most changes one
/// [`Engine::changes`] returns. Asking for more is an error rather than a shorter answer.
pub const MAX_SCAN: usize = 10_000;
/// Keys whose first byte is at least this are volatile: same snapshots, positions and topics, but in memory only.
pub const VOLATILE_FROM: u8 = 0xF0;
/// Keys whose first byte is this belong to the engine (its positions, changes and leases); a batch must not touch them.
pub const RESERVED: u8 = 0x00;

/// The place of a commit in the order of all commits. Serialised as eight bytes, big endian.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position(pub u64);

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// The result of a read, at once or later: awaiting a ready one costs no allocation and no task switch.
pub type Reading<T> = Read<Result<T, ReadError>>;

/// An engine: the embedded default is RocksDB, tests use [`memory::Memory`].
pub trait Engine: Send + Sync + 'static {
    /// The newest state. Cheap: engines share one between calls.
    fn snapshot(&self) -> Snapshot;

    /// Applies a batch and says where. The future may be dropped: the batch is then applied or not, but never in part.
    /// Batches are applied in the order in which their futures were first polled.
    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>>;

    /// The batches above `after` that carried topics, oldest first, at most `limit` (and at most [`MAX_SCAN`]).
    fn changes(&self, after: Position, limit: usize) -> Reading<Changes>;

    /// The registry that commits announce their topics to. A watch is registered *before* the snapshot is taken, so
    /// that no change falls between the two.
    fn topics(&self) -> &Arc<Topics>;

    /// Copies the database as of now into an empty or absent directory, while the server runs. An engine that opens the
    /// copy starts so much higher that its positions do not meet those the original hands out meanwhile.
    fn checkpoint(&self, into: &Path) -> BoxFuture<'static, Result<(), ReadError>>;

    /// Figures for operators: name and value, in the engine's own words.
    fn statistics(&self) -> Vec<(String, u64)>;
}

/// What an engine's snapshot does; callers hold a [`Snapshot`].
pub trait SnapshotReads: Send + Sync {
    /// Sees exactly the batches at or below this.
    fn position(&self) -> Position;
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Reading<Option<Bytes>>;
    /// The values of several keys, at most [`MAX_SCAN`], in the order asked.
    fn get_many(&self, keys: Vec<Bytes>) -> Reading<Vec<Option<Bytes>>>;
    /// Rows with `from <= key < to` in key order, or in reverse order from the end; at most `limit` (and at most
    /// [`MAX_SCAN`]). An empty `to` means no upper end. Reserved keys are never among them.
    fn scan(&self, range: Range, reverse: bool, limit: usize) -> Reading<Vec<Row>>;
}

/// A consistent view of the database. Cloning shares it.
pub type Snapshot = Arc<dyn SnapshotReads>;

/// A half-open range of keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Range {
    /// The first key of the range.
    pub from: Bytes,
    /// The first key behind the range; empty means to the end.
    pub to: Bytes,
}

impl Range {
    /// From one key to before another.
    pub fn new(from: impl Into<Bytes>, to: impl Into<Bytes>) -> Self {
        Self { from: from.into(), to: to.into() }
    }

    /// All keys that begin with these bytes.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let from: Bytes = prefix.into();
        let to = after_prefix(&from);
        Self { from, to }
    }

    /// What is left of the range behind one of its keys.
    pub fn behind(&self, key: &[u8]) -> Self {
        Self { from: [key, &[0]].concat().into(), to: self.to.clone() }
    }

    /// Whether a key lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.from <= *key && (self.to.is_empty() || self.to > *key)
    }

    /// Whether no key can lie in the range.
    pub fn is_empty(&self) -> bool {
        !self.to.is_empty() && self.to <= self.from
    }
}

impl<E: Engine + ?Sized> Engine for Arc<E> {
    fn snapshot(&self) -> Snapshot {
        E::snapshot(self)
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>> {
        E::commit(self, batch)
    }

    fn changes(&self, after: Position, limit: usize) -> Reading<Changes> {
        E::changes(self, after, limit)
    }

    fn topics(&self) -> &Arc<Topics> {
        E::topics(self)
    }

    fn checkpoint(&self, into: &Path) -> BoxFuture<'static, Result<(), ReadError>> {
        E::checkpoint(self, into)
    }

    fn statistics(&self) -> Vec<(String, u64)> {
        E::statistics(self)
    }
}

/// Refuses a read of more than [`MAX_SCAN`] rows. Engines call it first.
pub fn check_read(rows: usize) -> Result<(), ReadError> {
    if rows > MAX_SCAN { Err(ReadError::Contract(format!("{rows} rows asked for at once"))) } else { Ok(()) }
}

/// The first key that does not begin with `prefix` and lies behind all that do; empty if there is none.
pub fn after_prefix(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != 0xFF).map_or(0, |last| last + 1);
    let mut to = prefix[..kept].to_vec();
    if let Some(last) = to.last_mut() {
        *last += 1;
    }
    to.into()
}

/// An answer of [`Engine::changes`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Changes {
    /// The batches found, oldest first.
    Found(Vec<Change>),
    /// Some batches above the asked position are no longer kept: compare the rows themselves.
    Trimmed,
}

/// A committed batch as followers see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Where it was committed.
    pub position: Position,
    /// What it said it changed.
    pub topics: Vec<Topic>,
}

/// Why a read failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The engine or the disk below it failed.
    #[error("the database cannot be read: {0}")]
    Engine(String),
    /// The read is outside the contract, for example a scan beyond its limit.
    #[error("a read outside the storage contract: {0}")]
    Contract(String),
}

/// Why a batch was not, or may not have been, applied.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A requirement did not hold. Nothing was applied; read again and decide anew.
    #[error("another batch changed what this one relies on (key {0:02x?})")]
    Conflict(Bytes),
    /// Nothing was applied, and trying the same again is unlikely to help soon (a full disk, say).
    #[error("the database refused a write: {0}")]
    Failed(String),
    /// The engine cannot say whether the batch was applied: ask the row that makes the operation idempotent.
    #[error("the outcome of a write is unknown: {0}")]
    Unknown(String),
    /// The batch itself is outside the contract: too large, a reserved key, a key written though only peeked at.
    #[error("a batch outside the storage contract: {0}")]
    Contract(String),
}

/// How engines of both kinds are opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long [`Engine::changes`] remembers a batch, counted in batches.
    pub keep_changes: u64,
    /// Refuse batches that write a key they only peeked at. For tests: it finds lost updates.
    pub refuse_peeked_writes: bool,
    /// How long a lease lasts without renewal.
    pub lease: Duration,
    /// The time in milliseconds since 1970, for a copy that is opened for the first time: its positions start above those
    /// of earlier restores of the same copy. 0: unknown, above the original alone.
    pub now_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_changes: 100_000,
            refuse_peeked_writes: cfg!(debug_assertions),
            lease: Duration::from_secs(30),
            now_ms: 0,
        }
    }
}
