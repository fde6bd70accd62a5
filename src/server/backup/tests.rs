use std::{collections::BTreeMap, sync::Arc};

use depesche_rules::bounds::{
    MAX_BACKUP_BYTES, MAX_BACKUP_SESSIONS, MAX_BACKUP_SESSIONS_PER_REQUEST, MAX_BACKUP_VERSIONS, MAX_KEY_NAME_BYTES,
    MAX_KEY_OBJECT_BYTES, MAX_ROOM_ID_BYTES,
};
use depesche_store::faults::Fault as EngineFault;
use ruma::{OwnedRoomId, api::client::backup::RoomKeyBackup, room_id, serde::Raw};
use serde_json::{Value, json};

use super::{BackupError, Backups, KeysChanged, Selection};
use crate::{
    keys::tests::{Home, alice, bob},
    keyspace::{BACKUP, BACKUP_HEAD},
    records::keys::{Backup, BackupHead},
};

fn described(algorithm: &str, auth_data: &Value) -> Raw<ruma::api::client::backup::BackupAlgorithm> {
    Raw::new(&json!({ "algorithm": algorithm, "auth_data": auth_data })).unwrap().cast_unchecked()
}

fn key(first: u64, forwarded: u64, verified: bool) -> Value {
    json!({
        "first_message_index": first,
        "forwarded_count": forwarded,
        "is_verified": verified,
        "session_data": { "x": "unknown fields stay" },
    })
}

fn rooms(keys: &[(&str, &str, Value)]) -> BTreeMap<OwnedRoomId, RoomKeyBackup> {
    let mut rooms = BTreeMap::<OwnedRoomId, RoomKeyBackup>::new();
    for (room, session, key) in keys {
        let room = rooms.entry((*room).try_into().unwrap()).or_insert_with(|| RoomKeyBackup::new(BTreeMap::new()));
        room.sessions.insert((*session).to_owned(), Raw::new(key).unwrap().cast_unchecked());
    }
    rooms
}

async fn home() -> (Home, Backups, String) {
    let home = Home::new();
    let backups = Backups::new(Arc::clone(&home.base));
    let version = backups.create(&alice(), &described("m.test", &json!({ "k": 1 }))).await.unwrap();
    (home, backups, version)
}

impl Backups {
    async fn put(&self, version: &str, keys: &[(&str, &str, Value)]) -> Result<KeysChanged, BackupError> {
        self.put_keys(&alice(), version, &rooms(keys)).await
    }

    /// The sessions of a selection.
    async fn found(&self, version: &str, selection: Selection<'_>) -> Vec<String> {
        let (mut pages, mut found) = (self.keys(&alice(), version, selection).await.unwrap(), Vec::new());
        while let Some(page) = pages.next().await.unwrap() {
            found.extend(page.into_iter().map(|key| key.session));
        }
        found
    }
}

#[tokio::test]
async fn versions_come_and_go() {
    let (_home, backups, first) = home().await;
    let info = backups.latest(&alice()).await.unwrap();
    assert_eq!(
        (info.version.as_str(), info.algorithm.json().get()),
        (&*first, described("m.test", &json!({ "k": 1 })).json().get())
    );
    let second = backups.create(&alice(), &described("m.test", &json!({}))).await.unwrap();
    assert_eq!(backups.latest(&alice()).await.unwrap().version, second);
    assert_eq!(backups.info(&alice(), &first).await.unwrap().version, first);
    backups.delete(&alice(), &second).await.unwrap();
    backups.delete(&alice(), &second).await.unwrap();
    assert_eq!(backups.latest(&alice()).await.unwrap().version, first, "the one before is current again");
    let third = backups.create(&alice(), &described("m.test", &json!({}))).await.unwrap();
    assert_ne!(third, second, "names are not used again");
    for unknown in ["0", "01", "+1", "9", "x", ""] {
        assert!(matches!(backups.info(&alice(), unknown).await, Err(BackupError::NoBackup)));
        assert!(matches!(backups.delete(&alice(), unknown).await, Err(BackupError::NoBackup)));
    }
    assert!(matches!(backups.latest(&bob()).await, Err(BackupError::NoBackup)));
    assert!(matches!(backups.info(&bob(), &first).await, Err(BackupError::NoBackup)));
}

