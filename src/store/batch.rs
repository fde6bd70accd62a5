//! What a commit applies.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};

use crate::{
    CommitError, MAX_BATCH, MAX_KEY, MAX_TOPICS, MAX_VALUE, Position, RESERVED, Range, Topic, lease::LeaseRows,
};

/// Writes, what they require, and what they announce: applied together or not at all.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// What must hold, seen after the earlier batches of the same group.
    pub requirements: BTreeMap<Bytes, Requirement>,
    /// Range deletes first, in order; then one operation a key.
    pub delete_ranges: Vec<Range>,
    /// The writes, one per key.
    pub operations: BTreeMap<Bytes, Operation>,
    /// Writes whose key receives the commit position: they cannot collide with other keys.
    pub stamped: Vec<(Bytes, Bytes, Vec<Stamp>)>,
    /// What the batch changed, for watches and followers.
    pub topics: BTreeSet<Topic>,
    /// Keys that were read without requiring them unchanged: see [`crate::Options::refuse_peeked_writes`].
    pub peeked: BTreeSet<Bytes>,
    /// Does not ask for a sync: answered as soon as it is visible, durable with the next batch that is not lazy, or a
    /// second later. For rows whose loss does no harm (last seen, acknowledgements).
    pub lazy: bool,
    /// Set by [`crate::Lease`] alone.
    #[doc(hidden)]
    pub lease: LeaseRows,
}

/// What a batch requires of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Requirement {
    /// The key has no value.
    Absent,
    /// The key has exactly this value: it is unchanged since it was read.
    Is(Bytes),
}

/// One write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Sets the value; the stamps say where in the value the commit position goes.
    Put(Bytes, Vec<Stamp>),
    /// Removes the value, if any.
    Delete,
}

/// Eight bytes that the engine overwrites with the commit position, big endian.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// In the key or in the value.
    pub at: StampAt,
    /// The offset of the first of the eight bytes.
    pub offset: usize,
}

/// Where a stamp goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StampAt {
    /// Into the key.
    Key,
    /// Into the value.
    Value,
}

impl Batch {
    /// Whether there is anything to apply or announce.
    pub fn is_empty(&self) -> bool {
        self.delete_ranges.is_empty()
            && self.operations.is_empty()
            && self.stamped.is_empty()
            && self.topics.is_empty()
            && self.lease.is_empty()
    }

    /// The bytes of all keys and values written. Goes through all of them: who adds rows until it is enough counts
    /// along.
    pub fn size(&self) -> usize {
        let ranges = self.delete_ranges.iter().map(|range| range.from.len() + range.to.len());
        let operations = self.operations.iter().map(|(key, operation)| key.len() + operation.size());
        let stamped = self.stamped.iter().map(|(key, value, _)| key.len() + value.len());
        ranges.chain(operations).chain(stamped).sum()
    }

    /// What the batch writes at its position, stamps applied, after its range deletes: keys with their new values,
    /// none for a delete.
    pub fn into_writes(self, position: Position) -> impl Iterator<Item = (Bytes, Option<Bytes>)> {
        let operations = self.operations.into_iter().map(move |(key, operation)| match operation {
            Operation::Put(value, stamps) => (key, Some(Stamp::apply(value, &stamps, StampAt::Value, position))),
            Operation::Delete => (key, None),
        });
        let stamped = self.stamped.into_iter().map(move |(key, value, stamps)| {
            let key = Stamp::apply(key, &stamps, StampAt::Key, position);
            (key, Some(Stamp::apply(value, &stamps, StampAt::Value, position)))
        });
        operations.chain(stamped).chain(self.lease.into_rows())
    }

    /// The first required key whose value, as `now` gives it, is not what the batch requires.
    pub fn conflict<E>(&self, mut now: impl FnMut(&[u8]) -> Result<Option<Bytes>, E>) -> Result<Option<Bytes>, E> {
        for (key, requirement) in &self.requirements {
            let holds = match (now(key)?, requirement) {
                (None, Requirement::Absent) => true,
                (Some(value), Requirement::Is(expected)) => value == *expected,
                _ => false,
            };
            if !holds {
                return Ok(Some(key.clone()));
            }
        }
        Ok(None)
    }

    /// Refuses a batch outside the contract. Engines call it first.
    pub fn check(&self, refuse_peeked_writes: bool) -> Result<(), CommitError> {
        for range in &self.delete_ranges {
            check_key(&range.from)?;
            if range.to.len() > MAX_KEY {
                return broken(format!("a range that ends at a key of {} bytes", range.to.len()));
            }
        }
        for (key, operation) in &self.operations {
            let stamps = if let Operation::Put(_, stamps) = operation { stamps.as_slice() } else { &[] };
            check_write(key, operation.size(), stamps)?;
            if stamps.iter().any(|stamp| stamp.at == StampAt::Key) {
                return broken(format!("the key {key:02x?} is stamped but not among the stamped writes"));
            }
            if refuse_peeked_writes && self.peeked.contains(key) && !self.requirements.contains_key(key) {
                return broken(format!("the key {key:02x?} is written but was only peeked at: a lost update"));
            }
        }
        for (key, value, stamps) in &self.stamped {
            check_write(key, value.len(), stamps)?;
            if !stamps.iter().any(|stamp| stamp.at == StampAt::Key) {
                return broken(format!("the key {key:02x?} is among the stamped writes but has no stamp"));
            }
        }
        if self.stamped.len() > 1 {
            let keys: BTreeSet<_> = self.stamped.iter().map(|(key, _, stamps)| stamped_key(key, stamps)).collect();
            if keys.len() < self.stamped.len() {
                return broken("two stamped writes under one key".to_owned());
            }
        }
        if self.topics.len() > MAX_TOPICS {
            return broken(format!("{} topics", self.topics.len()));
        }
        let size = self.size();
        if size > MAX_BATCH { broken(format!("a batch of {size} bytes")) } else { Ok(()) }
    }
}

