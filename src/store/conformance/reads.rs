//! What a snapshot sees.

use std::collections::BTreeMap;

use super::{Database, all, batch, bytes, commit, get, open, run};
use crate::{Bytes, Lease, MAX_SCAN, RESERVED, Range, ReadError, Row, Snapshot, VOLATILE_FROM, after_prefix};

async fn scan(snapshot: &Snapshot, range: Range, reverse: bool, limit: usize) -> Vec<Row> {
    snapshot.scan(range, reverse, limit).await.expect("the rows are read")
}

/// A snapshot sees exactly the batches at or below its position, however long it is held.
pub fn a_snapshot_stays_as_it_was<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let mut held = vec![(engine.snapshot(), Vec::new())];
        for number in 0..60u8 {
            let mut change =
                batch().put([1, number % 7], [number]).put([0xF0, number % 5], [number]).delete([1, number % 3]);
            if number % 10 == 9 {
                change = change.delete_range(Range::new([1, 2].to_vec(), [1, 5].to_vec()));
            }
            let position = commit(&*engine, change).await;
            let snapshot = engine.snapshot();
            assert_eq!(snapshot.position(), position);
            held.push((snapshot, all(&*engine).await));
        }
        for (snapshot, expected) in held {
            assert_eq!(scan(&snapshot, Range::new("", ""), false, 100).await, expected, "{:?}", snapshot.position());
            for (key, value) in expected {
                assert_eq!(snapshot.get(&key).await.expect("read"), Some(value));
            }
        }
    });
}

/// Every pair of bounds, both directions, several limits, over durable and volatile tables.
pub fn scans_in_both_directions<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let keys: [&[u8]; 14] = [
            &[1],
            &[1, 0],
            &[1, 0, 0],
            &[1, 0xFF],
            &[1, 0xFF, 0xFF],
            &[2],
            &[7, 7],
            &[0xEF, 0xFF],
            &[0xEF, 0xFF, 0xFF],
            &[VOLATILE_FROM],
            &[VOLATILE_FROM, 0],
            &[0xF5, 1],
            &[0xFF],
            &[0xFF, 0xFF],
        ];
        let model: BTreeMap<Bytes, Bytes> = keys.iter().map(|key| (bytes(key), bytes(key))).collect();
        commit(&*engine, keys.iter().fold(batch(), |batch, key| batch.put(key, key))).await;
        let snapshot = engine.snapshot();
        let ends = keys.iter().copied().chain([&[][..], &[RESERVED], &[1, 1], &[0xF0, 0xFF]]);
        let bounds: Vec<Bytes> = ends.map(bytes).collect();
        for (from, to) in bounds.iter().flat_map(|from| bounds.iter().map(move |to| (from, to))) {
            let range = Range::new(from.clone(), to.clone());
            let inside =
                model.iter().filter(|(key, _)| range.contains(key)).map(|(key, value)| (key.clone(), value.clone()));
            let inside: Vec<Row> = inside.collect();
            for limit in [0, 1, 3, 10, 100] {
                let forward: Vec<Row> = inside.iter().take(limit).cloned().collect();
                assert_eq!(scan(&snapshot, range.clone(), false, limit).await, forward, "{range:?} {limit}");
                let backward: Vec<Row> = inside.iter().rev().take(limit).cloned().collect();
                assert_eq!(scan(&snapshot, range.clone(), true, limit).await, backward, "{range:?} {limit} reverse");
            }
        }
    });
}

/// The range of a prefix holds what begins with it and nothing else, also where the next byte would overflow; what is left
/// of it behind a key, all keys behind that one.
pub fn prefixes<D: Database>() {
    assert_eq!(after_prefix(&[1, 2]), [1, 3].as_slice());
    assert_eq!(after_prefix(&[1, 0xFF, 0xFF]), [2].as_slice());
    assert!(after_prefix(&[0xFF, 0xFF]).is_empty());
    assert!(after_prefix(&[]).is_empty());
    let (_database, engine) = open::<D>();
    run(async {
        let bytes_used = [0x01, 0x7F, 0xEF, 0xFE, 0xFF];
        let mut keys: Vec<Vec<u8>> = vec![];
        for (one, two) in bytes_used.iter().flat_map(|one| bytes_used.iter().map(move |two| (*one, *two))) {
            keys.extend([vec![one, two], vec![one, two, 0], vec![one, two, 0xFF], vec![one, two, 0xFF, 0xFF]]);
        }
        commit(&*engine, keys.iter().fold(batch(), |batch, key| batch.put(key, ""))).await;
        let snapshot = engine.snapshot();
        for length in 0..=4 {
            for prefix in keys.iter().filter_map(|key| key.get(..length)) {
                let found = scan(&snapshot, Range::prefix(prefix.to_vec()), false, MAX_SCAN).await;
                let expected = keys.iter().filter(|key| key.starts_with(prefix)).count();
                assert_eq!(found.len(), expected, "{prefix:02x?}");
                assert!(found.iter().all(|(key, _)| key.starts_with(prefix)));
                for at in [0, expected - 1] {
                    let key = &found[at].0;
                    let rest = scan(&snapshot, Range::prefix(prefix.to_vec()).behind(key), false, MAX_SCAN).await;
                    assert_eq!(rest, found[at + 1..], "{prefix:02x?} behind {key:02x?}");
                }
            }
        }
    });
}