#[tokio::test]
async fn only_auth_data_can_be_changed() {
    let (_home, backups, version) = home().await;
    let new = described("m.test", &json!({ "k": 2 }));
    backups.update(&alice(), &version, &new).await.unwrap();
    assert_eq!(backups.latest(&alice()).await.unwrap().algorithm.json().get(), new.json().get());
    let other = described("m.other", &json!({}));
    assert!(matches!(backups.update(&alice(), &version, &other).await, Err(BackupError::Mismatch("algorithm"))));
    let named = json!({ "algorithm": "m.test", "auth_data": {}, "version": "7" });
    let named = Raw::new(&named).unwrap().cast_unchecked();
    assert!(matches!(backups.update(&alice(), &version, &named).await, Err(BackupError::Mismatch("version"))));
    assert!(matches!(backups.update(&alice(), "7", &named).await, Err(BackupError::NoBackup)));
    let malformed = described("m.test", &json!([]));
    assert!(matches!(backups.create(&alice(), &malformed).await, Err(BackupError::Malformed(_))));
}

#[tokio::test]
async fn the_better_key_stays() {
    // In this order each is better than those before it.
    let keys =
        [key(5, 5, false), key(5, 4, false), key(4, 9, false), key(9, 9, true), key(9, 8, true), key(0, 9, true)];
    for (low, worse) in keys.iter().enumerate() {
        for (high, better) in keys.iter().enumerate() {
            let (_home, backups, version) = home().await;
            let before = backups.put(&version, &[("!r:a", "s", worse.clone())]).await.unwrap();
            let after = backups.put(&version, &[("!r:a", "s", better.clone())]).await.unwrap();
            let stays = if high > low { better } else { worse };
            let stored = backups.key(&alice(), &version, room_id!("!r:a"), "s").await.unwrap();
            assert_eq!(&serde_json::from_str::<Value>(stored.json().get()).unwrap(), stays);
            assert_eq!(before.etag == after.etag, high <= low, "the etag changes when a key does");
            assert_eq!(after.count, 1u32.into());
        }
    }
}

#[tokio::test]
async fn keys_are_read_and_deleted_at_three_levels() {
    let (_home, backups, version) = home().await;
    let keys = [("!r:a", "s", key(0, 0, true)), ("!r:a", "s1", key(0, 0, true)), ("!s:a", "s", key(0, 0, true))];
    let stored = backups.put(&version, &keys).await.unwrap();
    assert_eq!(stored.count, 3u32.into());
    let (room, session) = (room_id!("!r:a"), "s");
    assert_eq!(backups.found(&version, Selection::All).await, ["s", "s1", "s"]);
    assert_eq!(backups.found(&version, Selection::Room(room)).await, ["s", "s1"]);
    assert_eq!(backups.found(&version, Selection::Session(room, session)).await, ["s"]);
    assert!(matches!(backups.key(&alice(), &version, room, "none").await, Err(BackupError::NoKey)));
    assert!(matches!(backups.key(&alice(), "9", room, session).await, Err(BackupError::NoBackup)));

    let gone = backups.delete_keys(&alice(), &version, Selection::Session(room, session)).await.unwrap();
    assert_eq!(gone.count, 2u32.into());
    assert_ne!(gone.etag, stored.etag);
    let again = backups.delete_keys(&alice(), &version, Selection::Session(room, session)).await.unwrap();
    assert_eq!(again, gone);
    let gone = backups.delete_keys(&alice(), &version, Selection::Room(room)).await.unwrap();
    assert_eq!(gone.count, 1u32.into());
    let gone = backups.delete_keys(&alice(), &version, Selection::All).await.unwrap();
    assert_eq!(gone.count, 0u32.into());
    assert_eq!(backups.found(&version, Selection::All).await, [""; 0]);
    let info = backups.latest(&alice()).await.unwrap();
    assert_eq!((info.etag, info.count), (gone.etag, gone.count));
}

#[tokio::test]
async fn what_a_user_keeps_is_bounded() {
    let (home, backups, first) = home().await;
    let head = async || home.base.view().get(&BACKUP_HEAD, &(alice(),)).await.unwrap().unwrap();
    let text = |first| key(first, 0, true).to_string().len() as u64;
    backups.put(&first, &[("!r:a", "s", key(1000, 0, true)), ("!r:a", "t", key(1, 0, true))]).await.unwrap();
    assert_eq!(head().await.bytes, text(1000) + text(1));
    backups.put(&first, &[("!r:a", "s", key(10, 0, true))]).await.unwrap();
    assert_eq!(head().await.bytes, text(10) + text(1), "the better key is the shorter one");
    let second = backups.create(&alice(), &described("m.test", &json!({}))).await.unwrap();
    backups.put(&second, &[("!r:a", "s", key(1, 0, true))]).await.unwrap();
    backups.delete_keys(&alice(), &first, Selection::Session(room_id!("!r:a"), "s")).await.unwrap();
    assert_eq!(head().await.bytes, 2 * text(1));
    backups.delete(&alice(), &first).await.unwrap();
    assert_eq!(head().await.bytes, text(1));

    let full = BackupHead { bytes: MAX_BACKUP_BYTES, ..head().await };
    home.write(|tx| tx.put(&BACKUP_HEAD, &(alice(),), &full)).await;
    let refused = backups.put(&second, &[("!r:a", "t", key(1, 0, true))]).await;
    assert!(matches!(refused, Err(BackupError::Full)));
    backups.put(&second, &[("!r:a", "s", key(0, 0, true))]).await.unwrap();
    for _ in 1..MAX_BACKUP_VERSIONS {
        backups.create(&alice(), &described("m.test", &json!({}))).await.unwrap();
    }
    let refused = backups.create(&alice(), &described("m.test", &json!({}))).await;
    assert!(matches!(refused, Err(BackupError::Full)));
    backups.delete(&alice(), &second).await.unwrap();
    backups.create(&alice(), &described("m.test", &json!({}))).await.unwrap();
}