impl Operation {
    /// The bytes of the value, if there is one.
    pub fn size(&self) -> usize {
        if let Self::Put(value, _) = self { value.len() } else { 0 }
    }
}

fn broken<T>(what: String) -> Result<T, CommitError> {
    Err(CommitError::Contract(what))
}

fn check_key(key: &Bytes) -> Result<(), CommitError> {
    if key.first().is_none_or(|first| *first == RESERVED) {
        return broken(format!("the key {key:02x?} is reserved"));
    }
    if key.len() > MAX_KEY { broken(format!("a key of {} bytes", key.len())) } else { Ok(()) }
}

fn check_write(key: &Bytes, value: usize, stamps: &[Stamp]) -> Result<(), CommitError> {
    check_key(key)?;
    if value > MAX_VALUE {
        return broken(format!("a value of {value} bytes under the key {key:02x?}"));
    }
    for stamp in stamps {
        // The first byte of a key says whose it is and whether it is volatile: no stamp may change that.
        let (first, length) = if stamp.at == StampAt::Key { (1, key.len()) } else { (0, value) };
        if stamp.offset < first || stamp.offset.checked_add(8).is_none_or(|end| end > length) {
            return broken(format!("a stamp at {} of {length} bytes ({:?}, {key:02x?})", stamp.offset, stamp.at));
        }
    }
    Ok(())
}

/// The same for two keys that become equal once stamped.
fn stamped_key(key: &Bytes, stamps: &[Stamp]) -> Bytes {
    Stamp::apply(key.clone(), stamps, StampAt::Key, Position(u64::MAX))
}

impl Stamp {
    /// Writes the position into the bytes, for each stamp that is meant for them. Copies them if they are shared.
    fn apply(bytes: Bytes, stamps: &[Self], at: StampAt, position: Position) -> Bytes {
        if !stamps.iter().any(|stamp| stamp.at == at) {
            return bytes;
        }
        let mut bytes = BytesMut::from(bytes);
        for stamp in stamps.iter().filter(|stamp| stamp.at == at) {
            bytes[stamp.offset..stamp.offset + 8].copy_from_slice(&position.0.to_be_bytes());
        }
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static [u8], value: &'static [u8], stamps: Vec<Stamp>) -> (Bytes, Operation) {
        (Bytes::from_static(key), Operation::Put(Bytes::from_static(value), stamps))
    }

    fn refused(change: impl FnOnce(&mut Batch)) -> String {
        let mut batch = Batch::default();
        change(&mut batch);
        match batch.check(true) {
            Err(CommitError::Contract(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn stamps_must_lie_inside_and_leave_the_first_byte_of_a_key() {
        let value = |offset| Stamp { at: StampAt::Value, offset };
        let key = |offset| Stamp { at: StampAt::Key, offset };
        for stamp in [value(1), value(usize::MAX), key(1)] {
            refused(|batch| batch.operations.extend([put(b"key", b"12345678", vec![stamp])]));
        }
        for stamp in [key(0), key(2), value(0)] {
            let row = (Bytes::from_static(b"k12345678"), Bytes::from_static(b"12345678"), vec![stamp]);
            refused(|batch| batch.stamped.push(row));
        }
        let mut batch = Batch::default();
        batch.operations.extend([put(b"key", b"12345678", vec![value(0)])]);
        batch.stamped.push((Bytes::from_static(b"k12345678"), Bytes::new(), vec![key(1)]));
        assert!(batch.check(true).is_ok());
        let rows: Vec<_> = batch.into_writes(Position(1)).collect();
        assert_eq!(rows[0], (Bytes::from_static(b"key"), Some(Bytes::from_static(b"\0\0\0\0\0\0\0\x01"))));
        assert_eq!(rows[1], (Bytes::from_static(b"k\0\0\0\0\0\0\0\x01"), Some(Bytes::new())));
    }

    #[test]
    fn keys_that_the_stamp_makes_equal_are_refused() {
        let row =
            |key: &'static [u8]| (Bytes::from_static(key), Bytes::new(), vec![Stamp { at: StampAt::Key, offset: 1 }]);
        let what = refused(|batch| batch.stamped.extend([row(b"kaaaaaaaa-1"), row(b"kbbbbbbbb-1")]));
        assert!(what.contains("two stamped writes"), "{what}");
    }

    #[test]
    fn the_limits_hold_at_the_limit_and_not_one_beyond() {
        let mut batch = Batch::default();
        batch.operations.insert(vec![1; MAX_KEY].into(), Operation::Put(vec![0; MAX_VALUE].into(), vec![]));
        batch.topics.extend((0..MAX_TOPICS as u64).map(Topic));
        assert!(batch.check(true).is_ok());
        refused(|batch| batch.topics.extend((0..=MAX_TOPICS as u64).map(Topic)));
        refused(|batch| {
            batch.operations.insert(vec![1; MAX_KEY + 1].into(), Operation::Delete);
        });
        refused(|batch| {
            batch.operations.insert(vec![1].into(), Operation::Put(vec![0; MAX_VALUE + 1].into(), vec![]));
        });
        let large = |size: usize| {
            let mut batch = Batch::default();
            for number in 0..=u8::MAX {
                let value = vec![0; MAX_VALUE.min(size.saturating_sub(batch.size() + 2))];
                batch.operations.insert(vec![1, number].into(), Operation::Put(value.into(), vec![]));
                if batch.size() == size {
                    break;
                }
            }
            batch.check(true)
        };
        assert!(large(MAX_BATCH).is_ok());
        assert!(large(MAX_BATCH + 1).is_err());
    }
}
