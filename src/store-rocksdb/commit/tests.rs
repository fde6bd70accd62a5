//! Syncs and groups, counted while the commit thread is held where that makes the count certain.

use std::collections::HashMap;

use depesche_store::{Batch, Bytes, Engine, Operation, Position, Range, Topic};
use futures::{
    executor::block_on,
    future::{join_all, poll_immediate},
};
use tempfile::TempDir;

use super::*;
use crate::RocksDb;

fn open(sync: bool) -> (TempDir, RocksDb) {
    open_with(&RocksOptions { sync, ..RocksOptions::default() })
}

fn open_with(options: &RocksOptions) -> (TempDir, RocksDb) {
    let directory = tempfile::tempdir().expect("a directory");
    let engine = RocksDb::open(directory.path(), options).expect("it opens");
    (directory, engine)
}

fn put(key: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::default();
    batch.operations.insert(key.into().into(), Operation::Put("value".into(), vec![]));
    batch
}

fn lazy(key: impl Into<Vec<u8>>) -> Batch {
    Batch { lazy: true, ..put(key) }
}

fn figure(engine: &RocksDb, name: &str) -> u64 {
    let figures: HashMap<_, _> = engine.statistics().into_iter().collect();
    figures[name]
}

/// What happens to a figure during something.
fn counted<T>(engine: &RocksDb, name: &str, during: impl FnOnce() -> T) -> u64 {
    let before = figure(engine, name);
    during();
    figure(engine, name) - before
}

/// After each of a hundred answers in a row: how many syncs there were until then.
fn syncs_after_each(engine: &RocksDb) -> Vec<u64> {
    let start = figure(engine, "rocksdb.wal.synced");
    let commits = (0..100).map(|number| {
        block_on(engine.commit(put([1, number]))).expect("applied");
        figure(engine, "rocksdb.wal.synced") - start
    });
    commits.collect()
}

/// With the options as they are: the program sets nothing of this.
#[test]
fn each_acknowledged_commit_has_its_sync_before_the_answer() {
    let (_directory, engine) = open_with(&RocksOptions::default());
    assert_eq!(syncs_after_each(&engine), (1..=100).collect::<Vec<_>>());
}

/// The counterpart: the count above notices when syncing is off.
#[test]
fn with_syncing_off_there_are_none() {
    let (_directory, engine) = open(false);
    assert_eq!(syncs_after_each(&engine), [0; 100]);
}

#[test]
fn commits_that_wait_together_share_a_sync() {
    let (_directory, engine) = open(true);
    let release = engine.queue.hold();
    let mut commits: Vec<_> = (1..=50).map(|number| engine.commit(put([number]))).collect();
    for commit in &mut commits {
        assert!(block_on(poll_immediate(commit)).is_none());
    }
    let groups = figure(&engine, "commit.groups");
    let syncs = counted(&engine, "rocksdb.wal.synced", || {
        drop(release);
        let positions: Vec<_> =
            block_on(join_all(commits)).into_iter().map(|result| result.expect("applied")).collect();
        assert!(positions.is_sorted_by(|one, next| one < next));
    });
    assert_eq!((syncs, figure(&engine, "commit.groups") - groups), (1, 1));
}

#[test]
fn a_group_is_bounded_in_batches_and_bytes() {
    let (_directory, engine) = open(true);
    let wait = |batches: Vec<Batch>| {
        let release = engine.queue.hold();
        let mut commits: Vec<_> = batches.into_iter().map(|batch| engine.commit(batch)).collect();
        for commit in &mut commits {
            assert!(block_on(poll_immediate(commit)).is_none());
        }
        counted(&engine, "commit.groups", || {
            drop(release);
            assert!(block_on(join_all(commits)).iter().all(Result::is_ok));
        })
    };
    let small = |count: u16| (0..count).map(|number| put([[1; 2], number.to_be_bytes()].concat())).collect::<Vec<_>>();
    assert_eq!(wait(small(256)), 1);
    assert_eq!(wait(small(257)), 2);
    let large = || {
        let mut batch = Batch::default();
        for number in 0..70u8 {
            batch.operations.insert(vec![2, number].into(), Operation::Put(vec![0; 60_000].into(), vec![]));
        }
        batch
    };
    // Of 4.2 MB each: one fits a group of 8 MB, two do not.
    assert_eq!(wait(vec![large(), large(), large()]), 3);
}

/// More than may wait comes through all the same, in its order.
#[test]
fn a_full_queue_makes_commits_wait_outside() {
    let (_directory, engine) = open(false);
    let release = engine.queue.hold();
    let large = |number: u8| {
        let mut batch = put([1]);
        for row in 0..75u8 {
            batch.operations.insert(vec![2, number, row].into(), Operation::Put(vec![0; 60_000].into(), vec![]));
        }
        batch
    };
    let mut commits: Vec<_> = (0..20).map(|number| engine.commit(large(number))).collect();
    for commit in &mut commits {
        assert!(block_on(poll_immediate(commit)).is_none());
    }
    assert!(engine.queue.room.available_permits() < 5 << 10, "90 MB do not fit into the queue");
    drop(release);
    let positions: Vec<_> = block_on(join_all(commits)).into_iter().map(|result| result.expect("applied")).collect();
    assert!(positions.is_sorted_by(|one, next| one < next));
    assert_eq!(engine.queue.room.available_permits(), WAITING_UNITS);
}