#[tokio::test]
async fn a_version_and_a_request_have_so_many_sessions_and_no_more() {
    let (home, backups, version) = home().await;
    let row = (alice(), version.parse().unwrap());
    let backup = home.base.view().get(&BACKUP, &row).await.unwrap().unwrap();
    let nearly_full = Backup { count: MAX_BACKUP_SESSIONS - 1, ..backup };
    home.write(|tx| tx.put(&BACKUP, &row, &nearly_full)).await;
    let last = backups.put(&version, &[("!r:a", "s", key(1, 0, true))]).await.unwrap();
    assert_eq!(u64::from(last.count), MAX_BACKUP_SESSIONS);
    let refused = backups.put(&version, &[("!r:a", "t", key(1, 0, true))]).await;
    assert!(matches!(refused, Err(BackupError::Full)));
    // A better key of a session takes no place.
    backups.put(&version, &[("!r:a", "s", key(0, 0, true))]).await.unwrap();

    let second = backups.create(&alice(), &described("m.test", &json!({}))).await.unwrap();
    let sessions: Vec<String> = (0..=MAX_BACKUP_SESSIONS_PER_REQUEST).map(|no| format!("s{no}")).collect();
    let keys: Vec<_> = sessions.iter().map(|session| ("!r:a", session.as_str(), key(0, 0, true))).collect();
    // In two rooms: what counts is the sum.
    let two = |keys: &[(_, _, Value)]| -> Vec<_> {
        let room = |no| if no % 2 == 0 { "!r:a" } else { "!s:a" };
        keys.iter().enumerate().map(|(no, (_, session, key))| (room(no), *session, key.clone())).collect()
    };
    let refused = backups.put(&second, &two(&keys)).await;
    assert!(matches!(refused, Err(BackupError::TooLarge("the request"))));
    let stored = backups.put(&second, &two(&keys[1..])).await.unwrap();
    assert_eq!(u64::from(stored.count), MAX_BACKUP_SESSIONS_PER_REQUEST as u64);
}

#[tokio::test]
async fn a_key_and_its_names_fit_into_a_row() {
    let (_home, backups, version) = home().await;
    let fits = async |room: &str, session: &str, key: Value| match backups.put(&version, &[(room, session, key)]).await
    {
        Ok(_) => true,
        Err(BackupError::TooLarge("a key")) => false,
        Err(why) => panic!("{why}"),
    };
    for (length, expected) in [(MAX_KEY_NAME_BYTES, true), (MAX_KEY_NAME_BYTES + 1, false)] {
        assert_eq!(fits("!r:a", &"x".repeat(length), key(0, 0, true)).await, expected);
    }
    let frame = key(0, 0, true).to_string().len() - "unknown fields stay".len();
    for (length, expected) in [(MAX_KEY_OBJECT_BYTES, true), (MAX_KEY_OBJECT_BYTES + 1, false)] {
        let mut long = key(0, 0, true);
        long["session_data"]["x"] = "x".repeat(length - frame).into();
        assert_eq!(fits("!r:a", "s", long).await, expected);
    }
    for (length, expected) in [(MAX_ROOM_ID_BYTES, true), (MAX_ROOM_ID_BYTES + 1, false)] {
        let room = format!("!{}:a", "x".repeat(length - "!:a".len()));
        assert_eq!(fits(&room, "s", key(0, 0, true)).await, expected);
    }
}

