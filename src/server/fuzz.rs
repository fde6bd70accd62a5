//! Fuzz targets for the codec: what lies in the database is read whatever it is, and what is read is written as it was.
//! As plain tests they run the committed corpus in `__fuzz__/` and some random input, for as long as
//! `DEPESCHE_FUZZ_SECONDS` says; `cargo bolero test` runs them on a fuzzing engine.

use std::{collections::BTreeSet, path::Path, time::Duration};

use bolero::check;
use bytes::Bytes;

use crate::keyspace::*;
use crate::{
    codec::Key,
    table::{Record, Table},
};

/// A table as the targets know it.
struct Target {
    number: u8,
    name: &'static str,
    /// Whether bytes are a key, which is then written as it was.
    key: fn(&[u8]) -> bool,
    /// Whether bytes are a value, which then stays what it is.
    record: fn(&Bytes) -> bool,
}

macro_rules! targets {
    ($($table:ident)*) => {
        &[$(Target {
            number: $table.number,
            name: $table.name,
            key: |bytes| key(&$table, bytes),
            record: |bytes| record(&$table, bytes),
        },)*]
    };
}

/// Every table.
const TARGETS: &[Target] = targets!(
    IDENTITY COUNTER REPORT REPORT_OPEN REPORT_OF REPORT_COUNT DUE MIGRATION RESTORED
    ACCOUNT PASSWORD ACCESS_TOKEN REFRESH_TOKEN SESSION LOGIN_TOKEN REGISTRATION_TOKEN CONSENT DEACTIVATION DEVICE
    DEVICE_SEEN DEVICE_LIST PROFILE FILTER FILTER_NO ACCOUNT_DATA ACCOUNT_DATA_LOG ACCOUNT_DATA_COUNT ACCOUNT_DATA_BYTES
    PROFILE_SPREAD USER_TERM USER_TERMS BUILT THERE PUSHER PUSHER_OWNER PUSHER_COUNT OPENID_TOKEN
    ROOM_NO ROOM HEAD EVENT META EVENT_NO KEY_NO KEY NODE ROOT_BEFORE ROOT_AT TIMELINE MEMBER TRANSACTION ALIAS
    ROOM_ALIAS UNREAD NAMED PUBLISHED ANNOTATION OPEN_ROOM TYPED RELATION REPLACEMENT RELATED THREAD RECEIPT RECEIPT_LOG
    TALLY COUNTED_THREAD UNCOUNTED MARK
    DEVICE_KEYS ONE_TIME_KEY ONE_TIME_ID FALLBACK_KEY STOCK CROSS_SIGNING_KEY OWN_SIGNATURE USER_SIGNATURE KEY_HEAD
    KEY_LOG SIGNED_HEAD SIGNED_LOG TO_DEVICE TO_DEVICE_TXN BACKUP_HEAD BACKUP BACKUP_KEY
    FILE BLOB THUMBNAIL FILE_OF USAGE PENDING LOOSE_BLOB PREVIEW_PICTURE
    PUSH_OUTBOX PUSH_QUEUE PUSH_DELIVERY BADGE_DUE
    POSTING INDEXED FOLLOWED
    TYPING PRESENCE
);

/// How many inputs a target is given, and for how long: few in passing, or for the seconds of `DEPESCHE_FUZZ_SECONDS`.
fn bounds() -> (usize, Duration) {
    let seconds = std::env::var("DEPESCHE_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or((20_000, Duration::from_hours(1)), |seconds| (usize::MAX, Duration::from_secs(seconds)))
}

fn key<K: Key, V: Record>(table: &Table<K, V>, bytes: &[u8]) -> bool {
    let Some(key) = table.parse(bytes) else { return false };
    assert_eq!(table.key(&key), bytes, "a key of {}", table.name);
    true
}

/// An older version is brought up to date when it is read, so what is written need not be what was read; from then on it
/// stays.
fn record<K: Key, V: Record>(table: &Table<K, V>, bytes: &Bytes) -> bool {
    let Some(record) = V::decode(bytes) else { return false };
    let written = record.encode();
    let again = V::decode(&written).unwrap_or_else(|| panic!("{} does not read {written:02x?}", table.name));
    assert_eq!(again.encode(), written, "a value of {}", table.name);
    true
}

/// A key: the first byte says of which table.
fn exercise_key(bytes: &[u8]) -> bool {
    let Some(first) = bytes.first() else { return false };
    TARGETS.iter().any(|target| target.number == *first && (target.key)(bytes))
}

/// The number of a table, or any other byte, and a value.
fn exercise_record(bytes: &[u8]) -> bool {
    let Some((first, value)) = bytes.split_first() else { return false };
    let named = TARGETS.iter().find(|target| target.number == *first);
    let target = named.unwrap_or(&TARGETS[usize::from(*first) % TARGETS.len()]);
    (target.record)(&Bytes::copy_from_slice(value))
}

#[test]
fn key_from_bytes() {
    check!(name = "key_from_bytes").with_iterations(bounds().0).with_test_time(bounds().1).for_each(
        |bytes: &[u8]| {
            exercise_key(bytes);
        },
    );
}

#[test]
fn record_from_bytes() {
    check!(name = "record_from_bytes").with_iterations(bounds().0).with_test_time(bounds().1).for_each(
        |bytes: &[u8]| {
            exercise_record(bytes);
        },
    );
}

/// How many files of a target's corpus are good, and how many bad. Their names say which.
fn corpus(target: &str, exercise: fn(&[u8]) -> bool) -> (usize, usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("__fuzz__").join(target).join("corpus");
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let is_good = exercise(&std::fs::read(&file).unwrap());
        let name = file.file_name().unwrap().to_string_lossy();
        assert_eq!(is_good, !name.contains(".bad"), "{target}: {name}");
        *(if is_good { &mut good } else { &mut bad }) += 1;
    }
    (good, bad)
}

#[test]
fn the_corpus_has_good_and_bad_keys_and_records() {
    for (target, exercise) in
        [("key_from_bytes", exercise_key as fn(&[u8]) -> bool), ("record_from_bytes", exercise_record)]
    {
        let (good, bad) = corpus(target, exercise);
        assert!(good >= 20 && bad >= 20, "{target}: {good} good, {bad} bad");
    }
}

#[test]
fn every_table_is_a_target() {
    let declared = include_str!("keyspace.rs").matches("Table::new(0x").count();
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!((TARGETS.len(), names.len()), (declared, declared));
}
