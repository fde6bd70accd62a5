//! What a commit applies.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::{CommitError, MAX_BATCH, MAX_KEY, MAX_VALUE, Position, RESERVED, Range, Topic};

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
    /// Answered before the disk has it. For rows whose loss does no harm (last seen, acknowledgements).
    pub lazy: bool,
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
    }

    /// The bytes of all keys and values.
    pub fn size(&self) -> usize {
        let operations: usize = self
            .operations
            .iter()
            .map(|(key, operation)| {
                key.len() + if let Operation::Put(value, _) = operation { value.len() } else { 0 }
            })
            .sum();
        operations + self.stamped.iter().map(|(key, value, _)| key.len() + value.len()).sum::<usize>()
    }

    /// Refuses a batch outside the contract. Engines call it first.
    pub fn check(&self, refuse_peeked_writes: bool) -> Result<(), CommitError> {
        let broken = |what: String| Err(CommitError::Contract(what));
        let writes = self
            .operations
            .iter()
            .map(|(key, operation)| match operation {
                Operation::Put(value, stamps) => (key, value.len(), stamps.as_slice()),
                Operation::Delete => (key, 0, [].as_slice()),
            })
            .chain(self.stamped.iter().map(|(key, value, stamps)| (key, value.len(), stamps.as_slice())));
        for (key, value, stamps) in writes {
            if key.first().is_none_or(|first| *first == RESERVED) {
                return broken(format!("the key {key:02x?} is reserved"));
            }
            if key.len() > MAX_KEY || value > MAX_VALUE {
                return broken(format!("{} bytes under a key of {} ({key:02x?})", value, key.len()));
            }
            for stamp in stamps {
                let length = if stamp.at == StampAt::Key { key.len() } else { value };
                if stamp.offset + 8 > length {
                    return broken(format!("a stamp at {} of {length} bytes", stamp.offset));
                }
            }
            if refuse_peeked_writes && self.peeked.contains(key) && !self.requirements.contains_key(key) {
                return broken(format!("the key {key:02x?} is written but was only peeked at: a lost update"));
            }
        }
        let size = self.size();
        if size > MAX_BATCH {
            return broken(format!("a batch of {size} bytes"));
        }
        Ok(())
    }
}

impl Stamp {
    /// Writes the position into a copy of the bytes, for each stamp that is meant for them.
    pub fn apply(bytes: &Bytes, stamps: &[Self], at: StampAt, position: Position) -> Bytes {
        if !stamps.iter().any(|stamp| stamp.at == at) {
            return bytes.clone();
        }
        let mut copy = bytes.to_vec();
        for stamp in stamps.iter().filter(|stamp| stamp.at == at) {
            copy[stamp.offset..stamp.offset + 8].copy_from_slice(&position.0.to_be_bytes());
        }
        copy.into()
    }
}
