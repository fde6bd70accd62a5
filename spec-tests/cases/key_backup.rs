//! Server-side key backups. Client-server API, "Server-side key backups".

use depesche_spec_tests::prelude::*;

const VERSIONS: &str = "/_matrix/client/v3/room_keys/version";
const VERSION: &str = "/_matrix/client/v3/room_keys/version/{version}";
const KEYS: &str = "/_matrix/client/v3/room_keys/keys";
const ROOM: &str = "/_matrix/client/v3/room_keys/keys/{roomId}";
const KEY: &str = "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}";

fn algorithm(key: &str) -> Value {
    json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": key } })
}

/// A session as a backup holds it. The lower index and the fewer forwards, the better.
fn session(index: u64, forwarded: u64, verified: bool, text: &str) -> Value {
    json!({
        "first_message_index": index, "forwarded_count": forwarded, "is_verified": verified,
        "session_data": { "ciphertext": text, "ephemeral": "e", "mac": "m" }
    })
}

async fn new_version(alice: &User) -> String {
    let answer = alice.post("/_matrix/client/v3/room_keys/version", &[]).json(algorithm("key")).await.ok();
    answer["version"].as_str().expect("a version").to_owned()
}

async fn put(alice: &User, version: &str, room: &str, id: &str, session: Value) -> Value {
    alice.put(KEY, &[room, id]).query(&[("version", version)]).json(session).await.ok()
}

