//! Opening: the directory, the lock, the first position.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, RwLock, atomic::AtomicBool},
};

use depesche_store::{
    Mutex, Position, Range,
    reserved::{self, Kept, Positions},
};
use imbl::OrdMap;
use rocksdb::{DB, Direction, IteratorMode, WriteBatch, WriteOptions};

use crate::{
    Database, RocksDb, RocksOptions, Shared, checkpoint,
    commit::{self, Writer},
    pool::Pool,
    statistics::Figures,
    view::{Published, Reads},
};

/// The key of the version of the engine's own rows.
const FORMAT: &[u8] = &[depesche_store::RESERVED, b'v'];
/// Their version.
const VERSION: u8 = 1;

/// Why a database does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "the database in {0} is in use by another process; stop it first, or send it the command through its socket"
    )]
    InUse(PathBuf),
    /// A newer version wrote it.
    #[error("the database in {path} has format {found}, this version knows {VERSION}: a newer version wrote it")]
    Newer {
        /// Where.
        path: PathBuf,
        /// Its format.
        found: u8,
    },
    /// The directory cannot be made or used.
    #[error("the directory {path} cannot be used for the database: {cause}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// Opening writes too: it makes what the log has durable in files of its own.
    #[error("the database in {path} cannot be opened while the disk is full: make room ({cause})")]
    Full {
        /// Where.
        path: PathBuf,
        /// What RocksDB says.
        cause: String,
    },
    /// RocksDB refuses, in its own words.
    #[error("the database in {path} does not open: {cause}")]
    Engine {
        /// Where.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
}

pub(crate) fn open(path: &Path, options: &RocksOptions) -> Result<RocksDb, OpenError> {
    let failed = |cause: rocksdb::Error| engine_error(path, cause.into_string());
    let directory = |cause| OpenError::Directory { path: path.to_owned(), cause };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(directory)?;
    let restored = checkpoint::is_copy(path).map_err(directory)?;
    let rocksdb = options.for_rocksdb();
    let db = DB::open(&rocksdb, path).map_err(failed)?;
    let database =
        Arc::new(Database { db, options: rocksdb, path: path.to_owned(), reserve: 2 * options.reserve_bytes() });
    let positions = first_position(&database, restored.then_some(options.common.now_ms), options.sync)?;
    let trimmed = stored_position(&database, reserved::TRIMMED)?.unwrap_or_default();
    let changes = kept_changes(&database)?;
    let copied = restored.then(|| changes.last().copied().unwrap_or_default());
    let kept = Kept::new(options.common.keep_changes, changes);
    let shared = share(database, positions.last(), trimmed, options).map_err(directory)?;
    let (queue, writer) =
        commit::start(Writer::new(Arc::clone(&shared), positions, kept, options), options).map_err(directory)?;
    Ok(RocksDb { shared, queue, writer: Mutex::new(Some(writer)), copied })
}

fn share(
    database: Arc<Database>,
    last: Position,
    trimmed: Position,
    options: &RocksOptions,
) -> io::Result<Arc<Shared>> {
    let pool = Arc::new(Pool::start(options.read_threads)?);
    let figures = Arc::<Figures>::default();
    let reads = Reads { pool: Arc::clone(&pool), figures: Arc::clone(&figures) };
    let newest = Published::new(Arc::clone(&database), last, trimmed, OrdMap::new(), reads);
    let published = RwLock::new(Arc::new(newest));
    Ok(Arc::new(Shared { database, published, topics: Arc::default(), pool, figures, closing: AtomicBool::new(false) }))
}

/// Reserves the positions of this run before any is handed out. A copy is given the time.
fn first_position(database: &Database, copy: Option<u64>, sync: bool) -> Result<Positions, OpenError> {
    let failed = |cause: rocksdb::Error| engine_error(&database.path, cause.into_string());
    let version = database.db.get(FORMAT).map_err(failed)?;
    if let Some(found) = version.and_then(|value| value.first().copied()).filter(|found| *found > VERSION) {
        return Err(OpenError::Newer { path: database.path.clone(), found });
    }
    let stored = stored_position(database, reserved::CEILING)?;
    let mut positions = match copy {
        Some(now_ms) => Positions::start_restored(stored, now_ms),
        None => Positions::start(stored),
    };
    if let Some(ceiling) = positions.due() {
        let mut batch = WriteBatch::default();
        batch.put(FORMAT, [VERSION]);
        batch.put(reserved::CEILING, reserved::position_value(ceiling));
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        database.db.write_opt(batch, &options).map_err(failed)?;
        positions.stored(ceiling);
    }
    Ok(positions)
}

fn stored_position(database: &Database, key: &[u8]) -> Result<Option<Position>, OpenError> {
    let value = database.db.get(key).map_err(|cause| engine_error(&database.path, cause.into_string()))?;
    let broken = || engine_error(&database.path, format!("the row {key:02x?} is no position"));
    value.map(|value| reserved::decode_position(&value).ok_or_else(broken)).transpose()
}

fn kept_changes(database: &Database) -> Result<Vec<Position>, OpenError> {
    let Range { from, to } = reserved::changes_above(Position(0));
    let mut options = rocksdb::ReadOptions::default();
    options.set_iterate_upper_bound(to.to_vec());
    let rows = database.db.iterator_opt(IteratorMode::From(&from, Direction::Forward), options);
    let changes = rows.filter_map(|row| match row {
        Ok((key, value)) => reserved::decode_change(&key, &value).map(|change| Ok(change.position)),
        Err(cause) => Some(Err(engine_error(&database.path, cause.into_string()))),
    });
    changes.collect()
}

fn engine_error(path: &Path, cause: String) -> OpenError {
    if cause.contains("While lock file") || cause.contains("lock hold by current process") {
        return OpenError::InUse(path.to_owned());
    }
    if cause.contains("No space left") || cause.contains("Disk quota") {
        return OpenError::Full { path: path.to_owned(), cause };
    }
    OpenError::Engine { path: path.to_owned(), cause }
}
