//! The engine of tests: a persistent ordered map behind one lock.
//!
//! It keeps every promise of the contract but surviving the process: a snapshot is a clone of the map,
//! [`Memory::reopen`] stands for a restart, and a checkpoint is a file that [`Memory::restore`] reads.

use std::{collections::BTreeSet, fs, io, ops::Bound, path::Path, sync::Arc};

use futures::future::BoxFuture;
use imbl::OrdMap;

use crate::{
    Batch, Bytes, Changes, CommitError, Engine, Mutex, Options, Position, Range, ReadError, Reading, Row, Snapshot,
    SnapshotReads, Topic, Topics, VOLATILE_FROM, check_read,
    read::Read,
    reserved::{self, Kept, Positions},
};

/// The file of a checkpoint.
const COPY: &str = "memory.rows";

/// A database in memory. Cloning shares it.
#[derive(Clone)]
pub struct Memory(Arc<Inner>);

struct Inner {
    /// [`State::apply`] works on a copy, so that it is whole also after a panic.
    state: Mutex<State>,
    topics: Arc<Topics>,
    options: Options,
}

struct State {
    rows: OrdMap<Bytes, Bytes>,
    positions: Positions,
    kept: Kept,
    commits: u64,
}

struct View {
    rows: OrdMap<Bytes, Bytes>,
    position: Position,
}

impl Memory {
    /// An empty database.
    pub fn new(options: Options) -> Self {
        Self::open(options, OrdMap::new(), Positions::start(None))
    }

    /// What a restart leaves: durable rows stay, volatile ones are gone, positions start above the stored ceiling.
    pub fn reopen(self) -> Self {
        let rows = self.0.state.lock().rows.clone();
        let positions = Positions::start(ceiling(&rows));
        Self::open(self.0.options.clone(), rows, positions)
    }

    /// Opens a checkpoint.
    pub fn restore(options: Options, from: &Path) -> io::Result<Self> {
        let file = fs::read(from.join(COPY))?;
        let rows = decode_rows(&file).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        let positions = Positions::start_restored(ceiling(&rows), options.now_ms);
        Ok(Self::open(options, rows, positions))
    }

    fn open(options: Options, mut rows: OrdMap<Bytes, Bytes>, mut positions: Positions) -> Self {
        rows = rows.split::<[u8]>(&[VOLATILE_FROM]).0;
        if let Some(ceiling) = positions.due() {
            rows.insert(Bytes::from_static(reserved::CEILING), reserved::position_value(ceiling));
            positions.stored(ceiling);
        }
        let changes = in_range(&rows, &reserved::changes_above(Position(0)));
        let changes = changes.filter_map(|(key, value)| Some(reserved::decode_change(key, value)?.position));
        let kept = Kept::new(options.keep_changes, changes);
        let state = Mutex::new(State { rows, positions, kept, commits: 0 });
        Self(Arc::new(Inner { state, topics: Arc::default(), options }))
    }
}

impl Engine for Memory {
    fn snapshot(&self) -> Snapshot {
        let state = self.0.state.lock();
        Arc::new(View { rows: state.rows.clone(), position: state.positions.last() })
    }

    fn commit(&self, mut batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            batch.check(inner.options.refuse_peeked_writes)?;
            let mut announcement = inner.topics.announcement();
            let mut state = inner.state.lock();
            let topics = std::mem::take(&mut batch.topics);
            let position = state.apply(batch, &topics)?;
            // Under the lock, so that topics are announced in commit order.
            announcement.mark(position, topics);
            drop(state);
            announcement.wake();
            Ok(position)
        })
    }

    fn changes(&self, after: Position, limit: usize) -> Reading<Changes> {
        if let Err(error) = check_read(limit) {
            return Read::ready(Err(error));
        }
        let rows = self.0.state.lock().rows.clone();
        let trimmed = rows.get(reserved::TRIMMED).and_then(|value| reserved::decode_position(value));
        if after < trimmed.unwrap_or_default() {
            return Read::ready(Ok(Changes::Trimmed));
        }
        let found = in_range(&rows, &reserved::changes_above(after));
        let found = found.filter_map(|(key, value)| reserved::decode_change(key, value)).take(limit).collect();
        Read::ready(Ok(Changes::Found(found)))
    }

    fn topics(&self) -> &Arc<Topics> {
        &self.0.topics
    }

    fn checkpoint(&self, into: &Path) -> BoxFuture<'static, Result<(), ReadError>> {
        let (rows, into) = (self.0.state.lock().rows.clone(), into.to_owned());
        Box::pin(async move { write_copy(&rows, &into).map_err(|error| ReadError::Engine(error.to_string())) })
    }

    fn statistics(&self) -> Vec<(String, u64)> {
        let state = self.0.state.lock();
        vec![("rows".to_owned(), state.rows.len() as u64), ("commits".to_owned(), state.commits)]
    }
}

