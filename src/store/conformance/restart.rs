//! What a restart and a checkpoint keep.

use std::sync::Arc;

use super::{Database, all, batch, commit, get, open, options, run};
use crate::{Changes, Engine, Operation, Position, Range, Stamp, StampAt, Topic};

/// Positions, of snapshots too, only grow, however often the database is opened.
pub fn positions_grow_over_restarts<D: Database>() {
    let (mut database, engine) = open::<D>();
    drop(engine);
    let mut last = Position(0);
    for number in 0..5u8 {
        let engine = database.engine();
        assert!(engine.snapshot().position() >= last);
        for _ in 0..number {
            let next = run(commit(&*engine, batch().put("k", [number])));
            assert!(next > last, "{next:?} after {last:?}");
            last = next;
        }
        drop(engine);
        database = database.reopen();
    }
    let engine = database.engine();
    assert_eq!(run(get(&*engine, "k")).as_deref(), Some(&[4][..]));
}

/// Rows as they were, deletes included, and the changes with their positions.
pub fn rows_and_changes_survive<D: Database>() {
    let (database, engine) = open::<D>();
    let (rows, changes) = run(async {
        for number in 0..50u8 {
            let mut change =
                batch().put([1, number], vec![number; 3000]).delete([1, number / 2]).topic(u64::from(number));
            let stamps = vec![Stamp { at: StampAt::Key, offset: 1 }];
            change.stamped.push((vec![2; 9].into(), vec![number].into(), stamps));
            commit(&*engine, change).await;
        }
        commit(&*engine, batch().delete_range(Range::new([1, 40].to_vec(), [1, 45].to_vec()))).await;
        (all(&*engine).await, engine.changes(Position(0), 100).await.expect("changes"))
    });
    assert!(matches!(&changes, Changes::Found(found) if found.len() == 50));
    drop(engine);
    let database = database.reopen().reopen();
    let engine = database.engine();
    assert_eq!(run(all(&*engine)), rows);
    assert_eq!(run(async { engine.changes(Position(0), 100).await.expect("changes") }), changes);
}

/// Volatile rows are gone, also for requirements and scans; new ones can be written.
pub fn volatile_rows_do_not<D: Database>() {
    let (database, engine) = open::<D>();
    run(commit(&*engine, batch().put([0xEF, 0xFF], "stays").put([0xF0], "goes").put([0xFF, 1], "goes")));
    drop(engine);
    let database = database.reopen();
    let engine = database.engine();
    run(async {
        assert_eq!(all(&*engine).await, [super::row([0xEF, 0xFF], "stays")]);
        commit(&*engine, batch().absent([0xF0]).absent([0xFF, 1]).put([0xF0], "new")).await;
        assert_eq!(get(&*engine, [0xF0]).await.as_deref(), Some(&b"new"[..]));
    });
}

/// A copy opens with the same durable rows, far above the original's positions; the original goes on untouched.
pub fn a_checkpoint_is_a_database<D: Database>() {
    let (_database, engine) = open::<D>();
    let directory = tempfile::tempdir().expect("a directory");
    let copies = [directory.path().join("absent"), directory.path().join("empty")];
    std::fs::create_dir(&copies[1]).expect("a directory");
    let durable = run(async {
        commit(&*engine, (0..50u8).fold(batch().topic(5), |batch, number| batch.put([1, number], [number]))).await;
        let durable = all(&*engine).await;
        commit(&*engine, batch().put([0xF0], "volatile")).await;
        for copy in &copies {
            engine.checkpoint(copy).await.expect("a copy");
        }
        engine.checkpoint(&copies[0]).await.expect_err("a copy over another");
        durable
    });
    let last = run(commit(&*engine, batch().put([1, 1], "later")));
    for copy in &copies {
        let database = D::restore(options(), copy);
        let restored = database.engine();
        run(async {
            assert_eq!(all(&*restored).await, durable);
            assert!(restored.snapshot().position().0 >= last.0 + (1 << 31));
            let Changes::Found(changes) = restored.changes(Position(0), 10).await.expect("changes") else {
                panic!("trimmed")
            };
            assert_eq!(changes[0].topics, [Topic(5)]);
        });
        let position = run(commit(&*restored, batch().put([1, 2], "in the copy")));
        drop(restored);
        // Only the first start of a copy skips ahead.
        let database = database.reopen();
        let engine = database.engine();
        let again = run(commit(&*engine, batch()));
        assert!(again > position && again.0 < position.0 + (1 << 31));
    }
    assert_eq!(run(get(&*engine, [1, 1])).as_deref(), Some(&b"later"[..]));
    assert_eq!(run(get(&*engine, [1, 2])).as_deref(), Some(&[2][..]));
}

/// A copy made while batches come in has all of some first ones and nothing of the others.
pub fn a_checkpoint_under_load_is_whole<D: Database>() {
    let (_database, engine) = open::<D>();
    let directory = tempfile::tempdir().expect("a directory");
    let copy = directory.path().join("copy");
    let before = run(async {
        write(&*engine, 0..20).await;
        let writer = Arc::clone(&engine);
        let writer = tokio::spawn(async move { write(&*writer, 20..200).await });
        engine.checkpoint(&copy).await.expect("a copy");
        writer.await.expect("the writer");
        20
    });
    let database = D::restore(options(), &copy);
    let restored = database.engine();
    run(async {
        let rows = restored.snapshot().scan(Range::prefix(vec![1]), false, 1000).await.expect("rows");
        assert!(rows.len() >= before, "{}", rows.len());
        for (number, (key, _)) in (0..).zip(&rows) {
            let number: u8 = number;
            assert_eq!(*key, [1, number].as_slice(), "a gap");
        }
        let others = restored.snapshot().scan(Range::prefix(vec![2]), false, 1000).await.expect("rows");
        assert_eq!(others.len(), rows.len(), "half a batch");
        let last = u8::try_from(rows.len() - 1).expect("at most 200");
        assert_eq!(get(&*restored, "last").await.map(|value| value[8]), Some(last));
    });
}

async fn write(engine: &dyn Engine, numbers: std::ops::Range<u8>) {
    for number in numbers {
        let mut change = batch().put([1, number], [number]).put([2, number], vec![number; 2000]);
        let last = [[0; 8].as_slice(), &[number]].concat();
        let stamps = vec![Stamp { at: StampAt::Value, offset: 0 }];
        change.operations.insert("last".into(), Operation::Put(last.into(), stamps));
        commit(engine, change).await;
    }
}
