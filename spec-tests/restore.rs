//! The drill: a backup of a running server, a disaster, the restore, and clients that go on. On our binary only.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use depesche_spec_tests::keys::{device_keys, fallback_key, one_time_key};
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use depesche_spec_tests::user::PASSWORD;

/// A server whose data lie where the test says.
fn start(directory: &Path) -> Server {
    Server::start(Options { data_dir: Some(directory.to_owned()), ..Options::default() })
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// The same person at a server that was restarted elsewhere.
fn at(server: &Server, user: &User) -> User {
    let who = json!({ "access_token": user.token(), "user_id": user.id, "device_id": user.device });
    User::from_answer(&server.client(), &who)
}

/// One follower of `/sync` that goes on from a token.
fn from(user: &User, token: &str) -> Syncer {
    let mut syncer = user.syncer();
    syncer.since = Some(token.to_owned());
    syncer
}

async fn upload(user: &User, labels: &[&str]) -> Value {
    let mut body = json!({ "device_keys": device_keys(user), "one_time_keys": {} });
    for label in labels {
        body["one_time_keys"][format!("signed_curve25519:{label}")] = one_time_key(user, label);
    }
    user.post("/_matrix/client/v3/keys/upload", &[]).json(body).await.ok()
}

/// The id of the key that a claim gives; none if there is none.
async fn claim(user: &User, whom: &User) -> Option<String> {
    let body = json!({ "one_time_keys": { whom.id.clone(): { whom.device.clone(): "signed_curve25519" } } });
    let answer = user.post("/_matrix/client/v3/keys/claim", &[]).json(body).await.ok();
    answer["one_time_keys"][&whom.id][&whom.device].as_object()?.keys().next().cloned()
}

async fn to_device(from: &User, to: &User, n: u64) {
    let body = json!({ "messages": { to.id.clone(): { to.device.clone(): { "n": n } } } });
    let path = "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}";
    from.put(path, &["org.example.x", &format!("d{n}")]).json(body).await.ok();
}

fn numbers(sync: &Value) -> Vec<u64> {
    let events = sync["to_device"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["n"].as_u64()).collect()
}

fn changed(sync: &Value) -> Vec<String> {
    sync["device_lists"]["changed"].as_array().map(|list| list.iter().map(text).collect()).unwrap_or_default()
}

/// The position in a sync token.
fn position(token: &str) -> u64 {
    token.split('_').nth(1).and_then(|position| position.parse().ok()).expect("a sync token of ours")
}

/// What there is before the disaster.
struct House {
    alice: User,
    bob: User,
    room: String,
    backup: std::path::PathBuf,
    /// Tokens of bob's from before the backup and from after it.
    before: String,
    after: String,
    /// The room that alice made after the backup.
    lost_room: String,
}

/// Asserts that a command has shown on its way how far it was with this.
fn shows(output: &Output, what: &str) {
    let shown = String::from_utf8_lossy(&output.stderr);
    let is_step = |line: &str| line.starts_with(&format!("{what}: ")) && line.contains(" of ") && line.ends_with(" MB");
    assert!(shown.lines().any(is_step), "{what:?} is not shown: {shown}");
}

async fn house(server: &Server, folder: &Path) -> House {
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    upload(&alice, &["a1"]).await;
    upload(&bob, &["b1", "b2", "b3"]).await;
    let fallback = json!({ "fallback_keys": { "signed_curve25519:f1": fallback_key(&bob, "f1") } });
    bob.post("/_matrix/client/v3/keys/upload", &[]).json(fallback).await.ok();
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Room", "topic": "before" })).await;
    bob.join(&room).await;
    alice.say(&room, "one").await;
    let mut syncer = bob.syncer();
    let before = text(&syncer.next().await["next_batch"]);
    alice.say(&room, "two").await;
    to_device(&alice, &bob, 1).await;

    let backup = folder.join("backup");
    let made = server.command(&["backup", backup.to_str().expect("UTF-8")]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(String::from_utf8_lossy(&made.stdout).contains("Backed up"), "{made:?}");
    shows(&made, "reading the copy of the database");
    let begun = String::from_utf8_lossy(&made.stderr).lines().next().map(str::to_owned);
    assert_eq!(begun.as_deref(), Some("copying the database"), "{made:?}");

    // The time that will be lost.
    alice.say(&room, "lost").await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "lost" })).await;
    let lost_room = alice.public_room().await;
    assert_eq!(claim(&alice, &bob).await.as_deref(), Some("signed_curve25519:b1"));
    upload(&bob, &["b4"]).await;
    to_device(&alice, &bob, 2).await;
    let sync = syncer.until(|sync| numbers(sync).contains(&2)).await;
    assert_eq!(numbers(&sync), [1, 2]);
    let after = text(&sync["next_batch"]);
    House { alice, bob, room, backup, before, after, lost_room }
}

