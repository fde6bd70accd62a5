//! A group of batches on its way to disk: each is checked against the database and the ones before it, stamped, and
//! added to one write.

use std::collections::{BTreeMap, BTreeSet};

use depesche_store::{
    Batch, Bytes, CommitError, Position, Range, Topic,
    memory::remove_range,
    reserved::{self, Positions},
};
use imbl::OrdMap;
use rocksdb::{DB, WriteBatch};

use crate::view::{durable_part, is_volatile, volatile_part};

/// What becomes one write.
pub(crate) struct Group<'a> {
    db: &'a DB,
    pub(crate) write: WriteBatch,
    /// The volatile rows as the group leaves them.
    pub(crate) volatile: OrdMap<Bytes, Bytes>,
    /// The batches that announce something, in order.
    pub(crate) announced: Vec<(Position, BTreeSet<Topic>)>,
    /// The position of the last batch that was added.
    pub(crate) last: Option<Position>,
    /// Whether a batch asks for a sync.
    pub(crate) sync: bool,
    /// Kept where other batches follow.
    overlay: Option<Overlay>,
}

/// What earlier batches of the group wrote.
#[derive(Default)]
struct Overlay {
    rows: BTreeMap<Bytes, Option<Bytes>>,
    deleted: Vec<Range>,
}

impl<'a> Group<'a> {
    /// For so many batches.
    pub(crate) fn new(db: &'a DB, volatile: OrdMap<Bytes, Bytes>, batches: usize) -> Self {
        Self {
            db,
            write: WriteBatch::default(),
            volatile,
            announced: Vec::new(),
            last: None,
            sync: false,
            overlay: (batches > 1).then(Overlay::default),
        }
    }

    /// Adds a batch that passed [`Batch::check`], or refuses it and leaves the group as it was.
    pub(crate) fn add(&mut self, mut batch: Batch, positions: &mut Positions) -> Result<Position, CommitError> {
        if let Some(key) = batch.conflict(|key| self.get(key))? {
            return Err(CommitError::Conflict(key));
        }
        let position = positions.hand_out();
        let mut durable = false;
        for range in &batch.delete_ranges {
            durable |= self.delete_range(range);
        }
        let (topics, lazy) = (std::mem::take(&mut batch.topics), batch.lazy);
        let mut volatile = false;
        for (key, value) in batch.into_writes(position) {
            if is_volatile(&key) {
                volatile = true;
                match value {
                    Some(value) => self.volatile.insert(key, value),
                    None => self.volatile.remove(&key),
                };
            } else {
                durable = true;
                match &value {
                    Some(value) => self.write.put(&key, value),
                    None => self.write.delete(&key),
                }
                if let Some(overlay) = &mut self.overlay {
                    overlay.rows.insert(key, value);
                }
            }
        }
        if !topics.is_empty() {
            let change = reserved::change_value(topics.iter().copied());
            self.write.put(reserved::change_key(position), change);
            // The change of a batch that is all volatile may be lost with it.
            durable |= !volatile;
            self.announced.push((position, topics));
        }
        self.sync |= durable && !lazy;
        self.last = Some(position);
        Ok(position)
    }

    /// Whether anything durable lay in the range.
    fn delete_range(&mut self, range: &Range) -> bool {
        remove_range(&mut self.volatile, &volatile_part(range));
        let Some(range) = durable_part(range) else { return false };
        self.write.delete_range(&range.from, &range.to);
        if let Some(overlay) = &mut self.overlay {
            for (_, value) in overlay.rows.range_mut(range.from.clone()..range.to.clone()) {
                *value = None;
            }
            overlay.deleted.push(range);
        }
        true
    }

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, CommitError> {
        if is_volatile(key) {
            return Ok(self.volatile.get(key).cloned());
        }
        if let Some(overlay) = &self.overlay {
            if let Some(value) = overlay.rows.get(key) {
                return Ok(value.clone());
            }
            if overlay.deleted.iter().any(|range| range.contains(key)) {
                return Ok(None);
            }
        }
        let value = self.db.get_pinned(key);
        let value = value.map_err(|error| CommitError::Failed(format!("a required row cannot be read: {error}")))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }
}
