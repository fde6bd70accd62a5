//! What a commit does, and what it refuses.

use std::{collections::BTreeSet, sync::Arc};

use futures::future::{join_all, poll_immediate};

use super::{Database, all, batch, bytes, commit, conflict, get, open, row, run};
use crate::{
    Batch, Changes, CommitError, Engine, MAX_BATCH, MAX_KEY, MAX_TOPICS, MAX_VALUE, Operation, Position, RESERVED,
    Range, Stamp, StampAt, Topic,
};

/// A batch that is refused leaves no trace.
pub fn a_batch_is_applied_whole_or_not_at_all<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let first = commit(&*engine, batch().put("a", "1").put("b", "1")).await;
        let refused =
            batch().put("a", "2").delete("b").put("c", "2").delete_range(Range::prefix("a")).topic(1).absent("b");
        conflict(&*engine, refused).await;
        assert_eq!(all(&*engine).await, [row("a", "1"), row("b", "1")]);
        assert_eq!(engine.snapshot().position(), first);
        assert_eq!(engine.changes(Position(0), 10).await.expect("changes"), Changes::Found(vec![]));
        assert!(commit(&*engine, batch().put("c", "3")).await > first);
    });
}

/// Puts, deletes, range deletes and stamped writes of a batch appear together, at its position.
pub fn a_batch_does_everything_at_once<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        commit(&*engine, batch().put("a", "1").put("b", "1").put("c1", "1").put("c2", "1")).await;
        let before = engine.snapshot();
        let mut every = batch().put("a", "2").delete("b").delete("never there").delete_range(Range::prefix("c"));
        every.stamped.push((bytes("d........"), bytes("4"), vec![Stamp { at: StampAt::Key, offset: 1 }]));
        let position = commit(&*engine, every).await;
        assert_eq!(engine.snapshot().position(), position);
        let stamped = [b"d".as_slice(), &position.0.to_be_bytes()].concat();
        assert_eq!(all(&*engine).await, [row("a", "2"), row(stamped, "4")]);
        assert_eq!(before.scan(Range::new("", ""), false, 10).await.expect("rows").len(), 4);
        assert!(commit(&*engine, Batch::default()).await > position, "an empty batch has its position too");
    });
}

/// In one batch a put wins over a range delete; over batches the order counts; odd ranges delete nothing.
pub fn ranges_are_deleted_before_the_writes<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        for table in ["t", "\u{f0}"] {
            let table = if table == "t" { vec![b't'] } else { vec![0xF3] };
            let key = |name: &str| [table.as_slice(), name.as_bytes()].concat();
            let rows = batch().put(key("a"), "1").put(key("b"), "1").put(key("c"), "1");
            commit(&*engine, rows).await;
            let odd = [(key("c"), key("a")), (key("a"), key("a")), (key("x"), key("z"))];
            let odd = odd.into_iter().fold(batch(), |batch, (from, to)| batch.delete_range(Range::new(from, to)));
            commit(&*engine, odd).await;
            assert_eq!(all(&*engine).await.len(), 3);
            commit(&*engine, batch().put(key("a"), "2").delete_range(Range::prefix(table.clone()))).await;
            assert_eq!(all(&*engine).await, [row(key("a"), "2")]);
            // The first keeps the engine busy, so that the others find themselves in one group.
            let group = [
                batch().put("busy", vec![0; 60_000]),
                batch().put(key("b"), "3").put(key("c"), "3"),
                batch().delete_range(Range::new(key("a"), key("c"))),
                batch().put(key("b"), "4").absent(key("a")).absent(key("b")).is(key("c"), "3"),
            ];
            for result in join_all(group.map(|batch| engine.commit(batch))).await {
                result.expect("applied");
            }
            commit(&*engine, batch().delete("busy")).await;
            assert_eq!(all(&*engine).await, [row(key("b"), "4"), row(key("c"), "3")]);
            commit(&*engine, batch().delete_range(Range::new(key(""), ""))).await;
            assert_eq!(all(&*engine).await, []);
        }
        // A range from a durable table to the end takes the volatile ones with it.
        commit(&*engine, batch().put("a", "1").put("b", "1").put([0xFF, 0xFF], "1")).await;
        commit(&*engine, batch().delete_range(Range::new("b", ""))).await;
        assert_eq!(all(&*engine).await, [row("a", "1")]);
    });
}

/// Absent and unchanged, for durable and volatile keys; an empty value is a value.
pub fn required_values<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        for key in [vec![b'k'], vec![0xF0]] {
            assert_eq!(conflict(&*engine, batch().is(&key, "")).await, key);
            commit(&*engine, batch().absent(&key).put(&key, "")).await;
            assert_eq!(conflict(&*engine, batch().absent(&key)).await, key);
            commit(&*engine, batch().is(&key, "").put(&key, "1")).await;
            assert_eq!(conflict(&*engine, batch().is(&key, "")).await, key);
            assert_eq!(conflict(&*engine, batch().is(&key, "11")).await, key);
            commit(&*engine, batch().is(&key, "1").delete(&key)).await;
            commit(&*engine, batch().absent(&key)).await;
        }
    });
}

