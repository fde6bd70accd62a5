//! An engine that counts what passes through it: growth is counted, not timed.

use std::{
    collections::BTreeMap,
    ops::Sub,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::BoxFuture;

use crate::{
    Batch, Bytes, Changes, CommitError, Engine, Mutex, Position, Range, ReadError, Reading, Row, Snapshot,
    SnapshotReads, Topics, read::Read,
};

/// An engine around another; [`Counting::count`] has the figures.
pub struct Counting<E> {
    engine: E,
    count: Arc<Count>,
}

/// The running figures.
#[derive(Debug, Default)]
pub struct Count {
    gets: AtomicU64,
    scans: AtomicU64,
    rows_read: AtomicU64,
    bytes_read: AtomicU64,
    commits: AtomicU64,
    lazy_commits: AtomicU64,
    rows_written: AtomicU64,
    bytes_written: AtomicU64,
    range_deletes: AtomicU64,
    by_first_byte: Mutex<BTreeMap<u8, Rows>>,
}

/// The part of the figures that concerns keys with one first byte: to tell what grew.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Rows {
    /// Keys asked for, alone or several at once.
    pub gets: u64,
    /// Rows found by gets and scans.
    pub read: u64,
    /// Puts and deletes in the batches applied.
    pub written: u64,
}

/// The figures at a moment; the difference of two is what happened between them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Keys asked for, alone or several at once.
    pub gets: u64,
    /// Scans and reads of changes.
    pub scans: u64,
    /// Rows found by gets and scans.
    pub rows_read: u64,
    /// Bytes of their keys and values.
    pub bytes_read: u64,
    /// Batches applied, lazy ones included.
    pub commits: u64,
    /// Lazy batches applied.
    pub lazy_commits: u64,
    /// Puts and deletes in the batches applied.
    pub rows_written: u64,
    /// Bytes of their keys and values.
    pub bytes_written: u64,
    /// Ranges deleted.
    pub range_deletes: u64,
}

impl<E: Engine> Counting<E> {
    /// Counts what passes through to this engine.
    pub fn new(engine: E) -> Self {
        Self { engine, count: Arc::default() }
    }

    /// The figures; they stay valid when the engine is given away.
    pub fn count(&self) -> Arc<Count> {
        Arc::clone(&self.count)
    }
}

impl Count {
    /// Starts at zero again.
    pub fn reset(&self) {
        for figure in self.figures() {
            figure.store(0, Ordering::Relaxed);
        }
        self.by_first_byte.lock().clear();
    }

    /// Rows by the first byte of their keys.
    pub fn by_first_byte(&self) -> BTreeMap<u8, Rows> {
        self.by_first_byte.lock().clone()
    }

    /// The figures now.
    pub fn snapshot(&self) -> Counts {
        let [gets, scans, rows_read, bytes_read, commits, lazy_commits, rows_written, bytes_written, range_deletes] =
            self.figures().map(|figure| figure.load(Ordering::Relaxed));
        Counts { gets, scans, rows_read, bytes_read, commits, lazy_commits, rows_written, bytes_written, range_deletes }
    }

    fn figures(&self) -> [&AtomicU64; 9] {
        [
            &self.gets,
            &self.scans,
            &self.rows_read,
            &self.bytes_read,
            &self.commits,
            &self.lazy_commits,
            &self.rows_written,
            &self.bytes_written,
            &self.range_deletes,
        ]
    }

    fn row(&self, key: &[u8], count: impl FnOnce(&mut Rows)) {
        count(self.by_first_byte.lock().entry(key.first().copied().unwrap_or_default()).or_default());
    }

    fn asked(&self, key: &[u8]) {
        add(&self.gets, 1);
        self.row(key, |rows| rows.gets += 1);
    }

    fn read<'a>(&self, rows: impl IntoIterator<Item = &'a Row>) {
        for (key, value) in rows {
            self.row(key, |rows| rows.read += 1);
            add(&self.rows_read, 1);
            add(&self.bytes_read, key.len() + value.len());
        }
    }

    fn written(&self, batch: &Batch, position: Position) {
        add(&self.commits, 1);
        add(&self.lazy_commits, usize::from(batch.lazy));
        add(&self.range_deletes, batch.delete_ranges.len());
        for (key, value) in batch.clone().into_writes(position) {
            self.row(&key, |rows| rows.written += 1);
            add(&self.rows_written, 1);
            add(&self.bytes_written, key.len() + value.map_or(0, |value| value.len()));
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            gets: self.gets - earlier.gets,
            scans: self.scans - earlier.scans,
            rows_read: self.rows_read - earlier.rows_read,
            bytes_read: self.bytes_read - earlier.bytes_read,
            commits: self.commits - earlier.commits,
            lazy_commits: self.lazy_commits - earlier.lazy_commits,
            rows_written: self.rows_written - earlier.rows_written,
            bytes_written: self.bytes_written - earlier.bytes_written,
            range_deletes: self.range_deletes - earlier.range_deletes,
        }
    }
}