#[test]
fn lazy_and_volatile_batches_ask_for_no_sync() {
    let (_directory, engine) = open(true);
    let mut typing = put([0xF0]);
    typing.topics.insert(Topic(1));
    let started = Instant::now();
    let syncs = counted(&engine, "rocksdb.wal.synced", || {
        for batch in [lazy([1]), typing, put([0xF1]), lazy([2])] {
            block_on(engine.commit(batch)).expect("applied");
        }
    });
    assert!(syncs == 0 || started.elapsed() >= LAZY, "{syncs}");
    let syncs = counted(&engine, "rocksdb.wal.synced", || block_on(engine.commit(put([3]))));
    assert_eq!(syncs, 1, "which covers the lazy ones before it");
}

/// One second after a lazy batch its sync comes by itself: the thread sleeps that long and no test has to.
#[test]
fn a_lazy_batch_is_synced_when_its_second_is_over() {
    let (_directory, engine) = open(true);
    let started = Instant::now();
    block_on(engine.commit(lazy([1]))).expect("applied");
    let before = figure(&engine, "rocksdb.wal.synced");
    while figure(&engine, "rocksdb.wal.synced") == before {
        assert!(started.elapsed() < 60 * LAZY, "no sync came");
        std::thread::yield_now();
    }
}

#[test]
fn closing_answers_what_waits_and_refuses_the_rest() {
    let (directory, engine) = open(true);
    let release = engine.queue.hold();
    let mut waits = engine.commit(put([1]));
    assert!(block_on(poll_immediate(&mut waits)).is_none());
    drop(release);
    engine.close();
    let last = block_on(waits).expect("applied");
    assert!(matches!(block_on(engine.commit(put([2]))), Err(CommitError::Failed(_))));
    let snapshot = engine.snapshot();
    assert_eq!(block_on(snapshot.get(&[1])).expect("read"), Some("value".into()), "in place, for who still reads");
    assert!(RocksDb::open(directory.path(), &RocksOptions::default()).is_err(), "a snapshot is still held");
    drop((engine, snapshot));
    let engine = RocksDb::open(directory.path(), &RocksOptions::default()).expect("it opens");
    assert_eq!(engine.snapshot().position(), last, "an orderly end leaves no gap");
    assert_eq!(block_on(engine.commit(put([3]))).expect("applied"), Position(last.0 + 1));
}

#[test]
fn a_database_in_use_says_so() {
    let (directory, engine) = open(true);
    let second = RocksDb::open(directory.path(), &RocksOptions::default());
    assert!(matches!(second.err(), Some(crate::OpenError::InUse(_))));
    drop(engine);
    RocksDb::open(directory.path(), &RocksOptions::default()).expect("it opens");
}

#[test]
fn rows_are_counted_when_verified() {
    let (_directory, engine) = open(true);
    let before = engine.verify(|| false).expect("whole");
    for number in 1..=9 {
        block_on(engine.commit(put([number]))).expect("applied");
    }
    engine.compact().expect("compacted");
    assert_eq!(engine.verify(|| false).expect("whole"), before + 9);
}

/// The file of rows that there is after a compaction.
fn file_of_rows(directory: &std::path::Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(directory).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "sst"));
    files.next().expect("a file of rows")
}

#[test]
fn damage_under_what_is_in_memory_is_seen() {
    let (directory, engine) = open(true);
    for number in 0..200_u8 {
        let mut batch = Batch::default();
        // What no compression makes small.
        let odd = 2_654_435_761 + u32::from(number);
        let value: Vec<u8> = (0..1000_u32).map(|n| n.wrapping_mul(odd).to_le_bytes()[2]).collect();
        batch.operations.insert(vec![1, number].into(), Operation::Put(value.into(), vec![]));
        block_on(engine.commit(batch)).expect("applied");
    }
    engine.compact().expect("compacted");
    let scan = || block_on(engine.snapshot().scan(Range::prefix(vec![1]), false, 1000));
    assert_eq!(scan().expect("read").len(), 200);
    assert!(engine.verify(|| false).is_ok());
    let path = file_of_rows(directory.path());
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&path, bytes).expect("written");
    assert_eq!(scan().expect("from memory").len(), 200);
    let damage = engine.verify(|| false).expect_err("damaged").to_string();
    assert!(damage.contains("checksum mismatch"), "{damage}");
}