#[tokio::test]
async fn without_a_backup_none_is_found() {
    let alice = shared().user("alice").await;
    alice.get("/_matrix/client/v3/room_keys/version", &[]).await.error(404, "M_NOT_FOUND");
    alice.get("/_matrix/client/v3/room_keys/version/{version}", &["1"]).await.error(404, "M_NOT_FOUND");
    alice.get(KEYS, &[]).query(&[("version", "1")]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_backup_has_a_version_with_count_and_etag() {
    let alice = shared().user("alice").await;
    let version = new_version(&alice).await;
    for info in [alice.get(VERSIONS, &[]).await.ok(), alice.get(VERSION, &[&version]).await.ok()] {
        assert_eq!((&info["version"], &info["count"]), (&json!(version), &json!(0)));
        assert_eq!(info["auth_data"], algorithm("key")["auth_data"]);
        assert_eq!(info["algorithm"], algorithm("key")["algorithm"]);
        assert!(info["etag"].is_string(), "{info}");
    }
}

#[tokio::test]
async fn a_newer_version_is_the_current_one() {
    let alice = shared().user("alice").await;
    let first = new_version(&alice).await;
    let second = new_version(&alice).await;
    assert_ne!(first, second);
    assert_eq!(alice.get(VERSIONS, &[]).await.ok()["version"], second);
    assert_eq!(alice.get(VERSION, &[&first]).await.ok()["version"], first);
    let request = alice.put(KEY, &["!r:x", "s"]).query(&[("version", &first)]);
    let answer = request.json(session(0, 0, true, "x")).await.error(403, "M_WRONG_ROOM_KEYS_VERSION");
    differs(
        "client-server-api#put_matrixclientv3room_keyskeysroomidsessionid",
        || assert_eq!(answer["current_version"], second),
        || assert_eq!(answer["current_version"], first),
    );
}

#[tokio::test]
async fn the_data_of_a_version_can_be_changed_but_not_its_algorithm() {
    let alice = shared().user("alice").await;
    let version = new_version(&alice).await;
    alice.put("/_matrix/client/v3/room_keys/version/{version}", &[&version]).json(algorithm("other")).await.ok();
    assert_eq!(alice.get(VERSION, &[&version]).await.ok()["auth_data"]["public_key"], "other");
    let mut changed = algorithm("key");
    changed["algorithm"] = json!("org.example.algorithm");
    alice.put(VERSION, &[&version]).json(changed).await.error(400, "M_INVALID_PARAM");
    let mut wrong = algorithm("key");
    wrong["version"] = json!("4711");
    alice.put(VERSION, &[&version]).json(wrong).await.error(400, "M_INVALID_PARAM");
    alice.put(VERSION, &["4711"]).json(algorithm("key")).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_deleted_version_is_gone() {
    let alice = shared().user("alice").await;
    let version = new_version(&alice).await;
    put(&alice, &version, "!r:x", "s", session(0, 0, true, "x")).await;
    alice.delete("/_matrix/client/v3/room_keys/version/{version}", &[&version]).await.ok();
    alice.get(VERSION, &[&version]).await.error(404, "M_NOT_FOUND");
    alice.get(KEYS, &[]).query(&[("version", &version)]).await.error(404, "M_NOT_FOUND");
    let next = new_version(&alice).await;
    assert_ne!(next, version, "a version is not given again");
}

#[tokio::test]
async fn one_session_is_kept_and_given() {
    let alice = shared().user("alice").await;
    let version = new_version(&alice).await;
    let request = alice.put("/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", &["!r:x", "s"]);
    let answer = request.query(&[("version", &version)]).json(session(1, 0, false, "x")).await.ok();
    assert_eq!(answer["count"], 1);
    let query = [("version", version.as_str())];
    let seen =
        alice.get("/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", &["!r:x", "s"]).query(&query).await.ok();
    assert_eq!(seen, session(1, 0, false, "x"));
    let info = alice.get(VERSION, &[&version]).await.ok();
    assert_eq!((&info["count"], &info["etag"]), (&json!(1), &answer["etag"]));
    alice.get(KEY, &["!r:x", "other"]).query(&query).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn sessions_are_kept_by_room_and_all_at_once() {
    let alice = shared().user("alice").await;
    let version = new_version(&alice).await;
    let query = [("version", version.as_str())];
    let room = json!({ "sessions": { "s1": session(0, 0, true, "1"), "s2": session(0, 0, true, "2") } });
    let answer =
        alice.put("/_matrix/client/v3/room_keys/keys/{roomId}", &["!a:x"]).query(&query).json(room.clone()).await.ok();
    assert_eq!(answer["count"], 2);
    let all = json!({ "rooms": { "!b:x": { "sessions": { "s3": session(0, 0, true, "3") } } } });
    let answer = alice.put("/_matrix/client/v3/room_keys/keys", &[]).query(&query).json(all).await.ok();
    assert_eq!(answer["count"], 3);
    let seen = alice.get("/_matrix/client/v3/room_keys/keys/{roomId}", &["!a:x"]).query(&query).await.ok();
    assert_eq!(seen, room);
    let seen = alice.get("/_matrix/client/v3/room_keys/keys", &[]).query(&query).await.ok();
    assert_eq!(seen["rooms"]["!a:x"], room);
    assert_eq!(seen["rooms"]["!b:x"]["sessions"]["s3"], session(0, 0, true, "3"));
    let empty = alice.get("/_matrix/client/v3/room_keys/keys/{roomId}", &["!c:x"]).query(&query).await.ok();
    assert_eq!(empty["sessions"], json!({}));
}

#[tokio::test]
async fn sessions_are_deleted_one_by_one_by_room_and_all_at_once() {
    let alice = shared().user("alice").await;
    let version = new_version(&alice).await;
    let query = [("version", version.as_str())];
    for (room, id) in [("!a:x", "1"), ("!a:x", "2"), ("!a:x", "3"), ("!b:x", "4"), ("!c:x", "5")] {
        put(&alice, &version, room, id, session(0, 0, true, id)).await;
    }
    let one = alice.delete("/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", &["!a:x", "1"]);
    let first = one.query(&query).await.ok();
    assert_eq!(first["count"], 4);
    let answer = alice.delete("/_matrix/client/v3/room_keys/keys/{roomId}", &["!a:x"]).query(&query).await.ok();
    assert_eq!(answer["count"], 2);
    assert_ne!(answer["etag"], first["etag"]);
    let answer = alice.delete("/_matrix/client/v3/room_keys/keys", &[]).query(&query).await.ok();
    assert_eq!(answer["count"], 0);
}

#[tokio::test]
async fn a_better_session_replaces_and_a_worse_does_not() {
    let alice = shared().user("alice").await;
    let version = new_version(&alice).await;
    let kept = async || {
        let seen = alice.get(KEY, &["!r:x", "s"]).query(&[("version", &version)]).await.ok();
        seen["session_data"]["ciphertext"].as_str().expect("a text").to_owned()
    };
    put(&alice, &version, "!r:x", "s", session(5, 5, false, "first")).await;
    for (worse_or_better, session, wanted) in [
        ("a higher index", session(6, 5, false, "a"), "first"),
        ("more forwards", session(5, 6, false, "b"), "first"),
        ("a lower index", session(4, 9, false, "c"), "c"),
        ("fewer forwards", session(4, 2, false, "d"), "d"),
        ("verified", session(9, 9, true, "e"), "e"),
    ] {
        put(&alice, &version, "!r:x", "s", session).await;
        assert_eq!(kept().await, wanted, "{worse_or_better}");
    }
    put(&alice, &version, "!r:x", "s", session(0, 0, false, "no longer verified")).await;
    let kept = kept().await;
    differs(
        "client-server-api#backup-algorithm-mmegolm_backupv1curve25519-aes-sha2",
        || assert_eq!(kept, "e"),
        || assert_eq!(kept, "no longer verified"),
    );
}

#[tokio::test]
async fn the_etag_changes_with_the_keys_only() {
    let alice = shared().user("alice").await;
    let version = new_version(&alice).await;
    let first = put(&alice, &version, "!r:x", "s", session(0, 0, true, "x")).await["etag"].clone();
    let same = put(&alice, &version, "!r:x", "s", session(0, 0, true, "x")).await["etag"].clone();
    assert_eq!(first, same);
    let other = put(&alice, &version, "!r:x", "t", session(0, 0, true, "x")).await["etag"].clone();
    assert_ne!(first, other);
}

#[tokio::test]
async fn keys_need_the_version_and_it_must_exist() {
    let alice = shared().user("alice").await;
    new_version(&alice).await;
    let answer = alice.put(KEY, &["!r:x", "s"]).json(session(0, 0, true, "x")).await;
    assert_eq!(answer.status, 400, "{answer}");
    let request = alice.put(KEY, &["!r:x", "s"]).query(&[("version", "4711")]);
    request.json(session(0, 0, true, "x")).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn keys_of_a_version_that_is_not_there_are_neither_kept_nor_given_nor_deleted() {
    let alice = shared().user("alice").await;
    new_version(&alice).await;
    let query = [("version", "4711")];
    let one = session(0, 0, true, "x");
    let room = json!({ "sessions": { "s": one } });
    let all = json!({ "rooms": { "!r:x": room } });
    alice.put(KEYS, &[]).query(&query).json(all).await.error(404, "M_NOT_FOUND");
    alice.put(ROOM, &["!r:x"]).query(&query).json(room).await.error(404, "M_NOT_FOUND");
    alice.get(KEYS, &[]).query(&query).await.error(404, "M_NOT_FOUND");
    alice.get(ROOM, &["!r:x"]).query(&query).await.error(404, "M_NOT_FOUND");
    alice.get(KEY, &["!r:x", "s"]).query(&query).await.error(404, "M_NOT_FOUND");
    alice.delete(KEYS, &[]).query(&query).await.error(404, "M_NOT_FOUND");
    alice.delete(ROOM, &["!r:x"]).query(&query).await.error(404, "M_NOT_FOUND");
    alice.delete(KEY, &["!r:x", "s"]).query(&query).await.error(404, "M_NOT_FOUND");
    alice.delete(VERSION, &["4711"]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn keys_are_kept_in_the_current_version_alone() {
    let alice = shared().user("alice").await;
    let old = new_version(&alice).await;
    let current = new_version(&alice).await;
    let query = [("version", old.as_str())];
    let room = json!({ "sessions": { "s": session(0, 0, true, "x") } });
    for answer in [
        alice.put(KEYS, &[]).query(&query).json(json!({ "rooms": { "!r:x": room } })).await,
        alice.put(ROOM, &["!r:x"]).query(&query).json(room.clone()).await,
    ] {
        let refused = answer.error(403, "M_WRONG_ROOM_KEYS_VERSION");
        differs(
            "client-server-api#put_matrixclientv3room_keyskeys",
            || assert_eq!(refused["current_version"], current),
            || assert_eq!(refused["current_version"], old),
        );
    }
    assert_eq!(alice.get(VERSION, &[&old]).await.ok()["count"], 0);
}

#[tokio::test]
async fn backups_are_private() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let version = new_version(&alice).await;
    put(&alice, &version, "!r:x", "s", session(0, 0, true, "x")).await;
    bob.get(VERSION, &[&version]).await.error(404, "M_NOT_FOUND");
    bob.get(KEYS, &[]).query(&[("version", &version)]).await.error(404, "M_NOT_FOUND");
}
