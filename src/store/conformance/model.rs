//! What batches do to an engine, compared with what they do to a map that knows the contract by itself: requirements as
//! the earlier batches of the group leave the rows, range deletes before writes, the commit's position in stamps.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use futures::future::join_all;
use proptest::{
    collection::{btree_map, btree_set, vec},
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Database, all, cases, options, run};
use crate::{Batch, CommitError, Operation, Position, Range, Requirement, Stamp, StampAt};

/// Keys of this table are stamped at byte 1.
const STAMPED: u8 = 0x03;

/// All rows.
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A batch in the words of the map.
#[derive(Clone, Debug)]
struct Plan {
    /// What must stand under a key; `None` for nothing.
    required: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// From, and up to before; empty for no end.
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
    writes: BTreeMap<Vec<u8>, Write>,
    /// The last bytes of stamped keys.
    stamped: BTreeSet<u8>,
    lazy: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Put(Vec<u8>),
    /// One byte, the position, and one byte more.
    Stamped(u8),
    Delete,
}

/// Drives a database with so many random sequences of groups of batches, or as many as `PROPTEST_CASES` says if that is
/// more. Panics with the shortest one found after which the rows are not those of the map.
pub fn follows_the_model<D: Database>(usual: u32) {
    let config = Config { cases: cases(usual), failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let result = TestRunner::new(config).run(&vec(vec(plan(), 1..5), 1..12), |groups| {
        let database = D::create(options());
        let (engine, mut rows) = (database.engine(), Rows::new());
        for group in &groups {
            // All are asked for before the first is waited for: they may share a write.
            let outcomes = run(join_all(group.iter().map(|plan| engine.commit(plan.batch()))));
            for (plan, outcome) in group.iter().zip(outcomes) {
                match (plan.conflict(&rows), outcome) {
                    (None, Ok(position)) => plan.apply(&mut rows, position),
                    (Some(expected), Err(CommitError::Conflict(key))) => prop_assert_eq!(expected, &key[..]),
                    (expected, outcome) => prop_assert!(false, "{:?}: {:?}, {:?}", plan, expected, outcome),
                }
            }
            let found: Rows = run(all(&*engine)).into_iter().map(|(key, row)| (key.to_vec(), row.to_vec())).collect();
            prop_assert_eq!(&found, &rows, "after {:?}", group);
        }
        Ok(())
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
}

impl Plan {
    /// The first key that does not have what is required of it.
    fn conflict(&self, rows: &Rows) -> Option<&[u8]> {
        let mut required = self.required.iter();
        required.find(|(key, value)| rows.get(*key) != value.as_ref()).map(|(key, _)| key.as_slice())
    }

    fn apply(&self, rows: &mut Rows, position: Position) {
        for (from, to) in &self.ranges {
            let end = if to.is_empty() { Bound::Unbounded } else { Bound::Excluded(to) };
            let is_in = |key: &Vec<u8>| key >= from && (end == Bound::Unbounded || key < to);
            rows.retain(|key, _| !is_in(key));
        }
        let position = position.0.to_be_bytes();
        for (key, write) in &self.writes {
            match write {
                Write::Put(value) => drop(rows.insert(key.clone(), value.clone())),
                Write::Stamped(byte) => drop(rows.insert(key.clone(), [&[*byte][..], &position, &[*byte]].concat())),
                Write::Delete => drop(rows.remove(key)),
            }
        }
        for last in &self.stamped {
            rows.insert([&[STAMPED][..], &position, &[*last]].concat(), position.to_vec());
        }
    }

    fn batch(&self) -> Batch {
        let mut batch = Batch { lazy: self.lazy, ..Batch::default() };
        for (key, value) in &self.required {
            let value = value.as_ref().map(|value| Requirement::Is(value.clone().into()));
            batch.requirements.insert(key.clone().into(), value.unwrap_or(Requirement::Absent));
        }
        batch.delete_ranges = self.ranges.iter().map(|(from, to)| Range::new(from.clone(), to.clone())).collect();
        let stamp = |at, offset| Stamp { at, offset };
        for (key, write) in &self.writes {
            let operation = match write {
                Write::Put(value) => Operation::Put(value.clone().into(), vec![]),
                Write::Stamped(byte) => Operation::Put(vec![*byte; 10].into(), vec![stamp(StampAt::Value, 1)]),
                Write::Delete => Operation::Delete,
            };
            batch.operations.insert(key.clone().into(), operation);
        }
        for last in &self.stamped {
            let key = [&[STAMPED; 9][..], &[*last]].concat();
            let stamps = vec![stamp(StampAt::Key, 1), stamp(StampAt::Value, 0)];
            batch.stamped.push((key.into(), vec![0; 8].into(), stamps));
        }
        batch
    }
}

/// Few, so that batches meet. Those of the last table are volatile.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let table = prop::sample::select(vec![0x01, 0x02, 0xF0]);
    (table, vec(prop::sample::select(vec![0x00, 0xFF]), 0..2)).prop_map(|(table, rest)| [vec![table], rest].concat())
}

/// So few that what is required is often there.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![b"".to_vec(), b"a".to_vec(), b"b".to_vec()])
}

fn plan() -> impl Strategy<Value = Plan> {
    let write = prop_oneof![4 => value().prop_map(Write::Put), 1 => any::<u8>().prop_map(Write::Stamped), 2 => Just(Write::Delete)];
    let bound = prop_oneof![8 => key(), 1 => Just(vec![STAMPED])];
    let range = (bound, prop_oneof![8 => key(), 1 => Just(vec![])]);
    let ranges = prop_oneof![3 => Just(vec![]), 1 => vec(range, 1..3)];
    let required = prop_oneof![2 => Just(BTreeMap::new()), 1 => btree_map(key(), prop::option::of(value()), 1..3)];
    (required, ranges, btree_map(key(), write, 0..5), btree_set(0..3_u8, 0..3), any::<bool>())
        .prop_map(|(required, ranges, writes, stamped, lazy)| Plan { required, ranges, writes, stamped, lazy })
}