/// A batch is checked against the ones before it, however they are grouped: of many that want a key only the first
/// has it, and a chain of changes goes through.
pub fn requirements_see_the_group<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let racers = (0..50).map(|number| engine.commit(batch().absent("k").put("k", number.to_string())));
        let results = join_all(racers).await;
        assert!(results[0].is_ok());
        assert_eq!(get(&*engine, "k").await, Some(bytes("0")));
        for result in &results[1..] {
            assert!(matches!(result, Err(CommitError::Conflict(key)) if key == "k"), "{result:?}");
        }
        let chain = (0..50).map(|number: u32| {
            let mut step = batch().is("k", number.to_string()).put("k", (number + 1).to_string());
            // Each step also sees what an earlier one deleted, and writes with a stamp.
            step = if number.is_multiple_of(2) {
                step.absent("odd").put("odd", "")
            } else {
                step.is("odd", "").delete("odd")
            };
            step.stamped.push((
                bytes("s........"),
                bytes(number.to_string()),
                vec![Stamp { at: StampAt::Key, offset: 1 }],
            ));
            engine.commit(step)
        });
        let positions: Vec<_> = join_all(chain).await.into_iter().map(|result| result.expect("applied")).collect();
        assert!(positions.is_sorted_by(|one, next| one < next), "{positions:?}");
        assert_eq!(get(&*engine, "k").await, Some(bytes("50")));
        assert_eq!(all(&*engine).await.len(), 51);
    });
}

/// Of many requirements the broken one is named.
pub fn a_conflict_names_the_key<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        commit(&*engine, batch().put("a", "1").put("b", "1").put("c", "1")).await;
        let wish = || batch().is("a", "1").is("c", "1").absent("d").put("e", "1");
        assert_eq!(conflict(&*engine, wish().is("b", "2")).await, "b");
        assert_eq!(conflict(&*engine, wish().absent("b")).await, "b");
        assert_eq!(conflict(&*engine, wish().is("bb", "1")).await, "bb");
        commit(&*engine, wish().is("b", "1")).await;
    });
}

/// The position goes into keys and values, at several places, and all rows of a batch have the same.
pub fn stamps_carry_the_position<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let key = |offset| Stamp { at: StampAt::Key, offset };
        let value = |offset| Stamp { at: StampAt::Value, offset };
        let mut stamped = batch();
        let operation = Operation::Put(bytes("aaaaaaaa-bbbbbbbb"), vec![value(0), value(9)]);
        stamped.operations.insert(bytes("value"), operation);
        stamped.stamped.push((bytes("t1--------"), bytes("12345678901"), vec![key(2), value(3)]));
        stamped.stamped.push((bytes("t2--------"), bytes("plain"), vec![key(2)]));
        let position = commit(&*engine, stamped.clone()).await;
        let at = position.0.to_be_bytes();
        let expected = vec![
            row([b"t1".as_slice(), &at].concat(), [b"123".as_slice(), &at].concat()),
            row([b"t2".as_slice(), &at].concat(), "plain"),
            row("value", [&at, b"-".as_slice(), &at].concat()),
        ];
        assert_eq!(all(&*engine).await, expected);
        let next = commit(&*engine, stamped).await;
        assert_eq!(all(&*engine).await.len(), 5, "stamped keys do not meet those of other commits");
        let last = engine.snapshot().scan(Range::prefix("t1"), true, 1).await.expect("rows");
        assert_eq!(last[0].0, [b"t1".as_slice(), &next.0.to_be_bytes()].concat());
    });
}

/// Reserved keys, sizes beyond the limits and keys that were only peeked at: refused as such, and nothing is written.
pub fn batches_outside_the_contract_are_refused<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        commit(&*engine, batch().put("k", "1")).await;
        let key_stamp = vec![Stamp { at: StampAt::Key, offset: 1 }];
        let mut stamped_reserved = batch();
        stamped_reserved.stamped.push((bytes([RESERVED; 9]), bytes(""), key_stamp));
        let mut stamped_first_byte = batch();
        let stamp = Stamp { at: StampAt::Key, offset: 0 };
        stamped_first_byte.stamped.push((bytes("k--------"), bytes(""), vec![stamp]));
        let mut stamped_outside = batch();
        let stamp = Stamp { at: StampAt::Value, offset: 1 };
        stamped_outside.operations.insert(bytes("k"), Operation::Put(bytes("12345678"), vec![stamp]));
        let mut topics = batch();
        topics.topics.extend((0..=MAX_TOPICS as u64).map(Topic));
        let mut peeked = batch().put("k", "2");
        peeked.peeked.insert(bytes("k"));
        let large = (0..90u8).fold(batch(), |large, number| large.put([1, number], vec![0; MAX_VALUE]));
        assert!(large.size() > MAX_BATCH);
        let refused = [
            batch().put("", "x"),
            batch().put([RESERVED, 1], "x"),
            batch().delete([RESERVED]),
            batch().delete_range(Range::new("", "a")),
            batch().delete_range(Range::prefix([RESERVED].as_slice().to_vec())),
            batch().put(vec![1; MAX_KEY + 1], ""),
            batch().put("k", vec![0; MAX_VALUE + 1]),
            stamped_reserved,
            stamped_first_byte,
            stamped_outside,
            topics,
            peeked.clone(),
            large,
        ];
        for (number, wrong) in refused.into_iter().enumerate() {
            let result = engine.commit(wrong.put("trace", "x")).await;
            assert!(matches!(result, Err(CommitError::Contract(_))), "{number}: {result:?}");
        }
        assert_eq!(all(&*engine).await, [row("k", "1")]);
        commit(&*engine, peeked.is("k", "1")).await;
    });
}

