//! Reading and writing tables: [`View`] reads a snapshot, [`Tx`] reads, remembers what it relied on, and writes.

mod pages;

use std::sync::Arc;

use bytes::Bytes;
use depesche_store::{
    Batch, CommitError, Lease, MAX_SCAN, Mutex, Operation, Position, Range, ReadError, Requirement, Snapshot, Stamp,
    Topic,
};

pub use self::pages::Pages;
use crate::{
    codec::Key,
    event_cache::EventCache,
    table::{Record, Table},
};

/// What can go wrong below every verb: nothing the caller did.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// The database could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database did not take a write.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A row is not what its table holds.
    #[error("a row of table {table} cannot be read (key {key:02x?}): run `depesche db verify`")]
    Corrupt {
        /// The table's name.
        table: &'static str,
        /// The stored key.
        key: Bytes,
    },
    /// An invariant of ours does not hold.
    #[error("a fault in the server: {0}")]
    Bug(String),
}

/// What a fault means for whoever asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FaultKind {
    /// The database takes no writes at present (a full disk, say): nothing was written, later it may be.
    NothingWritten,
    /// Too many wanted the same rows at once: nothing was written, and the same request may succeed shortly.
    Contended,
    /// Damage, a bug, or a write whose outcome is unknown.
    Broken,
}

impl Fault {
    /// Whether it lies in what is stored: it comes again with each reading of the same rows. What is read of other rooms
    /// or users goes on without them.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Bug(_))
    }

    /// What it means for whoever asked.
    pub fn kind(&self) -> FaultKind {
        match self {
            Self::Commit(CommitError::Failed(_)) => FaultKind::NothingWritten,
            Self::Commit(CommitError::Conflict(_)) => FaultKind::Contended,
            _ => FaultKind::Broken,
        }
    }
}

/// A typed reader of one snapshot. Cloning shares it.
#[derive(Clone)]
pub struct View {
    snapshot: Snapshot,
    events: Option<Arc<EventCache>>,
}

impl View {
    /// Reads this snapshot.
    pub fn new(snapshot: Snapshot) -> Self {
        Self { snapshot, events: None }
    }

    /// Reads this snapshot, but for events that are in memory already.
    pub fn beside(snapshot: Snapshot, events: Arc<EventCache>) -> Self {
        Self { snapshot, events: Some(events) }
    }

    /// The events in memory.
    pub fn events(&self) -> Option<&EventCache> {
        self.events.as_deref()
    }

    /// The newest commit this view sees.
    pub fn position(&self) -> Position {
        self.snapshot.position()
    }

    /// The value of a key.
    pub async fn get<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, Fault> {
        let key = table.key(key);
        let value = self.snapshot.get(&key).await?;
        value.map(|value| decode(table, &key, &value)).transpose()
    }

    /// The values of keys, however many, in the order asked.
    pub async fn get_many<K: Key, V: Record>(&self, table: &Table<K, V>, keys: &[K]) -> Result<Vec<Option<V>>, Fault> {
        let mut found = Vec::with_capacity(keys.len());
        for part in keys.chunks(MAX_SCAN) {
            let keys: Vec<Bytes> = part.iter().map(|key| table.key(key)).collect();
            let values = self.snapshot.get_many(keys.clone()).await?;
            for (key, value) in keys.iter().zip(values) {
                found.push(value.map(|value| decode(table, key, &value)).transpose()?);
            }
        }
        Ok(found)
    }