#[tokio::test]
async fn a_restored_backup_goes_on_with_the_clients_there_are() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let home = folder.path().join("home");
    std::fs::create_dir(&home).expect("a folder");
    let mut server = start(&home);
    let house = house(&server, folder.path()).await;
    assert_eq!(server.terminate(Duration::from_secs(60)), Some(0));
    let restore = ["restore", house.backup.to_str().expect("UTF-8")];
    let refused = server.command(&restore);
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && why.contains("move it away"), "nothing is overwritten: {why}");
    std::fs::rename(home.join("data"), home.join("broken")).expect("the old data go away");
    let done = server.command(&restore);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    shows(&done, "copying");
    server.restart();
    let first = goes_on(&server, &house).await;

    // The same disaster again: what the first restore handed out does not come again.
    assert_eq!(server.terminate(Duration::from_secs(60)), Some(0));
    std::fs::rename(home.join("data"), home.join("broken again")).expect("the old data go away");
    let done = server.command(&restore);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    server.restart();
    goes_on(&server, &house).await;
    let bob = at(&server, &house.bob);
    let sync = from(&bob, &first).next().await;
    assert!(position(&text(&sync["next_batch"])) > position(&first), "{first}");
    assert!(RoomSync::joined(&sync, &house.room).field("timeline")["limited"] == true, "told anew: {sync}");
    let found = server.command(&["db", "verify"]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
}

/// What each client sees and does after the restore; bob's last token.
async fn goes_on(server: &Server, house: &House) -> String {
    let (alice, bob) = (at(server, &house.alice), at(server, &house.bob));
    // One who has not asked since before the backup goes on as if nothing had been.
    let sync = from(&bob, &house.before).next().await;
    let room = RoomSync::joined(&sync, &house.room);
    assert_eq!((room.bodies(), numbers(&sync)), (vec!["two"], vec![1]));
    assert_ne!(room.field("timeline")["limited"], json!(true));
    assert!(changed(&sync).contains(&alice.id) && changed(&sync).contains(&bob.id), "{sync}");

    // One who has seen what is lost is told everything anew, at once, and gets no message twice.
    let mut syncer = from(&bob, &house.after);
    let sync = syncer.next().await;
    let room = RoomSync::joined(&sync, &house.room);
    assert_eq!(room.bodies(), ["one", "two"], "{sync}");
    assert_eq!(room.field("timeline")["limited"], json!(true), "what the client has of it is cut off");
    let topic = bob.state(&house.room, "m.room.topic", "").await;
    assert_eq!(topic["topic"], "before");
    assert!(sync.to_string().contains("\"before\"") && !sync.to_string().contains("\"lost\""), "{sync}");
    assert_eq!(numbers(&sync), Vec::<u64>::new());
    assert!(changed(&sync).contains(&alice.id) && changed(&sync).contains(&bob.id), "{sync}");
    // No key is left to be handed out twice; the fallback key still reaches bob, who is asked for others.
    assert_eq!(sync["device_one_time_keys_count"]["signed_curve25519"], json!(0));
    assert_eq!(sync["device_unused_fallback_key_types"], json!([]));
    assert_eq!(claim(&alice, &bob).await.as_deref(), Some("signed_curve25519:f1"));
    let counts = upload(&bob, &["b1", "b2", "b5"]).await;
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], json!(1), "old ones do not come back: {counts}");
    assert_eq!(claim(&alice, &bob).await.as_deref(), Some("signed_curve25519:b5"));

    // Life goes on.
    assert_eq!(alice.membership(&house.lost_room, &alice).await, None);
    alice.say(&house.room, "three").await;
    to_device(&alice, &bob, 3).await;
    let sync = syncer.until(|sync| !numbers(sync).is_empty()).await;
    assert_eq!(numbers(&sync), [3]);
    alice.say(&house.room, "four").await;
    syncer.until(|sync| RoomSync::joined(sync, &house.room).bodies().contains(&"four")).await;
    let token = syncer.since.clone().expect("a token");
    assert!(position(&token) > position(&house.after) + (1 << 31), "{token}");
    token
}