/// Several keys at once: in the order asked, with those that are absent or asked twice.
pub fn many_keys_at_once<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let rows = (0..500u16).fold(batch(), |batch, number| batch.put([[1; 2], number.to_be_bytes()].concat(), "x"));
        commit(&*engine, rows.put("b", "B").put([0xF1], "V").put("a", "A")).await;
        let snapshot = engine.snapshot();
        let keys = ["b", "nothing", "a", "b"].map(bytes).into_iter().chain([bytes([0xF1]), bytes([0xF2])]).collect();
        let values = snapshot.get_many(keys).await.expect("rows");
        let expected = [Some("B"), None, Some("A"), Some("B"), Some("V"), None].map(|value| value.map(bytes));
        assert_eq!(values, expected);
        assert_eq!(snapshot.get_many(vec![]).await.expect("rows"), []);
        let rows = all(&*engine).await;
        let values = snapshot.get_many(rows.iter().rev().map(|(key, _)| key.clone()).collect()).await.expect("rows");
        assert!(values.into_iter().eq(rows.into_iter().rev().map(|(_, value)| Some(value))));
    });
}

/// A scan returns up to the limit of the contract; asking for more is an error, not a shorter answer.
pub fn limits_of_reads<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let key = |number: usize| [&[1], number.to_be_bytes().as_slice()].concat();
        commit(&*engine, (0..=MAX_SCAN).fold(batch(), |batch, number| batch.put(key(number), ""))).await;
        let snapshot = engine.snapshot();
        assert_eq!(scan(&snapshot, Range::new("", ""), false, MAX_SCAN).await.len(), MAX_SCAN);
        let last = scan(&snapshot, Range::new("", ""), true, MAX_SCAN).await;
        assert_eq!(last[0].0, key(MAX_SCAN));
        let beyond = snapshot.scan(Range::new("", ""), false, MAX_SCAN + 1).await;
        assert!(matches!(beyond, Err(ReadError::Contract(_))));
        let keys: Vec<Bytes> = (0..=MAX_SCAN).map(|number| key(number).into()).collect();
        assert_eq!(snapshot.get_many(keys[1..].to_vec()).await.expect("rows").iter().flatten().count(), MAX_SCAN);
        assert!(matches!(snapshot.get_many(keys).await, Err(ReadError::Contract(_))));
        assert!(matches!(engine.changes(crate::Position(0), MAX_SCAN + 1).await, Err(ReadError::Contract(_))));
    });
}

/// Rows of more bytes than caches and write buffers of a test hold come back whole, from old and new snapshots.
pub fn large_rows<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let value = |number: u8, round: u8| vec![number ^ round; 30_000 + usize::from(number)];
        for round in 0..2 {
            for number in 0..=u8::MAX {
                commit(&*engine, batch().put([1, number], value(number, round))).await;
            }
            let first = engine.snapshot();
            for number in (0..=u8::MAX).step_by(2) {
                commit(&*engine, batch().delete([1, number])).await;
            }
            let rows = scan(&first, Range::prefix(vec![1]), false, MAX_SCAN).await;
            assert_eq!(rows.len(), 256);
            for (number, (_, found)) in (0..=u8::MAX).zip(&rows) {
                assert_eq!(*found, value(number, round), "{number}");
            }
            assert_eq!(all(&*engine).await.len(), 128);
            assert_eq!(get(&*engine, [1, 2]).await, None);
            assert_eq!(get(&*engine, [1, 3]).await, Some(value(3, round).into()));
        }
    });
}

/// Leases, changes and positions lie in the same database, but no scan returns them.
pub fn the_engines_own_rows_stay_hidden<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let lease = std::time::Duration::from_secs(1);
        Lease::acquire(&*engine, "l", "h", 0, lease).await.expect("a lease");
        commit(&*engine, batch().put([RESERVED + 1], "first").topic(1)).await;
        for from in [vec![], vec![RESERVED], vec![RESERVED, 0xFF]] {
            for to in [vec![], vec![RESERVED + 2]] {
                for reverse in [false, true] {
                    let rows = scan(&engine.snapshot(), Range::new(from.clone(), to.clone()), reverse, 10).await;
                    assert_eq!(rows, [super::row([RESERVED + 1], "first")]);
                }
            }
        }
        assert_eq!(scan(&engine.snapshot(), Range::prefix(vec![RESERVED]), false, 10).await, []);
    });
}