#[tokio::test]
async fn only_the_current_version_takes_keys() {
    let (_home, backups, first) = home().await;
    backups.put(&first, &[("!r:a", "s", key(0, 0, true))]).await.unwrap();
    let second = backups.create(&alice(), &described("m.test", &json!({}))).await.unwrap();
    let refused = backups.put(&first, &[]).await;
    assert!(matches!(refused, Err(BackupError::WrongVersion { current }) if current == second));
    assert!(matches!(backups.put("9", &[]).await, Err(BackupError::NoBackup)));
    assert_eq!(backups.found(&first, Selection::All).await, ["s"], "older ones can be read");
    backups.delete_keys(&alice(), &first, Selection::All).await.unwrap();
    backups.delete(&alice(), &second).await.unwrap();
    backups.put(&first, &[("!r:a", "s", key(0, 0, true))]).await.unwrap();
}

#[tokio::test]
async fn a_deleted_version_leaves_no_keys() {
    let (home, backups, version) = home().await;
    backups.put(&version, &[("!r:a", "s", key(0, 0, true))]).await.unwrap();
    backups.delete(&alice(), &version).await.unwrap();
    let rows = &crate::keyspace::BACKUP_KEY;
    assert!(home.base.view().scan(rows, rows.under(&()), 10).await.unwrap().is_empty());
    assert!(matches!(backups.put(&version, &[]).await, Err(BackupError::NoBackup)));
}

#[tokio::test]
async fn what_is_no_key_is_refused_with_all_of_the_request() {
    let (_home, backups, version) = home().await;
    let good = ("!r:a", "a", key(0, 0, true));
    for field in ["first_message_index", "forwarded_count", "is_verified", "session_data"] {
        for value in [json!(null), json!("x"), json!(-1)] {
            let mut wrong = key(0, 0, true);
            wrong[field] = value;
            let refused = backups.put(&version, &[good.clone(), ("!r:a", "b", wrong)]).await;
            assert!(matches!(refused, Err(BackupError::Malformed(_))), "{field}");
        }
    }
    let long = "x".repeat(256);
    let refused = backups.put(&version, &[good, ("!r:a", &long, key(0, 0, true))]).await;
    assert!(matches!(refused, Err(BackupError::TooLarge(_))));
    assert_eq!(backups.latest(&alice()).await.unwrap().count, 0u32.into());
}

#[tokio::test]
async fn a_large_upload_that_is_cut_off_is_whole_as_far_as_it_got() {
    let (home, backups, version) = home().await;
    let sessions: Vec<String> = (0..1500).map(|no| format!("s{no:04}")).collect();
    let keys: Vec<_> = sessions.iter().map(|session| ("!r:a", session.as_str(), key(0, 0, true))).collect();
    home.faults.next([EngineFault::None, EngineFault::None, EngineFault::Failed]);
    assert!(matches!(backups.put(&version, &keys).await, Err(BackupError::Fault(_))));
    let partial = backups.latest(&alice()).await.unwrap();
    assert_eq!(partial.count, 400u32.into());
    assert_eq!(backups.found(&version, Selection::All).await.len(), 400);
    let done = backups.put(&version, &keys).await.unwrap();
    assert_eq!(done.count, 1500u32.into());
    assert_ne!(done.etag, partial.etag);
    assert_eq!(backups.found(&version, Selection::Room(room_id!("!r:a"))).await, sessions);
    let gone = backups.delete_keys(&alice(), &version, Selection::Room(room_id!("!r:a"))).await.unwrap();
    assert_eq!(gone.count, 0u32.into());
}

#[tokio::test]
async fn two_uploads_at_once_both_count() {
    let (home, backups, version) = home().await;
    let other = Backups::new(Arc::clone(&home.base));
    let (first, second) = ([("!r:a", "a", key(0, 0, true))], [("!r:a", "b", key(0, 0, true))]);
    home.faults.hold();
    let release = async {
        home.faults.waiting(2).await;
        home.faults.release();
    };
    let (first, second, ()) = futures::join!(backups.put(&version, &first), other.put(&version, &second), release);
    assert_ne!(first.unwrap().etag, second.unwrap().etag);
    assert_eq!(backups.latest(&alice()).await.unwrap().count, 2u32.into());
}

#[tokio::test]
async fn futures_can_be_sent() {
    fn sent<T: Send>(future: T) {
        drop(future);
    }
    let (_home, backups, version) = home().await;
    let (alice, empty, raw) = (alice(), BTreeMap::new(), described("m.test", &json!({})));
    sent(backups.create(&alice, &raw));
    sent(backups.update(&alice, &version, &raw));
    sent(backups.delete(&alice, &version));
    sent(backups.latest(&alice));
    sent(backups.put_keys(&alice, &version, &empty));
    sent(backups.keys(&alice, &version, Selection::All));
    sent(backups.key(&alice, &version, room_id!("!r:a"), "s"));
    sent(backups.delete_keys(&alice, &version, Selection::All));
}
