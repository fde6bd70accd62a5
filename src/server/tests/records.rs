//! The bytes of what is stored: those of existing databases. A change here brings a new version that reads the old one.
//!
//! Records of accounts, keys, media and push have their tests beside them.

use std::{
    collections::BTreeSet,
    fmt::{Debug, Write},
    fs,
    path::Path,
};

use bytes::Bytes;
use depesche_rules::tree::{Child, Node};
use depesche_store::Position;
use ruma::{
    OwnedEventId, RoomVersionId, events::room::member::MembershipState, owned_event_id, owned_room_id,
    owned_server_name, owned_user_id,
};

use crate::{
    codec::Key,
    keyspace::{
        ALIAS, ANNOTATION, BLOB, COUNTED_THREAD, EVENT, EVENT_NO, FILE, FILE_OF, FOLLOWED, HEAD, IDENTITY, INDEXED,
        KEY, KEY_NO, LOOSE_BLOB, MARK, MEMBER, META, NAMED, NODE, PENDING, POSTING, PRESENCE, PREVIEW_PICTURE, RECEIPT,
        RECEIPT_LOG, RELATED, RELATION, REPLACEMENT, ROOM, ROOM_NO, ROOT_AT, ROOT_BEFORE, TALLY, THREAD, THUMBNAIL,
        TIMELINE, TRANSACTION, TYPED, TYPING, UNCOUNTED, UNREAD, USAGE,
    },
    records::{
        events::{Facts, Meta, Place, SentWith, Status},
        reading::{Mark, Named, Receipt, Tally, Uncounted},
        relations::{List, Listed, Related},
        rooms::{Alias, BeforeThreads, Head, Membership, Room, RootRecord, StateKey, Unread},
        search::{Followed, Indexed, Part, Posting},
        server::{Due, Identity, MigrationState},
    },
    table::{Record, Table},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn check<R: Record + Debug + PartialEq>(record: &R, expected: &str) {
    let bytes = record.encode();
    assert_eq!(hex(&bytes), expected, "{record:?}");
    assert_eq!(R::decode(&bytes).as_ref(), Some(record));
}

/// As [`check`], for what begins with a version and ends where it says.
fn check_versioned<R: Record + Debug + PartialEq>(record: &R, expected: &str) {
    check(record, expected);
    let bytes = record.encode();
    assert_eq!(R::decode(&[&bytes[..], &[0]].concat().into()), None, "trailing bytes");
    assert_eq!(R::decode(&[&[9], &bytes[1..]].concat().into()), None, "another version");
    for end in 0..bytes.len() {
        assert_eq!(R::decode(&bytes.slice(..end)), None, "cut at {end}");
    }
}

fn check_key<K: Key + Debug + PartialEq, V: Record>(table: &Table<K, V>, key: &K, expected: &str) {
    let bytes = table.key(key);
    assert_eq!(hex(&bytes), expected, "{}", table.name);
    assert_eq!(table.parse(&bytes).as_ref(), Some(key));
}

#[test]
fn rooms() {
    let room = Room { room_id: owned_room_id!("!r:b"), version: RoomVersionId::V12 };
    check_versioned(&room, "010421723a62023132");
    let root = RootRecord { node: 5, height: 2 };
    check_versioned(&root, "010502");
    let head = Head {
        next_event: 1,
        next_key: 2,
        next_node: 3,
        root,
        extremities: vec![6, 300],
        depth: 7,
        ordinal: 8,
        main: Tally { loud: 9, room: 10 },
        threaded: 11,
        before_threads: BeforeThreads { ordinal: 12, room_named: 13 },
        joined: 14,
        invited: 15,
        uncounted: 16,
    };
    check_versioned(&head, "0301020305020206ac020708090a0b0c0d0e0f10");
    check_versioned(&StateKey { kind: "k".into(), state_key: "s".into() }, "01016b0173");
    check_versioned(&Unread { ordinal: 300 }, "01ac02");
    let alias = Alias { room_id: owned_room_id!("!r:b"), creator: owned_user_id!("@a:b") };
    check_versioned(&alias, "010421723a620440613a62");
}

#[test]
fn a_head_from_before_threads_counts_in_the_main_timeline() {
    let bytes: Vec<u8> = [&[1, 1, 2, 3, 5, 2, 2, 6, 0xAC, 2, 7][..], &[8, 5, 10, 11][..]].concat();
    let head = Head::decode(&bytes.clone().into()).expect("the first version is read");
    assert_eq!((head.ordinal, head.main, head.threaded), (8, Tally { loud: 8, room: 1 }, 0));
    assert_eq!((head.depth, head.joined, head.invited, head.extremities), (7, 10, 11, vec![6, 300]));
    let before = head.before_threads;
    assert_eq!([4, 5, 9].map(|at| before.tally(at)), [(4, 0), (5, 1), (8, 1)].map(|(loud, room)| Tally { loud, room }));
    assert_eq!(Head::decode(&bytes[..bytes.len() - 1].to_vec().into()), None);
}

#[test]
fn a_head_from_before_anything_was_uncounted() {
    let bytes = Bytes::from_static(&[2, 1, 2, 3, 5, 2, 2, 6, 0xAC, 2, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    let head = Head::decode(&bytes).expect("the second version is read");
    assert_eq!((head.next_event, head.before_threads.room_named, head.invited, head.uncounted), (1, 13, 15, 0));
    assert_eq!(Head::decode(&bytes.slice(..bytes.len() - 1)), None);
}

#[test]
fn what_was_read() {
    let tally = Tally { loud: 300, room: 2 };
    check_versioned(&tally, "01ac0202");
    check_versioned(&Mark { event: 5, ordinal: 4, tally }, "010504ac0202");
    check_versioned(&Uncounted { thread: "$r".into(), tally }, "01022472ac0202");
    let named = Named { thread: "$r".into(), silent: true, room: false };
    check(&named, "020224720100");
    for wrong in [&b"\x02\x02$r\x01"[..], b"\x02\x02$r\x01\x00\x00", b"\x09\x02$r\x01\x00"] {
        assert_eq!(Named::decode(&Bytes::from_static(wrong)), None);
    }
    assert_eq!(Named::decode(&Bytes::new()), Some(Named::default()), "the first version had no value");
    let place = Place { anchor: Position(0x0304), sub: 5, back: -1 };
    let receipt = Receipt { position: Position(0x0102), place, ts_ms: 6, event_id: owned_event_id!("$e") };
    check(&receipt, "01000000000000010200000000000003040005ffffffff00000000000000062465");
    assert!(receipt.encode()[Receipt::POSITION.offset..].starts_with(&0x0102_u64.to_be_bytes()));
    for wrong in [&b""[..], &receipt.encode()[..30], &[&[2], &receipt.encode()[1..]].concat()] {
        assert_eq!(Receipt::decode(&Bytes::copy_from_slice(wrong)), None);
    }
}

#[test]
fn memberships() {
    let states = [
        (MembershipState::Leave, "00"),
        (MembershipState::Join, "01"),
        (MembershipState::Invite, "02"),
        (MembershipState::Knock, "03"),
        (MembershipState::Ban, "04"),
    ];
    for (state, byte) in states {
        let member = Membership { position: 0x0102, state, event: 7, forgotten: true, was_joined: false };
        check_versioned(&member, &format!("010000000000000102{byte}010000000007"));
        let stamped = &member.encode()[Membership::POSITION..];
        assert!(stamped.starts_with(&0x0102_u64.to_be_bytes()));
    }
}

#[test]
fn events() {
    let sent_with = SentWith { device: "D".into(), transaction: "t".into() };
    let facts = Facts {
        event_id: owned_event_id!("$e"),
        status: Status::Accepted,
        auth: vec![1, 2],
        prev: vec![3],
        key: Some(4),
        ordinal: 5,
        redacted_by: Some(6),
        sent_with: Some(sent_with),
        has_children: true,
    };
    let place = Place { anchor: Position(0x0102), sub: 3, back: -1 };
    let meta = Meta { place, facts: facts.clone() };
    let fixed = "0200000000000001020003ffffffff";
    check_versioned(&meta, &format!("{fixed}020224650002010201030104050106010144017401"));
    let bytes = meta.encode();
    let first_version: Bytes = [&[1], &bytes[1..15], &[1], &bytes[16..bytes.len() - 1]].concat().into();
    assert_eq!(Meta::decode(&first_version), Some(meta.clone()), "it may have children");
    let stamped = &meta.encode()[Meta::ANCHOR..];
    assert!(stamped.starts_with(&0x0102_u64.to_be_bytes()));
    let others =
        [Status::Accepted, Status::SoftFailed, Status::RejectedByAuth, Status::RejectedByState, Status::Outlier];
    for (number, status) in others.into_iter().enumerate() {
        let bare = Facts { auth: vec![], prev: vec![], key: None, redacted_by: None, sent_with: None, ..facts.clone() };
        let meta = Meta { place, facts: Facts { status, has_children: false, ..bare } };
        check_versioned(&meta, &format!("{fixed}020224650{number}00000005000000"));
    }
}

#[test]
fn the_tree() {
    let mut events = [None; 16];
    (events[0], events[15]) = (Some(1), Some(258));
    assert_eq!(hex(&Node::Leaf(events).encode()), "0180010000000100000102");
    let mut children = [None; 16];
    children[1] = Some(Child { node: 3, high: 9 });
    assert_eq!(hex(&Node::Inner(children).encode()), "0200020000000300000009");
}

#[test]
fn the_rest() {
    check_versioned(&Identity { schema: 1, name: owned_server_name!("a.test") }, "010106612e74657374");
    check_versioned(&(300_u64, 7_u32), "01ac0207");
    check(&owned_event_id!("$e"), "2465");
    check(&(), "");
    check(&"text".to_owned(), "74657874");
    check(&Bytes::from_static(b"\0\xFF"), "00ff");
    check(&1_u32, "00000001");
    check(&1_u64, "0000000000000001");
    assert_eq!((u32::decode(&Bytes::new()), OwnedEventId::decode(&Bytes::from_static(b"e"))), (None, None));
}

#[test]
fn keys_of_rooms() {
    let user = || owned_user_id!("@a:b");
    check_key(&IDENTITY, &(0,), "0100");
    check_key(&ROOM_NO, &(owned_room_id!("!r:b"),), "3021723a620001");
    check_key(&ROOM, &(1,), "310000000000000001");
    check_key(&HEAD, &(1,), "320000000000000001");
    check_key(&EVENT, &(1, 2), "33000000000000000100000002");
    check_key(&META, &(1, 2), "34000000000000000100000002");
    check_key(&EVENT_NO, &(owned_event_id!("$e"),), "3524650001");
    check_key(&KEY_NO, &(1, "k".into(), "\0s".into()), "3600000000000000016b000100ff730001");
    check_key(&KEY, &(1, 2), "37000000000000000100000002");
    check_key(&NODE, &(1, 2), "38000000000000000100000002");
    check_key(&ROOT_BEFORE, &(1, 2), "39000000000000000100000002");
    check_key(&ROOT_AT, &(1, Position(2)), "3a00000000000000010000000000000002");
    check_key(&TIMELINE, &(1, Position(2), 3, -1), "3b0000000000000001000000000000000200037fffffff");
    check_key(&MEMBER, &(user(), 1), "3c40613a6200010000000000000001");
    let transaction = (user(), "D".into(), "s".into(), "t".into());
    check_key(&TRANSACTION, &transaction, "3d40613a620001440001730001740001");
    check_key(&ALIAS, &("#a:b".try_into().unwrap(),), "3e23613a620001");
    check_key(&UNREAD, &(user(), 1), "4040613a6200010000000000000001");
    check_key(&NAMED, &(user(), 1, 2), "4140613a620001000000000000000100000002");
    check_key(&RECEIPT, &(1, user(), 0, "m".into()), "48000000000000000140613a620001006d0001");
    let logged = ("1".into(), Position(2), 1, user(), "m".into());
    check_key(
        &RECEIPT_LOG,
        &logged,
        "4931000100000000000000020000000000000001\
        40613a6200016d0001",
    );
    check_key(&TALLY, &(1, "$r".into(), 2), "4a00000000000000012472000100000002");
    check_key(&COUNTED_THREAD, &(1, 2), "4b000000000000000100000002");
    check_key(&UNCOUNTED, &(1, 2), "4f000000000000000100000002");
    check_key(&MARK, &(user(), 1, 3, "$r".into()), "4c40613a62000100000000000000010324720001");
    check_key(&TYPED, &(1,), "4d0000000000000001");
    check_key(&TYPING, &(1, "@a:b".into()), "f0000000000000000140613a620001");
    check_key(&PRESENCE, &(1, Position(2), user()), "f10000000000000001000000000000000240613a620001");
    check_key(&ANNOTATION, &(1, "e".into(), [7; 32]), &format!("430000000000000001650001{}", "07".repeat(32)));
}

#[test]
fn what_is_searched() {
    let posting = Posting::of(&[300, 301, 400]);
    assert_eq!(posting.events(), [300, 301, 400]);
    check_versioned(&posting, "0103ac020163");
    check_versioned(&Indexed { below: 300, next: 400 }, "01ac029003");
    check_versioned(&Followed { position: 300, walk: None }, "01ac0200");
    check_versioned(&Followed { position: 300, walk: Some(7) }, "01ac020107");
    for (part, byte) in [(Part::Body, "00"), (Part::Name, "01"), (Part::Topic, "02")] {
        let key = format!("900000000000000001{byte}77000100000002");
        check_key(&POSTING, &(1, part, "w".into(), 2), &key);
    }
    check_key(&INDEXED, &(1,), "910000000000000001");
    check_key(&FOLLOWED, &(0,), "9200");
}

#[test]
fn keys_of_media() {
    let user = || owned_user_id!("@a:b");
    check_key(&FILE, &(owned_server_name!("b"), "m".into()), "706200016d0001");
    check_key(&BLOB, &([7; 32],), &format!("71{}", "07".repeat(32)));
    let sizes = "000000010000000200";
    check_key(&THUMBNAIL, &([7; 32], 1, 2, 0, 1), &format!("72{}{sizes}01", "07".repeat(32)));
    check_key(&FILE_OF, &(user(), 1, "m".into()), "7340613a62000100000000000000016d0001");
    check_key(&USAGE, &(user(),), "7440613a620001");
    check_key(&PENDING, &(user(), 1, "m".into()), "7540613a62000100000000000000016d0001");
    check_key(&LOOSE_BLOB, &([7; 32],), &format!("76{}", "07".repeat(32)));
    check_key(&PREVIEW_PICTURE, &(1, "m".into()), "7700000000000000016d0001");
}

#[test]
fn relations() {
    check_versioned(&Listed { no: 300, via: vec![7, 8] }, "01ac02020708");
    check_versioned(&Related { replacing: 1, referring: 2, in_thread: 300 }, "010102ac02");
    let (parent, place) = (|| owned_event_id!("$e"), Place { anchor: Position(2), sub: 3, back: -1 });
    for (list, bytes) in [(List::Direct, "00"), (List::Indirect, "01"), (List::Of("t".into()), "02740001")] {
        let key = (1, parent(), list, place);
        check_key(&RELATION, &key, &format!("44000000000000000124650001{bytes}000000000000000200037fffffff"));
    }
    let replacement = (1, parent(), owned_user_id!("@a:b"), 9, owned_event_id!("$f"));
    let expected = "4500000000000000012465000140613a620001000000000000000924660001";
    check_key(&REPLACEMENT, &replacement, expected);
    check_key(&RELATED, &(1, parent(), "u".into()), "46000000000000000124650001750001");
    check_key(&THREAD, &(1, place), "470000000000000001000000000000000200037fffffff");
}

/// The numbers of tables that existing databases have. A table that goes keeps its line, so that none takes its number.
const NUMBERS: &[(u8, &str)] = &[
    (0x01, "identity"),
    (0x02, "counter"),
    (0x03, "due"),
    (0x08, "migration"),
    (0x09, "restored"),
    (0x04, "report"),
    (0x05, "report_open"),
    (0x06, "report_of"),
    (0x07, "report_count"),
    (0x10, "account"),
    (0x11, "password"),
    (0x12, "access_token"),
    (0x13, "refresh_token"),
    (0x14, "session"),
    (0x15, "login_token"),
    (0x16, "login_token_due"),
    (0x17, "registration_token"),
    (0x18, "consent"),
    (0x19, "deactivation"),
    (0x1A, "device"),
    (0x1B, "device_seen"),
    (0x1C, "profile"),
    (0x1D, "filter"),
    (0x1E, "filter_no"),
    (0x1F, "account_data"),
    (0x20, "account_data_log"),
    (0x21, "account_data_count"),
    (0x22, "device_list"),
    (0x27, "profile_spread"),
    (0x28, "user_term"),
    (0x29, "user_terms"),
    (0x2A, "built"),
    (0x2B, "there"),
    (0x2C, "pusher"),
    (0x2D, "pusher_owner"),
    (0x2E, "pusher_count"),
    (0x2F, "account_data_bytes"),
    (0x23, "openid_token"),
    (0x24, "openid_token_due"),
    (0x30, "room_no"),
    (0x31, "room"),
    (0x32, "head"),
    (0x33, "event"),
    (0x34, "meta"),
    (0x35, "event_no"),
    (0x36, "key_no"),
    (0x37, "key"),
    (0x38, "node"),
    (0x39, "root_before"),
    (0x3A, "root_at"),
    (0x3B, "timeline"),
    (0x3C, "member"),
    (0x3D, "transaction"),
    (0x3E, "alias"),
    (0x3F, "room_alias"),
    (0x40, "unread"),
    (0x41, "named"),
    (0x42, "published"),
    (0x43, "annotation"),
    (0x44, "relation"),
    (0x45, "replacement"),
    (0x46, "related"),
    (0x47, "thread"),
    (0x48, "receipt"),
    (0x49, "receipt_log"),
    (0x4A, "tally"),
    (0x4B, "counted_thread"),
    (0x4C, "mark"),
    (0x4D, "typed"),
    (0x4E, "open_room"),
    (0x4F, "uncounted"),
    (0x50, "device_keys"),
    (0x51, "one_time_key"),
    (0x52, "one_time_id"),
    (0x53, "fallback_key"),
    (0x54, "stock"),
    (0x55, "cross_signing_key"),
    (0x56, "own_signature"),
    (0x57, "user_signature"),
    (0x58, "key_head"),
    (0x59, "key_log"),
    (0x5A, "signed_head"),
    (0x5B, "signed_log"),
    (0x60, "to_device"),
    (0x61, "to_device_txn"),
    (0x62, "to_device_txn_age"),
    (0x64, "backup_head"),
    (0x65, "backup"),
    (0x66, "backup_key"),
    (0x70, "file"),
    (0x71, "blob"),
    (0x72, "thumbnail"),
    (0x73, "file_of"),
    (0x74, "usage"),
    (0x75, "pending"),
    (0x76, "loose_blob"),
    (0x77, "preview_picture"),
    (0x80, "push_outbox"),
    (0x81, "push_queue"),
    (0x82, "push_delivery"),
    (0x83, "badge_due"),
    (0x90, "posting"),
    (0x91, "indexed"),
    (0x92, "followed"),
    (0xF0, "typing"),
    (0xF1, "presence"),
];

fn source(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn the_server_itself() {
    check_versioned(&Due { key: vec![0x3D, 1], value: [1, 2, 3, 4, 5, 6, 7, 8] }, "01023d010102030405060708");
    check_versioned(&MigrationState { to: 2, after: vec![0x1C], rows: 300 }, "0102011cac02");
}

#[test]
fn a_table_keeps_its_number_and_none_has_it_besides() {
    let keyspace = source("keyspace.rs");
    let tables: Vec<(u8, &str)> = keyspace
        .split("Table::new(0x")
        .skip(1)
        .map(|text| {
            let (number, rest) = text.split_once(", \"").unwrap();
            (u8::from_str_radix(number, 16).unwrap(), rest.split_once('"').unwrap().0)
        })
        .collect();
    for (number, name) in &tables {
        let same = |known: &&(u8, &str)| known.0 == *number || known.1 == *name;
        for known in NUMBERS.iter().filter(same) {
            assert_eq!(known, &(*number, *name), "another table has, or had, this number or name");
        }
    }
    let unlisted: Vec<_> = tables.iter().filter(|table| !NUMBERS.contains(table)).collect();
    assert!(unlisted.is_empty(), "new tables take their place in NUMBERS: {unlisted:?}");
    let numbers: BTreeSet<_> = tables.iter().map(|(number, _)| number).collect();
    assert_eq!(numbers.len(), tables.len());
}

#[test]
fn every_record_has_a_test_of_its_bytes() {
    let files = ["accounts", "events", "keys", "media", "push", "reading", "relations", "reports", "rooms", "server"]
        .map(|name| source(&format!("records/{name}.rs")));
    let beside = files.iter().map(|text| text.split_once("mod tests {").map_or("", |(_, tests)| tests));
    let tests = [beside.collect::<String>(), source("tests/records.rs")].concat();
    let words: BTreeSet<_> = tests.split(|c: char| !c.is_alphanumeric()).collect();
    let mut found = 0;
    for text in &files {
        let named = text.split("\nrecord!(").skip(1).chain(text.split("\nimpl Record for ").skip(1));
        for name in named.map(|text| text.split([',', ' ']).next().unwrap()).filter(|name| !name.starts_with('(')) {
            let name = name.rsplit("::").next().unwrap();
            assert!(words.contains(name), "{name} has no test of its bytes");
            found += 1;
        }
    }
    assert!(found > 25, "the records are not where they were");
}