    /// As [`Self::get_many`], but a value that cannot be read fails alone.
    pub async fn get_each<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        keys: &[K],
    ) -> Result<Vec<Result<Option<V>, Fault>>, Fault> {
        let mut found = Vec::with_capacity(keys.len());
        for part in keys.chunks(MAX_SCAN) {
            let keys: Vec<Bytes> = part.iter().map(|key| table.key(key)).collect();
            let values = self.snapshot.get_many(keys.clone()).await?;
            let pairs = keys.iter().zip(values);
            found.extend(pairs.map(|(key, value)| value.map(|value| decode(table, key, &value)).transpose()));
        }
        Ok(found)
    }

    /// The value of a key as it is stored, of whatever table.
    pub async fn get_stored(&self, key: &Bytes) -> Result<Option<Bytes>, Fault> {
        Ok(self.snapshot.get(key).await?)
    }

    /// The first rows of a range as they are stored, of whatever table.
    pub async fn scan_stored(&self, range: Range, limit: usize) -> Result<Vec<(Bytes, Bytes)>, Fault> {
        Ok(self.snapshot.scan(range, false, limit).await?)
    }

    /// The first rows of a range.
    pub async fn scan<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        range: Range,
        limit: usize,
    ) -> Result<Vec<(K, V)>, Fault> {
        rows(table, self.snapshot.scan(range, false, limit).await?)
    }

    /// The last rows of a range, last first.
    pub async fn scan_back<K: Key, V: Record>(
        &self,
        table: &Table<K, V>,
        range: Range,
        limit: usize,
    ) -> Result<Vec<(K, V)>, Fault> {
        rows(table, self.snapshot.scan(range, true, limit).await?)
    }
}

/// A batch in the making over one snapshot. It sees its own writes. Cloning shares it.
#[derive(Clone)]
pub struct Tx {
    view: View,
    making: Arc<Mutex<Making>>,
}

/// What a batch has so far, and how many bytes: whoever fills one asks after each row.
#[derive(Default)]
struct Making {
    batch: Batch,
    bytes: usize,
}

impl Making {
    fn write(&mut self, key: Bytes, operation: Operation) {
        let key_bytes = key.len();
        self.bytes += key_bytes + operation.size();
        if let Some(before) = self.batch.operations.insert(key, operation) {
            self.bytes -= key_bytes + before.size();
        }
    }

    fn write_stamped(&mut self, key: Bytes, value: Bytes, stamps: Vec<Stamp>) {
        self.bytes += key.len() + value.len();
        self.batch.stamped.push((key, value, stamps));
    }

    fn delete_range(&mut self, range: Range) {
        self.bytes += range.from.len() + range.to.len();
        self.batch.delete_ranges.push(range);
    }
}

impl Tx {
    /// Over this snapshot, empty.
    pub fn new(snapshot: Snapshot) -> Self {
        Self::over(View::new(snapshot))
    }

    /// Over the snapshot that a reader has, empty.
    pub fn over(view: View) -> Self {
        Self { view, making: Arc::default() }
    }

    /// The snapshot alone, without this batch's own writes.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The value of a key, and the requirement that nobody changes it before the commit.
    pub async fn read<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, Fault> {
        let key = table.key(key);
        if let Some(own) = self.own(&key) {
            return own.map(|value| decode(table, &key, &value)).transpose();
        }
        let value = self.view.snapshot.get(&key).await?;
        let requirement = value.clone().map_or(Requirement::Absent, Requirement::Is);
        self.making.lock().batch.requirements.insert(key.clone(), requirement);
        value.map(|value| decode(table, &key, &value)).transpose()
    }

