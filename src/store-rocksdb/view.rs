//! Snapshots: what was published after a group, and how it is read.
//!
//! A read first looks where it costs no disk access: memtables and block cache. Only if something is missing there does
//! it go to the pool. Durable keys all lie before volatile ones, so a scan is one part after the other.

use std::sync::Arc;

use depesche_store::{
    Bytes, Changes, Position, Range, ReadError, Reading, Row, SnapshotReads, VOLATILE_FROM, check_read,
    memory::in_range, reserved,
};
use imbl::OrdMap;
use rocksdb::{DB, DBRawIteratorWithThreadMode, ErrorKind, ReadOptions, ReadTier, SnapshotWithThreadMode};

use crate::{Database, pool::Pool, statistics::Figures};

/// So many rows, or keys at once, are read in place. Which limit a scan has does not matter: most that may be large are
/// not, and a way to the pool and back costs more than these rows.
const IN_PLACE_ROWS: usize = 128;
/// A scan in place gives up after so many bytes, to bound the time it takes from an async thread.
const IN_PLACE_BYTES: usize = 256 << 10;
/// A scan in place gives up after so many deleted rows in a row.
const IN_PLACE_SKIPS: u64 = 256;

type Pinned<'a> = SnapshotWithThreadMode<'a, DB>;

self_cell::self_cell!(
    /// RocksDB's snapshot with the database it borrows.
    struct Pin {
        owner: Arc<Database>,
        #[covariant]
        dependent: Pinned,
    }
);

/// What reads need beside the snapshot.
#[derive(Clone)]
pub(crate) struct Reads {
    pub(crate) pool: Arc<Pool>,
    pub(crate) figures: Arc<Figures>,
}

/// One state of the database with its position. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Published(Arc<View>);

struct View {
    position: Position,
    trimmed: Position,
    volatile: OrdMap<Bytes, Bytes>,
    pin: Pin,
    reads: Reads,
}

/// A read that could not be finished.
enum Miss {
    /// It needs the disk, or it is long.
    NotInPlace,
    Failed(ReadError),
}

impl Published {
    /// Takes the state of the database as of now: the caller knows that nobody writes meanwhile.
    pub(crate) fn new(
        database: Arc<Database>,
        position: Position,
        trimmed: Position,
        volatile: OrdMap<Bytes, Bytes>,
        reads: Reads,
    ) -> Self {
        let pin = Pin::new(database, |database| database.db.snapshot());
        Self(Arc::new(View { position, trimmed, volatile, pin, reads }))
    }

    /// The state after a group.
    pub(crate) fn after(&self, position: Position, trimmed: Position, volatile: OrdMap<Bytes, Bytes>) -> Self {
        let View { pin, reads, .. } = &*self.0;
        Self::new(Arc::clone(pin.borrow_owner()), position, trimmed, volatile, reads.clone())
    }

    pub(crate) fn trimmed(&self) -> Position {
        self.0.trimmed
    }

    pub(crate) fn volatile(&self) -> &OrdMap<Bytes, Bytes> {
        &self.0.volatile
    }

    pub(crate) fn changes(&self, after: Position, limit: usize) -> Reading<Changes> {
        if after < self.0.trimmed {
            return Reading::ready(Ok(Changes::Trimmed));
        }
        let decode = |rows: Vec<Row>| {
            Changes::Found(rows.iter().filter_map(|(key, value)| reserved::decode_change(key, value)).collect())
        };
        self.rows(reserved::changes_above(after), false, limit, decode)
    }

    /// In place if it is small and all there, else on the pool.
    fn rows<T: Send + 'static>(
        &self,
        range: Range,
        reverse: bool,
        limit: usize,
        convert: impl FnOnce(Vec<Row>) -> T + Send + 'static,
    ) -> Reading<T> {
        if let Err(error) = check_read(limit) {
            return Reading::ready(Err(error));
        }
        let scan = Scan { range, reverse, limit };
        match self.0.scan(&scan, ReadTier::BlockCache) {
            Ok(rows) => self.in_place(Ok(convert(rows))),
            Err(Miss::Failed(error)) => Reading::ready(Err(error)),
            Err(Miss::NotInPlace) => self.on_pool(move |view| view.scan(&scan, ReadTier::All).map(convert)),
        }
    }

    fn in_place<T>(&self, result: Result<T, ReadError>) -> Reading<T> {
        self.0.reads.figures.read_in_place();
        Reading::ready(result)
    }

    fn on_pool<T: Send + 'static>(&self, read: impl FnOnce(&View) -> Result<T, Miss> + Send + 'static) -> Reading<T> {
        self.0.reads.figures.read_on_pool();
        let view = Arc::clone(&self.0);
        Reading::later(self.0.reads.pool.run(move || {
            read(&view).map_err(|miss| match miss {
                Miss::Failed(error) => error,
                Miss::NotInPlace => ReadError::Engine("a read from disk was incomplete".to_owned()),
            })
        }))
    }
}

impl SnapshotReads for Published {
    fn position(&self) -> Position {
        self.0.position
    }