impl State {
    fn apply(&mut self, batch: Batch, topics: &BTreeSet<Topic>) -> Result<Position, CommitError> {
        let now = |key: &[u8]| Ok::<_, CommitError>(self.rows.get(key).cloned());
        if let Some(key) = batch.conflict(now)? {
            return Err(CommitError::Conflict(key));
        }
        let position = self.positions.hand_out();
        let mut rows = self.rows.clone();
        for range in &batch.delete_ranges {
            remove_range(&mut rows, range);
        }
        for (key, value) in batch.into_writes(position) {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        if !topics.is_empty() {
            let change = reserved::change_value(topics.iter().copied());
            rows.insert(reserved::change_key(position), change);
            self.kept.add(position);
        }
        if let Some(ceiling) = self.positions.due() {
            rows.insert(Bytes::from_static(reserved::CEILING), reserved::position_value(ceiling));
            self.positions.stored(ceiling);
        }
        if let Some(through) = self.kept.due() {
            remove_range(&mut rows, &reserved::changes_through(through));
            rows.insert(Bytes::from_static(reserved::TRIMMED), reserved::position_value(through));
            self.kept.forget(through);
        }
        self.rows = rows;
        self.commits += 1;
        Ok(position)
    }
}

impl SnapshotReads for View {
    fn position(&self) -> Position {
        self.position
    }

    fn get(&self, key: &[u8]) -> Reading<Option<Bytes>> {
        Read::ready(Ok(self.rows.get(key).cloned()))
    }

    fn get_many(&self, keys: Vec<Bytes>) -> Reading<Vec<Option<Bytes>>> {
        Read::ready(check_read(keys.len()).map(|()| keys.iter().map(|key| self.rows.get(key).cloned()).collect()))
    }

    fn scan(&self, mut range: Range, reverse: bool, limit: usize) -> Reading<Vec<Row>> {
        if let Err(error) = check_read(limit) {
            return Read::ready(Err(error));
        }
        if range.from < *reserved::FIRST {
            range.from = Bytes::from_static(reserved::FIRST);
        }
        let found = in_range(&self.rows, &range).map(|(key, value)| (key.clone(), value.clone()));
        Read::ready(Ok(if reverse { found.rev().take(limit).collect() } else { found.take(limit).collect() }))
    }
}

fn ceiling(rows: &OrdMap<Bytes, Bytes>) -> Option<Position> {
    rows.get(reserved::CEILING).and_then(|value| reserved::decode_position(value))
}

/// The rows of a range. Bounds that cross make an empty range, where the map itself would panic. For other engines too,
/// whose volatile rows lie in such a map.
pub fn in_range<'a>(
    rows: &'a OrdMap<Bytes, Bytes>,
    range: &Range,
) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Bytes)> + use<'a> {
    let to =
        if range.to.is_empty() { Bound::Unbounded } else { Bound::Excluded(range.to.clone().max(range.from.clone())) };
    rows.range::<_, Bytes>((Bound::Included(range.from.clone()), to))
}

/// Removes the rows of a range.
pub fn remove_range(rows: &mut OrdMap<Bytes, Bytes>, range: &Range) {
    let keys: Vec<Bytes> = in_range(rows, range).map(|(key, _)| key.clone()).collect();
    for key in keys {
        rows.remove(&key);
    }
}

fn write_copy(rows: &OrdMap<Bytes, Bytes>, into: &Path) -> io::Result<()> {
    fs::create_dir_all(into)?;
    if fs::read_dir(into)?.next().is_some() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the directory for the copy is not empty"));
    }
    let mut file = Vec::new();
    for bytes in rows.iter().flat_map(|(key, value)| [key, value]) {
        file.extend((bytes.len() as u64).to_be_bytes());
        file.extend_from_slice(bytes);
    }
    fs::write(into.join(COPY), file)
}

fn decode_rows(mut file: &[u8]) -> Option<OrdMap<Bytes, Bytes>> {
    let mut next = || {
        let (length, rest) = file.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
        file = rest;
        Some(Bytes::copy_from_slice(bytes))
    };
    let mut rows = OrdMap::new();
    while let Some(key) = next() {
        rows.insert(key, next()?);
    }
    file.is_empty().then_some(rows)
}