/// A batch, its keys and its values may be as large as the contract says.
pub fn a_batch_at_its_limits<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let mut large = batch().put(vec![1; MAX_KEY], vec![7; MAX_VALUE]);
        for number in 0..u8::MAX {
            let room = MAX_BATCH - large.size();
            if room < 2 {
                break;
            }
            large = large.put([2, number], vec![number; MAX_VALUE.min(room - 2)]);
        }
        assert_eq!(large.size(), MAX_BATCH);
        large.topics.extend((0..MAX_TOPICS as u64).map(Topic));
        let rows = large.operations.len();
        commit(&*engine, large).await;
        assert_eq!(all(&*engine).await.len(), rows);
        assert_eq!(get(&*engine, vec![1; MAX_KEY]).await.map(|value| value.len()), Some(MAX_VALUE));
        match engine.changes(Position(0), 1).await.expect("changes") {
            Changes::Found(found) => assert_eq!(found[0].topics.len(), MAX_TOPICS),
            Changes::Trimmed => panic!("trimmed"),
        }
    });
}

/// Commits from many tasks at once have distinct positions, increasing for each task, in one order that everyone sees.
pub fn concurrent_commits_have_an_order<D: Database>() {
    const TASKS: u64 = 8;
    const EACH: u64 = 40;
    let (_database, engine) = open::<D>();
    run(async {
        let tasks: Vec<_> = (0..TASKS).map(|task| tokio::spawn(commit_some(Arc::clone(&engine), task, EACH))).collect();
        let mut positions = BTreeSet::new();
        for task in tasks {
            let own = task.await.expect("a task");
            assert!(own.is_sorted_by(|one, next| one < next), "{own:?}");
            positions.extend(own);
        }
        assert_eq!(positions.len() as u64, TASKS * EACH, "two commits with one position");
        let Changes::Found(changes) = engine.changes(Position(0), 1000).await.expect("changes") else {
            panic!("trimmed")
        };
        assert!(changes.iter().map(|change| &change.position).eq(&positions));
        assert_eq!(engine.snapshot().position(), *positions.last().expect("some"));
        for change in changes {
            let stamped = get(&*engine, format!("k{}", change.topics[0].0)).await.expect("the row");
            assert_eq!(*stamped, change.position.0.to_be_bytes());
        }
    });
}

async fn commit_some(engine: Arc<dyn Engine>, task: u64, commits: u64) -> Vec<Position> {
    let mut positions = Vec::new();
    for number in task * commits..(task + 1) * commits {
        let mut stamped = batch().topic(number);
        let operation = Operation::Put(bytes("--------"), vec![Stamp { at: StampAt::Value, offset: 0 }]);
        stamped.operations.insert(bytes(format!("k{number}")), operation);
        let position = commit(&*engine, stamped).await;
        let snapshot = engine.snapshot();
        assert!(snapshot.position() >= position, "a batch is visible when it is answered");
        positions.push(position);
    }
    positions
}

/// A lazy batch can be read when it is answered, keeps its place in the order, and survives an orderly end.
pub fn lazy_batches_are_visible_when_answered<D: Database>() {
    let (database, engine) = open::<D>();
    run(async {
        let mut last = Position(0);
        for number in 0..20 {
            let lazy = number % 3 != 0;
            let position = commit(&*engine, Batch { lazy, ..batch().put("k", [number]).topic(1) }).await;
            assert!(position > last);
            assert_eq!(get(&*engine, "k").await, Some(bytes([number])));
            last = position;
        }
    });
    drop(engine);
    let database = database.reopen();
    assert_eq!(run(get(&*database.engine(), "k")), Some(bytes([19])));
}

/// Who drops a commit does not know whether it is applied, but it is not applied in part.
pub fn a_dropped_commit_is_whole<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        for number in 0..50u8 {
            let mut dropped =
                engine.commit(batch().put([1, number], "1").put([2, number], "1").put([0xF0, number], "1"));
            if number % 2 == 0 {
                let _ = poll_immediate(&mut dropped).await;
            }
            drop(dropped);
        }
        commit(&*engine, batch()).await;
        let snapshot = engine.snapshot();
        for number in 0..50u8 {
            let keys = [1, 2, 0xF0].map(|table| bytes([table, number]));
            let values = snapshot.get_many(keys.to_vec()).await.expect("rows");
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        }
    });
}