    fn get(&self, key: &[u8]) -> Reading<Option<Bytes>> {
        match self.0.get(key, ReadTier::BlockCache) {
            Ok(value) => self.in_place(Ok(value)),
            Err(Miss::Failed(error)) => Reading::ready(Err(error)),
            Err(Miss::NotInPlace) => {
                let key = Bytes::copy_from_slice(key);
                self.on_pool(move |view| view.get(&key, ReadTier::All))
            }
        }
    }

    fn get_many(&self, keys: Vec<Bytes>) -> Reading<Vec<Option<Bytes>>> {
        if let Err(error) = check_read(keys.len()) {
            return Reading::ready(Err(error));
        }
        if keys.len() <= IN_PLACE_ROWS {
            match keys.iter().map(|key| self.0.get(key, ReadTier::BlockCache)).collect() {
                Ok(values) => return self.in_place(Ok(values)),
                Err(Miss::Failed(error)) => return Reading::ready(Err(error)),
                Err(Miss::NotInPlace) => {}
            }
        }
        self.on_pool(move |view| keys.iter().map(|key| view.get(key, ReadTier::All)).collect())
    }

    fn scan(&self, mut range: Range, reverse: bool, limit: usize) -> Reading<Vec<Row>> {
        if range.from < *reserved::FIRST {
            range.from = Bytes::from_static(reserved::FIRST);
        }
        self.rows(range, reverse, limit, |rows| rows)
    }
}

struct Scan {
    range: Range,
    reverse: bool,
    limit: usize,
}

impl View {
    fn get(&self, key: &[u8], tier: ReadTier) -> Result<Option<Bytes>, Miss> {
        if is_volatile(key) {
            return Ok(self.volatile.get(key).cloned());
        }
        let mut options = ReadOptions::default();
        options.set_read_tier(tier);
        let value = self.pin.borrow_dependent().get_pinned_opt(key, options).map_err(Miss::from)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, scan: &Scan, tier: ReadTier) -> Result<Vec<Row>, Miss> {
        let mut rows = Vec::new();
        if scan.reverse {
            self.scan_volatile(scan, &mut rows);
            self.scan_durable(scan, tier, &mut rows)?;
        } else {
            self.scan_durable(scan, tier, &mut rows)?;
            self.scan_volatile(scan, &mut rows);
        }
        Ok(rows)
    }

    fn scan_volatile(&self, scan: &Scan, rows: &mut Vec<Row>) {
        let range = volatile_part(&scan.range);
        let found = in_range(&self.volatile, &range).map(|(key, value)| (key.clone(), value.clone()));
        let left = scan.limit - rows.len();
        if scan.reverse { rows.extend(found.rev().take(left)) } else { rows.extend(found.take(left)) }
    }

    fn scan_durable(&self, scan: &Scan, tier: ReadTier, rows: &mut Vec<Row>) -> Result<(), Miss> {
        let Some(range) = durable_part(&scan.range).filter(|_| rows.len() < scan.limit) else { return Ok(()) };
        let in_place = tier == ReadTier::BlockCache;
        let mut options = ReadOptions::default();
        options.set_iterate_range(range.from.to_vec()..range.to.to_vec());
        options.set_read_tier(tier);
        if in_place {
            options.set_max_skippable_internal_keys(IN_PLACE_SKIPS);
        }
        let mut found = self.pin.borrow_dependent().raw_iterator_opt(options);
        if scan.reverse {
            found.seek_to_last();
        } else {
            found.seek_to_first();
        }
        let mut size = 0;
        while let Some((key, value)) = found.item() {
            size += key.len() + value.len();
            rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            if rows.len() == scan.limit {
                return Ok(());
            }
            if in_place && (size > IN_PLACE_BYTES || rows.len() == IN_PLACE_ROWS) {
                return Err(Miss::NotInPlace);
            }
            step(&mut found, scan.reverse);
        }
        found.status().map_err(Miss::from)
    }
}

fn step(rows: &mut DBRawIteratorWithThreadMode<'_, DB>, reverse: bool) {
    if reverse { rows.prev() } else { rows.next() }
}

impl From<rocksdb::Error> for Miss {
    fn from(error: rocksdb::Error) -> Self {
        if error.kind() == ErrorKind::Incomplete { Self::NotInPlace } else { Self::Failed(failed(&error)) }
    }
}

fn failed(error: &rocksdb::Error) -> ReadError {
    ReadError::Engine(error.to_string())
}

pub(crate) fn is_volatile(key: &[u8]) -> bool {
    key.first().is_some_and(|first| *first >= VOLATILE_FROM)
}

/// What of a range is in RocksDB; none if nothing can be.
pub(crate) fn durable_part(range: &Range) -> Option<Range> {
    let end: &[u8] = &[VOLATILE_FROM];
    let to =
        if range.to.is_empty() || range.to > *end { Bytes::from_static(&[VOLATILE_FROM]) } else { range.to.clone() };
    let part = Range { from: range.from.clone(), to };
    (!part.is_empty()).then_some(part)
}

/// What of a range is in memory.
pub(crate) fn volatile_part(range: &Range) -> Range {
    Range { from: range.from.clone().max(Bytes::from_static(&[VOLATILE_FROM])), to: range.to.clone() }
}
