//! The same random steps on two engines, compared after each.
//!
//! Two engines hand out different positions, so positions are compared by their rank among the commits, in answers as
//! well as in stamped keys and values.

use std::sync::Arc;

use futures::future::join_all;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Database, options, run};
use crate::{
    Batch, Bytes, Changes, CommitError, Engine, MAX_SCAN, Operation, Options, Position, Range, Requirement, Row,
    Snapshot, Stamp, StampAt, Topic,
};

/// Keys of this table are stamped at byte 1.
const STAMPED: u8 = 0x03;
/// Values that begin so are stamped at byte 1.
const STAMPED_VALUE: u8 = b'@';

/// So many changes are kept. When more are there, an engine may have trimmed or not.
const KEEP: usize = 12;

/// Drives both databases with so many random sequences of commits, reads, held snapshots and restarts, or with as many
/// as `PROPTEST_CASES` says if that is more. Panics with the shortest sequence found that tells them apart.
pub fn differential<A: Database, B: Database>(cases: u32) {
    let config =
        Config { cases: super::cases(cases), failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
    let result = TestRunner::new(config).run(&vec(step(), 1..40), |steps| {
        let options = Options { keep_changes: KEEP as u64, ..options() };
        let mut one = Side::new(A::create(options.clone()));
        let mut other = Side::new(B::create(options));
        for step in &steps {
            let (seen, also) = (one.take(step), other.take(step));
            prop_assert!(seen == also || is_trimmed(&seen) || is_trimmed(&also), "{:?}: {:?}, {:?}", step, seen, also);
            prop_assert_eq!(one.take(&Step::Everything), other.take(&Step::Everything), "after {:?}", step);
        }
        Ok(())
    });
    if let Err(difference) = result {
        panic!("{difference}");
    }
}

fn is_trimmed(seen: &Seen) -> bool {
    *seen == Seen::Changes(None)
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Plan>),
    Hold,
    Release(usize),
    Scan { held: usize, from: Vec<u8>, to: Vec<u8>, reverse: bool, limit: usize },
    Get { held: usize, keys: Vec<Vec<u8>> },
    Changes { after: usize, limit: usize },
    Restart,
    Everything,
}

#[derive(Clone, Debug)]
struct Plan {
    puts: Vec<(Vec<u8>, Put)>,
    stamped: Vec<u8>,
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
    required: Vec<(Vec<u8>, Require)>,
    topics: Vec<u64>,
    lazy: bool,
}

#[derive(Clone, Debug)]
enum Put {
    Plain(u8, usize),
    Stamped,
    Delete,
}