/// The answer to a request with a token, and to a refresh: whether each is a soft logout.
async fn soft_logouts(server: &Server, access: &str, refresh: &str) -> [bool; 2] {
    let client = server.client();
    let asked = client.with_token(access).get("/_matrix/client/v3/account/whoami", &[]).await;
    let body = json!({ "refresh_token": refresh });
    let refreshed = client.post("/_matrix/client/v3/refresh", &[]).json(body).await;
    [asked, refreshed].map(|answer| answer.error(401, "M_UNKNOWN_TOKEN")["soft_logout"] == true)
}

#[tokio::test]
async fn clients_that_refreshed_after_the_backup_keep_their_keys() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let home = folder.path().join("home");
    std::fs::create_dir(&home).expect("a folder");
    let mut server = start(&home);
    let alice = server.user("alice").await;
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let login = json!({
        "type": "m.login.password", "identifier": identifier, "password": PASSWORD, "device_id": "PHONE",
        "refresh_token": true
    });
    let first = server.client().post("/_matrix/client/v3/login", &[]).json(login.clone()).await.ok();
    let phone = User::from_answer(&server.client(), &first);
    upload(&phone, &["k1"]).await;
    let backup = folder.path().join("backup");
    let words = ["backup", backup.to_str().expect("UTF-8")];
    assert!(server.command(&words).status.success());

    let body = json!({ "refresh_token": first["refresh_token"] });
    let second = server.client().post("/_matrix/client/v3/refresh", &[]).json(body).await.ok();
    let [access, refresh] = ["access_token", "refresh_token"].map(|name| text(&second[name]));
    server.client().with_token(&access).get("/_matrix/client/v3/account/whoami", &[]).await.ok();
    let unknown = [access.replace("dpa_", "dpa_x"), refresh.replace("dpr_", "dpr_x")];
    assert_eq!(soft_logouts(&server, &unknown[0][..access.len()], &unknown[1][..refresh.len()]).await, [false, false]);

    assert_eq!(server.terminate(Duration::from_secs(60)), Some(0));
    std::fs::rename(home.join("data"), home.join("broken")).expect("the old data go away");
    let done = server.command(&["restore", words[1]]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    server.restart();
    assert_eq!(soft_logouts(&server, &access, &refresh).await, [true, true], "as long as it may be a lost one");
    assert_eq!(soft_logouts(&server, "dpa_other", "no token of ours").await, [false, false]);
    // The same device logs in again, and its keys are there.
    let again = server.client().post("/_matrix/client/v3/login", &[]).json(login).await.ok();
    let phone = User::from_answer(&server.client(), &again);
    let query = json!({ "device_keys": { phone.id.clone(): ["PHONE"] } });
    let keys = phone.post("/_matrix/client/v3/keys/query", &[]).json(query).await.ok();
    assert!(keys["device_keys"][&phone.id]["PHONE"].is_object(), "{keys}");
}