    /// The value of a key, without the requirement: the caller says why it may be stale.
    pub async fn peek<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K) -> Result<Option<V>, Fault> {
        let key = table.key(key);
        if let Some(own) = self.own(&key) {
            return own.map(|value| decode(table, &key, &value)).transpose();
        }
        let value = self.view.snapshot.get(&key).await?;
        self.making.lock().batch.peeked.insert(key.clone());
        value.map(|value| decode(table, &key, &value)).transpose()
    }

    /// As [`Self::peek`], of however many keys, in the order asked.
    pub async fn peek_many<K: Key, V: Record>(&self, table: &Table<K, V>, keys: &[K]) -> Result<Vec<Option<V>>, Fault> {
        let mut found = self.view.get_many(table, keys).await?;
        for (key, value) in keys.iter().map(|key| table.key(key)).zip(&mut found) {
            match self.own(&key) {
                Some(own) => *value = own.map(|value| decode(table, &key, &value)).transpose()?,
                None => {
                    self.making.lock().batch.peeked.insert(key);
                }
            }
        }
        Ok(found)
    }

    /// As [`Self::read`], of whatever table, as it is stored.
    pub async fn read_stored(&self, key: &Bytes) -> Result<Option<Bytes>, Fault> {
        if let Some(own) = self.own(key) {
            return Ok(own);
        }
        let value = self.view.snapshot.get(key).await?;
        let requirement = value.clone().map_or(Requirement::Absent, Requirement::Is);
        self.making.lock().batch.requirements.insert(key.clone(), requirement);
        Ok(value)
    }

    /// Writes a row of whatever table in its stored form.
    pub fn put_stored(&self, key: Bytes, value: Bytes) {
        self.making.lock().write(key, Operation::Put(value, Vec::new()));
    }

    /// Removes a row of whatever table by its stored key.
    pub fn delete_stored(&self, key: Bytes) {
        self.making.lock().write(key, Operation::Delete);
    }

    /// Requires a row to be absent.
    pub fn assume_absent<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K) {
        self.making.lock().batch.requirements.insert(table.key(key), Requirement::Absent);
    }

    /// Requires a row to be what the caller read earlier, in another batch: its stored bytes. A value will not do: of an
    /// older version it would be written in other bytes now.
    pub fn assume_stored(&self, key: Bytes, value: Option<Bytes>) {
        self.making.lock().batch.requirements.insert(key, value.map_or(Requirement::Absent, Requirement::Is));
    }

    /// Writes a row.
    pub fn put<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K, value: &V) {
        self.making.lock().write(table.key(key), Operation::Put(value.encode(), Vec::new()));
    }

    /// Writes a row whose value holds the commit position at these places.
    pub fn put_stamped_value<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K, value: &V, stamps: Vec<Stamp>) {
        self.making.lock().write(table.key(key), Operation::Put(value.encode(), stamps));
    }

    /// Writes a row whose key (and value, perhaps) holds the commit position: offsets in the key count from its start,
    /// with the table's number at offset 0.
    pub fn put_stamped<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K, value: &V, stamps: Vec<Stamp>) {
        self.making.lock().write_stamped(table.key(key), value.encode(), stamps);
    }

    /// Removes a row.
    pub fn delete<K: Key, V: Record>(&self, table: &Table<K, V>, key: &K) {
        self.making.lock().write(table.key(key), Operation::Delete);
    }

    /// Removes all rows of a range: for dropping a user's or a room's rows, not for queues.
    pub fn delete_range(&self, range: Range) {
        self.making.lock().delete_range(range);
    }

    /// Announces what the batch changes.
    pub fn topic(&self, topic: Topic) {
        self.making.lock().batch.topics.insert(topic);
    }

    /// Requires that nobody has taken a lease since.
    pub fn under(&self, lease: &Lease) {
        self.making.lock().batch.requirements.extend([lease.requirement()]);
    }

    /// Marks the batch as one whose loss does no harm.
    pub fn lazy(&self) {
        self.making.lock().batch.lazy = true;
    }

    /// The bytes the batch has so far.
    pub fn size(&self) -> usize {
        self.making.lock().bytes
    }

    /// How many rows the batch writes so far.
    pub fn writes(&self) -> usize {
        let making = self.making.lock();
        let batch = &making.batch;
        batch.operations.len() + batch.stamped.len() + batch.delete_ranges.len()
    }

    /// Takes the batch out, for the commit.
    pub fn finish(&self) -> Batch {
        std::mem::take(&mut *self.making.lock()).batch
    }

    /// What this batch itself says of a key: `Some(None)` if it deletes it.
    #[expect(clippy::option_option, reason = "the outer says whether the batch writes the key, the inner what")]
    fn own(&self, key: &Bytes) -> Option<Option<Bytes>> {
        self.making.lock().batch.operations.get(key).map(|operation| match operation {
            Operation::Put(value, _) => Some(value.clone()),
            Operation::Delete => None,
        })
    }
}

fn rows<K: Key, V: Record>(table: &Table<K, V>, rows: Vec<(Bytes, Bytes)>) -> Result<Vec<(K, V)>, Fault> {
    let parsed = rows.into_iter().map(|(key, value)| {
        let parsed = table.parse(&key).ok_or_else(|| Fault::Corrupt { table: table.name, key: key.clone() })?;
        Ok((parsed, decode(table, &key, &value)?))
    });
    parsed.collect()
}

fn decode<K, V: Record>(table: &Table<K, V>, key: &Bytes, value: &Bytes) -> Result<V, Fault> {
    V::decode(value).ok_or_else(|| Fault::Corrupt { table: table.name, key: key.clone() })
}

#[cfg(test)]
mod tests;