#[derive(Clone, Debug)]
enum Require {
    Absent,
    AsRead,
    Other,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    let table = prop::sample::select(vec![0x01, 0x02, 0xEF, 0xF0, 0xFF]);
    (table, vec(prop::sample::select(vec![0x00, 0x01, 0x7F, 0xFF]), 0..3)).prop_map(|(table, rest)| {
        let mut key = vec![table];
        key.extend(rest);
        key
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let put = prop_oneof![
        4 => (any::<u8>(), prop_oneof![9 => 0..20usize, 1 => 4000..9000usize]).prop_map(|(byte, size)| Put::Plain(byte, size)),
        1 => Just(Put::Stamped),
        2 => Just(Put::Delete),
    ];
    let range = (key(), prop_oneof![9 => key(), 1 => Just(vec![])]);
    let require = prop_oneof![2 => Just(Require::Absent), 6 => Just(Require::AsRead), 1 => Just(Require::Other)];
    let ranges = prop_oneof![4 => Just(vec![]), 1 => vec(range, 1..3)];
    (
        vec((key(), put), 0..6),
        vec(any::<u8>(), 0..2),
        ranges,
        vec((key(), require), 0..2),
        vec(0..9u64, 0..3),
        any::<bool>(),
    )
        .prop_map(|(puts, stamped, ranges, required, topics, lazy)| Plan {
            puts,
            stamped,
            ranges,
            required,
            topics,
            lazy,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let bound = || prop_oneof![1 => Just(vec![]), 1 => Just(vec![STAMPED]), 8 => key()];
    let limit = || prop_oneof![4 => 0..6usize, 1 => Just(MAX_SCAN)];
    prop_oneof![
        10 => vec(plan(), 1..6).prop_map(Step::Commit),
        2 => Just(Step::Hold),
        1 => (0..4usize).prop_map(Step::Release),
        4 => (0..4usize, bound(), bound(), any::<bool>(), limit())
            .prop_map(|(held, from, to, reverse, limit)| Step::Scan { held, from, to, reverse, limit }),
        3 => (0..4usize, vec(key(), 0..6)).prop_map(|(held, keys)| Step::Get { held, keys }),
        2 => (0..60usize, limit()).prop_map(|(after, limit)| Step::Changes { after, limit }),
        1 => Just(Step::Restart),
    ]
}

/// What a step shows, in a form that is the same for every engine.
#[derive(Debug, PartialEq)]
enum Seen {
    Nothing,
    Commits(Vec<Result<usize, Bytes>>),
    Rows(usize, Vec<Row>),
    Values(Vec<Option<Bytes>>),
    Changes(Option<Vec<(usize, Vec<Topic>)>>),
}

struct Side<D> {
    /// Taken only while restarting.
    database: Option<D>,
    commits: Vec<Position>,
    /// Those of them that had topics.
    announced: Vec<Position>,
    held: Vec<Snapshot>,
}

impl<D: Database> Side<D> {
    fn new(database: D) -> Self {
        Self { database: Some(database), commits: Vec::new(), announced: Vec::new(), held: Vec::new() }
    }

    fn engine(&self) -> Arc<dyn Engine> {
        self.database.as_ref().expect("a database").engine()
    }

    /// A held snapshot, or the newest.
    fn snapshot(&self, held: usize) -> Snapshot {
        self.held.get(held).cloned().unwrap_or_else(|| self.engine().snapshot())
    }

    fn take(&mut self, step: &Step) -> Seen {
        match step {
            Step::Commit(plans) => self.commit(plans),
            Step::Hold => {
                self.held.push(self.engine().snapshot());
                Seen::Nothing
            }
            Step::Release(held) => {
                if *held < self.held.len() {
                    self.held.remove(*held);
                }
                Seen::Nothing
            }
            Step::Scan { held, from, to, reverse, limit } => {
                self.scan(&self.snapshot(*held), Range::new(from.clone(), to.clone()), *reverse, *limit)
            }
            Step::Get { held, keys } => {
                let keys = keys.iter().map(|key| Bytes::copy_from_slice(key)).collect();
                let values = run(async { self.snapshot(*held).get_many(keys).await.expect("rows") });
                Seen::Values(values.into_iter().map(|value| value.map(|value| self.ranked_value(value))).collect())
            }
            Step::Changes { after, limit } => self.changes(*after, *limit),
            Step::Restart => {
                self.held.clear();
                self.database = self.database.take().map(D::reopen);
                Seen::Nothing
            }
            Step::Everything => self.scan(&self.engine().snapshot(), Range::new("", ""), false, MAX_SCAN),
        }
    }

    fn commit(&mut self, plans: &[Plan]) -> Seen {
        let engine = self.engine();
        let results = run(async {
            let snapshot = engine.snapshot();
            let mut batches = Vec::new();
            for plan in plans {
                batches.push(plan.batch(&snapshot).await);
            }
            join_all(batches.into_iter().map(|batch| engine.commit(batch))).await
        });
        self.commits.extend(results.iter().flatten());
        let announced = plans.iter().zip(&results).filter(|(plan, _)| !plan.topics.is_empty());
        self.announced.extend(announced.filter_map(|(_, result)| result.as_ref().ok()));
        let outcome = |result| match result {
            Ok(position) => Ok(self.rank(position)),
            Err(CommitError::Conflict(key)) => Err(key),
            Err(error) => panic!("{error}"),
        };
        Seen::Commits(results.into_iter().map(outcome).collect())
    }

    fn scan(&self, snapshot: &Snapshot, range: Range, reverse: bool, limit: usize) -> Seen {
        let rows = run(async { snapshot.scan(range, reverse, limit).await.expect("rows") });
        let rows = rows.into_iter().map(|(key, value)| (self.ranked_key(key), self.ranked_value(value))).collect();
        Seen::Rows(self.rank(snapshot.position()), rows)
    }

    fn changes(&self, after: usize, limit: usize) -> Seen {
        let after = after.checked_sub(1).and_then(|after| self.commits.get(after)).copied().unwrap_or_default();
        match run(async { self.engine().changes(after, limit).await.expect("changes") }) {
            Changes::Trimmed => {
                let above = self.announced.iter().filter(|position| **position > after).count();
                assert!(above > KEEP, "trimmed too early: {above}");
                Seen::Changes(None)
            }
            Changes::Found(found) => Seen::Changes(Some(
                found.into_iter().map(|change| (self.rank(change.position), change.topics)).collect(),
            )),
        }
    }

    /// How many commits lie at or below a position.
    fn rank(&self, position: Position) -> usize {
        self.commits.iter().filter(|commit| **commit <= position).count()
    }

    fn ranked_key(&self, key: Bytes) -> Bytes {
        if key[0] == STAMPED { self.ranked(&key) } else { key }
    }

    fn ranked_value(&self, value: Bytes) -> Bytes {
        if value.first() == Some(&STAMPED_VALUE) { self.ranked(&value) } else { value }
    }

    fn ranked(&self, stamped: &Bytes) -> Bytes {
        let position = u64::from_be_bytes(stamped[1..9].try_into().expect("eight bytes"));
        assert!(self.commits.contains(&Position(position)), "a stamp that is no commit's position: {stamped:02x?}");
        let rank = self.rank(Position(position)) as u64;
        [&stamped[..1], &rank.to_be_bytes(), &stamped[9..]].concat().into()
    }
}

impl Plan {
    async fn batch(&self, snapshot: &Snapshot) -> Batch {
        let mut batch = Batch { lazy: self.lazy, ..Batch::default() };
        for (key, put) in &self.puts {
            let operation = match put {
                Put::Plain(byte, size) => Operation::Put(vec![byte & 0x3F; *size].into(), vec![]),
                Put::Stamped => {
                    let value = [STAMPED_VALUE; 12].to_vec().into();
                    Operation::Put(value, vec![Stamp { at: StampAt::Value, offset: 1 }])
                }
                Put::Delete => Operation::Delete,
            };
            batch.operations.insert(key.clone().into(), operation);
        }
        for (number, suffix) in (0..).zip(&self.stamped) {
            let key = [&[STAMPED; 9], [number, *suffix].as_slice()].concat().into();
            batch.stamped.push((key, vec![suffix & 0x3F].into(), vec![Stamp { at: StampAt::Key, offset: 1 }]));
        }
        batch.delete_ranges = self.ranges.iter().map(|(from, to)| Range::new(from.clone(), to.clone())).collect();
        for (key, require) in &self.required {
            let requirement = match require {
                Require::Absent => Requirement::Absent,
                Require::Other => Requirement::Is("nobody's value".into()),
                Require::AsRead => snapshot.get(key).await.expect("read").map_or(Requirement::Absent, Requirement::Is),
            };
            batch.requirements.insert(key.clone().into(), requirement);
        }
        batch.topics = self.topics.iter().copied().map(Topic).collect();
        batch
    }
}