/// How many things lie in a folder.
fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[tokio::test]
async fn a_backup_of_a_disk_of_its_own_for_media_and_one_that_fails() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [home, disk, backups] = ["home", "disk", "backups"].map(|name| folder.path().join(name));
    for folder in [&home, &disk, &backups, &home.join("data")] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    // What is on a disk beside what the server puts there.
    std::fs::create_dir(disk.join("lost+found")).expect("a folder");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(disk.join("lost+found"), mode).expect("mode");
    };
    mode(0o000);
    std::os::unix::fs::symlink(&disk, home.join("data/media")).expect("a link");
    let mut server = start(&home);
    let alice = server.user("alice").await;
    let sent = alice.post("/_matrix/media/v3/upload", &[]).raw("image/png", b"bytes".to_vec()).await.ok();
    let id = text(&sent["content_uri"]).rsplit('/').next().expect("an id").to_owned();

    // One that fails leaves nothing: the key is not there.
    let key = home.join("data/signing.key");
    std::fs::rename(&key, folder.path().join("key")).expect("renamed");
    let [failing, backup] = ["failing", "backup"].map(|name| backups.join(name).to_str().expect("UTF-8").to_owned());
    let failed = server.command(&["backup", &failing]);
    let why = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && why.contains("signing.key"), "{why}");
    assert_eq!(entries(&backups), 0, "nothing is left of it");
    std::fs::rename(folder.path().join("key"), &key).expect("renamed");
    let made = server.command(&["backup", &backup]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    assert_eq!(server.terminate(Duration::from_secs(60)), Some(0));
    std::fs::rename(home.join("data"), home.join("broken")).expect("the old data go away");
    for byte in 0..=u8::MAX {
        std::fs::remove_dir_all(disk.join(format!("{byte:02x}"))).expect("removed");
    }
    std::fs::create_dir(home.join("data")).expect("a folder");
    std::os::unix::fs::symlink(&disk, home.join("data/media")).expect("a link");
    let done = server.command(&["restore", &backup]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(home.join("data/media").is_symlink(), "the disk is still the one");
    server.restart();
    let alice = at(&server, &alice);
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
    assert_eq!(alice.get(path, &["depesche.test", &id]).await.file(), b"bytes");
    mode(0o700);
}

#[tokio::test]
async fn a_backup_that_was_tampered_with_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let home = folder.path().join("home");
    std::fs::create_dir(&home).expect("a folder");
    let mut server = start(&home);
    let alice = server.user("alice").await;
    alice.public_room().await;
    let backup = folder.path().join("backup");
    let words = ["backup", backup.to_str().expect("UTF-8")];
    assert!(server.command(&words).status.success());
    assert!(!server.command(&words).status.success(), "it is there already");
    let running = server.command(&["restore", words[1]]);
    assert!(!running.status.success(), "the server runs: {running:?}");
    assert_eq!(server.terminate(Duration::from_secs(60)), Some(0));
    std::fs::rename(home.join("data"), home.join("broken")).expect("the old data go away");
    let refused = |what: &str| {
        let refused = server.command(&["restore", words[1]]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && why.contains(what), "{what}: {why}");
        assert!(!home.join("data/db").exists(), "{what}: half a database is left");
    };
    let key = backup.join("signing.key");
    let good = std::fs::read(&key).expect("a key");
    let mut bad = good.clone();
    bad[20] ^= 1;
    std::fs::write(&key, &bad).expect("written");
    refused("hash");
    std::fs::write(&key, &good).expect("written");
    std::fs::write(backup.join("db/more"), "x").expect("written");
    refused("db/more");
    std::fs::remove_file(backup.join("db/more")).expect("removed");
    std::fs::rename(backup.join("db/CURRENT"), backup.join("CURRENT")).expect("renamed");
    refused("CURRENT");
    std::fs::rename(backup.join("CURRENT"), backup.join("db/CURRENT")).expect("renamed");
    std::fs::rename(backup.join("manifest.json"), folder.path().join("manifest.json")).expect("renamed");
    refused("no backup");
    std::fs::rename(folder.path().join("manifest.json"), backup.join("manifest.json")).expect("renamed");
    assert!(server.command(&["restore", words[1]]).status.success(), "and whole again it is taken");
}