#[test]
fn a_verification_can_be_stopped_and_ends_with_the_engine() {
    let (_directory, engine) = open(false);
    for start in (0..20_000_u32).step_by(1000) {
        let mut batch = Batch::default();
        for number in start..start + 1000 {
            batch.operations.insert(
                [&[1][..], &number.to_be_bytes()].concat().into(),
                Operation::Put(Bytes::from_static(b"x"), vec![]),
            );
        }
        block_on(engine.commit(batch)).expect("applied");
    }
    assert!(engine.verify(|| false).expect("whole") > 20_000);
    assert!(engine.verify(|| true).is_err());
    engine.close();
    assert!(engine.verify(|| false).is_err());
    assert!(engine.compact().is_err(), "nothing is compacted any more");
}

#[test]
fn a_copy_that_fails_leaves_nothing() {
    let (directory, engine) = open(true);
    block_on(engine.commit(put([1]))).expect("applied");
    engine.compact().expect("compacted");
    std::fs::remove_file(file_of_rows(directory.path())).expect("removed");
    let outside = tempfile::tempdir().expect("a directory");
    assert!(block_on(engine.checkpoint(&outside.path().join("copy"))).is_err());
    assert_eq!(std::fs::read_dir(outside.path()).expect("a folder").count(), 0);
}

#[test]
fn what_is_in_memory_is_read_in_place_and_the_rest_by_the_pool() {
    let (directory, engine) = open(true);
    // Of several blocks, since opening reads the first.
    let value = Bytes::from(vec![7; 1000]);
    for number in 0..200 {
        let mut batch = Batch::default();
        batch.operations.insert(vec![1, number].into(), Operation::Put(value.clone(), vec![]));
        block_on(engine.commit(batch)).expect("applied");
    }
    let get = |engine: &RocksDb| {
        assert_eq!(block_on(engine.snapshot().get(&[1, 50])).expect("read").as_ref(), Some(&value));
    };
    let get_many = |engine: &RocksDb| {
        let values = block_on(engine.snapshot().get_many(vec![vec![1, 50].into(), vec![3].into()]));
        assert_eq!(values.expect("read"), [Some(value.clone()), None]);
    };
    let scan = |engine: &RocksDb, limit: usize| {
        let rows = block_on(engine.snapshot().scan(Range::prefix(vec![1]), true, limit)).expect("read");
        assert_eq!((rows.len(), &*rows[0].0), (limit, [1, 199].as_slice()));
    };
    assert_eq!(counted(&engine, "read.in_place", || (get(&engine), get_many(&engine), scan(&engine, 10))), 3);
    assert_eq!(counted(&engine, "read.on_pool", || scan(&engine, 200)), 1, "large");
    let few = || {
        let range = Range::new(vec![1, 190], vec![2]);
        assert_eq!(block_on(engine.snapshot().scan(range, false, 1000)).expect("read").len(), 10);
    };
    assert_eq!(counted(&engine, "read.in_place", few), 1, "it might have been large");
    engine.compact().expect("compacted");
    drop(engine);
    let reopened = || RocksDb::open(directory.path(), &RocksOptions::default()).expect("it opens");
    for read in [&get as &dyn Fn(&RocksDb), &get_many, &|engine: &RocksDb| scan(engine, 10)] {
        let engine = reopened();
        assert_eq!(counted(&engine, "read.on_pool", || read(&engine)), 1, "cold");
        assert_eq!(counted(&engine, "read.in_place", || read(&engine)), 1, "cached");
    }
}

/// Many deleted rows in a row are skipped by the pool, not by an async thread.
#[test]
fn a_scan_over_deleted_rows_leaves_the_async_thread() {
    let (_directory, engine) = open(false);
    for number in 0..1000u16 {
        block_on(engine.commit(put([[1; 2], number.to_be_bytes()].concat()))).expect("applied");
    }
    let mut deletes = Batch::default();
    for number in 0..999u16 {
        deletes.operations.insert([[1; 2], number.to_be_bytes()].concat().into(), Operation::Delete);
    }
    block_on(engine.commit(deletes)).expect("applied");
    let pooled = counted(&engine, "read.on_pool", || {
        let rows = block_on(engine.snapshot().scan(Range::prefix(vec![1]), false, 1)).expect("read");
        assert_eq!(rows[0].0, [[1; 2], 999u16.to_be_bytes()].concat());
    });
    assert_eq!(pooled, 1);
}

#[test]
fn only_a_failed_sync_of_the_log_is_uncertain() {
    for certain in [
        "IO error: No space left on device: While appending to file: /d/000004.log: No space left on device",
        "IO error: While appending to file: /d/000004.log: File too large",
        "IO error: While open a file for appending: /d/000005.log: Too many open files",
        "IO error: While fsync: /d/000009.sst: Input/output error",
        "IO error: No space left on device: While fdatasync: /d/MANIFEST-000003: No space left on device",
    ] {
        assert!(nothing_was_applied(certain), "{certain}");
    }
    for uncertain in [
        "IO error: While fdatasync: /d/000004.log: Input/output error",
        "IO error: No space left on device: While fsync: /d/000004.log: No space left on device",
        "IO error: While fsync: a directory: Input/output error",
        "Corruption: something",
    ] {
        assert!(!nothing_was_applied(uncertain), "{uncertain}");
    }
}