fn add(figure: &AtomicU64, more: usize) {
    figure.fetch_add(more as u64, Ordering::Relaxed);
}

impl<E: Engine> Engine for Counting<E> {
    fn snapshot(&self) -> Snapshot {
        Arc::new(CountingReads { snapshot: self.engine.snapshot(), count: Arc::clone(&self.count) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>> {
        let (commit, count) = (self.engine.commit(batch.clone()), Arc::clone(&self.count));
        Box::pin(async move {
            let position = commit.await?;
            count.written(&batch, position);
            Ok(position)
        })
    }

    fn changes(&self, after: Position, limit: usize) -> Reading<Changes> {
        add(&self.count.scans, 1);
        let (changes, count) = (self.engine.changes(after, limit), Arc::clone(&self.count));
        Read::later(async move {
            let changes = changes.await?;
            if let Changes::Found(found) = &changes {
                add(&count.rows_read, found.len());
            }
            Ok(changes)
        })
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

struct CountingReads {
    snapshot: Snapshot,
    count: Arc<Count>,
}

impl SnapshotReads for CountingReads {
    fn position(&self) -> Position {
        self.snapshot.position()
    }

    fn get(&self, key: &[u8]) -> Reading<Option<Bytes>> {
        self.count.asked(key);
        let (get, count, key) = (self.snapshot.get(key), Arc::clone(&self.count), Bytes::copy_from_slice(key));
        Read::later(async move {
            let value = get.await?;
            count.read(value.clone().map(|value| (key, value)).as_ref());
            Ok(value)
        })
    }

    fn get_many(&self, keys: Vec<Bytes>) -> Reading<Vec<Option<Bytes>>> {
        for key in &keys {
            self.count.asked(key);
        }
        let (get, count) = (self.snapshot.get_many(keys.clone()), Arc::clone(&self.count));
        Read::later(async move {
            let values = get.await?;
            let rows: Vec<Row> =
                keys.into_iter().zip(&values).filter_map(|(key, value)| Some((key, value.clone()?))).collect();
            count.read(&rows);
            Ok(values)
        })
    }

    fn scan(&self, range: Range, reverse: bool, limit: usize) -> Reading<Vec<Row>> {
        add(&self.count.scans, 1);
        let (scan, count) = (self.snapshot.scan(range, reverse, limit), Arc::clone(&self.count));
        Read::later(async move {
            let rows = scan.await?;
            count.read(&rows);
            Ok(rows)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_SCAN, Operation, memory::Memory};

    #[tokio::test]
    async fn rows_and_bytes_are_counted_where_they_pass() {
        let engine = Counting::new(Memory::new(crate::Options::default()));
        let count = engine.count();
        let mut batch = Batch::default();
        batch.operations.insert("key".into(), Operation::Put("value".into(), vec![]));
        batch.operations.insert("gone".into(), Operation::Delete);
        engine.commit(batch.clone()).await.expect("applied");
        batch.requirements.insert("key".into(), crate::Requirement::Absent);
        engine.commit(batch).await.expect_err("a conflict writes nothing");
        let written = count.snapshot();
        assert_eq!(written, Counts { commits: 1, rows_written: 2, bytes_written: 12, ..Counts::default() });
        let snapshot = engine.snapshot();
        snapshot.get(b"key").await.expect("read");
        snapshot.get_many(vec!["key".into(), "gone".into()]).await.expect("read");
        snapshot.scan(Range::new("", ""), false, MAX_SCAN).await.expect("read");
        let read = Counts { gets: 3, scans: 1, rows_read: 3, bytes_read: 24, ..Counts::default() };
        assert_eq!(count.snapshot() - written, read);
        let by_first_byte =
            [(b'g', Rows { gets: 1, read: 0, written: 1 }), (b'k', Rows { gets: 2, read: 3, written: 1 })];
        assert_eq!(count.by_first_byte(), by_first_byte.into());
        count.reset();
        assert_eq!(count.snapshot(), Counts::default());
        assert_eq!(count.by_first_byte(), BTreeMap::new());
    }
}
