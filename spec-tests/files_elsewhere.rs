//! A server whose files lie in an object store: where they are, what becomes of a store that does not answer, and what a
//! backup is. On our binary only, with a store of its own (see `object_store.rs`).

use std::path::Path;
use std::time::{Duration, Instant};

use depesche_spec_tests::object_store::{ObjectStore, SECRET};
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;

const UPLOAD: &str = "/_matrix/media/v3/upload";
const DOWNLOAD: &str = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
const HERE: &str = "depesche.test";
/// No request waits longer for a store that is not there, with the store's own retries.
const SOON: Duration = Duration::from_secs(30);

fn start(store: &ObjectStore, directory: Option<&Path>) -> Server {
    let data_dir = directory.map(Path::to_owned);
    Server::start(Options { object_store: Some(store.url()), data_dir, ..Options::default() })
}

/// Large enough to be gathered in a file.
fn bytes(first: u8) -> Vec<u8> {
    (0..1_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3] ^ first).collect()
}

async fn upload(user: &User, bytes: Vec<u8>) -> String {
    let answer = user.post("/_matrix/media/v3/upload", &[]).raw("image/png", bytes).await.ok();
    answer["content_uri"].as_str().and_then(|uri| uri.rsplit('/').next()).expect("an address").to_owned()
}

/// The files below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found
}

fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Waits until the server has logged this.
async fn logged(server: &Server, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !server.log().contains(what) {
        assert!(Instant::now() < deadline, "not logged: {what}\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn files_lie_in_the_store_and_nowhere_else() {
    let store = ObjectStore::start();
    let mut server = start(&store, None);
    let alice = server.user("alice").await;
    let id = upload(&alice, bytes(1)).await;
    let same = upload(&alice, bytes(1)).await;
    let objects = store.objects();
    let [object] = &objects[..] else { panic!("the same bytes are kept once: {objects:?}") };
    let folder = server.directory().to_str().expect("UTF-8").trim_start_matches('/').to_owned();
    assert!(object.starts_with(&format!("{folder}/")), "{object}");
    let folder = server.directory().join("data/media");
    assert_eq!(files(&folder), [folder.join("media.lock")], "no more than which server has the folder");
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
    let part = alice.get(path, &[HERE, &id]).header("range", "bytes=70000-200000").await;
    assert!(part.part_of_a_file() == &bytes(1)[70_000..=200_000]);
    logged(&server, "which works").await;
    let doctor = server.command(&["doctor"]);
    assert!(said(&doctor).contains("takes files and gives them back"), "{}", said(&doctor));
    server.restart();
    let alice = server.client().with_token(alice.token());
    assert!(alice.get(DOWNLOAD, &[HERE, &id]).await.file() == bytes(1));
    // What the database does not need goes from the store too.
    server.depesche(&["media", "delete", &id]);
    assert!(alice.get(DOWNLOAD, &[HERE, &same]).await.file() == bytes(1));
    server.depesche(&["media", "delete", &same]);
    assert_eq!(store.objects(), Vec::<String>::new());
    alice.get(DOWNLOAD, &[HERE, &same]).await.error(404, "M_NOT_FOUND");
    assert!(!server.log().contains(SECRET));
}

#[tokio::test]
async fn a_store_that_is_gone_is_told_and_chats_go_on() {
    let mut store = ObjectStore::start();
    let mut server = start(&store, None);
    let alice = server.user("alice").await;
    let room = alice.public_room().await;
    let id = upload(&alice, bytes(2)).await;
    store.kill();
    let begun = Instant::now();
    alice.post(UPLOAD, &[]).raw("image/png", bytes(3)).await.error(503, "M_UNKNOWN");
    alice.get(DOWNLOAD, &[HERE, &id]).await.error(500, "M_UNKNOWN");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert!(server.log().contains("cannot send a file") && server.log().contains("cannot read a file"));
    alice.say(&room, "without files").await;
    // Also from its start on, which says so.
    server.restart();
    let alice = server.client().with_token(alice.token());
    logged(&server, "the object store does not work").await;
    let doctor = server.command(&["doctor"]);
    assert!(!doctor.status.success() && said(&doctor).contains("WRONG    the object store"), "{}", said(&doctor));
    alice.post(UPLOAD, &[]).raw("image/png", bytes(3)).await.error(503, "M_UNKNOWN");
    store.restart();
    alice.post(UPLOAD, &[]).raw("image/png", bytes(3)).await.ok();
    assert_eq!(store.objects().len(), 1);
    // A store that has lost what it took.
    alice.get(DOWNLOAD, &[HERE, &id]).await.error(404, "M_NOT_FOUND");
    assert!(!said(&doctor).contains(SECRET) && !server.log().contains(SECRET));
}

#[tokio::test]
async fn a_backup_says_that_it_has_no_files() {
    let store = ObjectStore::start();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let home = folder.path().join("home");
    std::fs::create_dir(&home).expect("a folder");
    let mut server = start(&store, Some(&home));
    let alice = server.user("alice").await;
    let id = upload(&alice, bytes(4)).await;
    let backup = folder.path().join("backup");
    let made = server.command(&["backup", backup.to_str().expect("UTF-8")]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&made).contains("Not part of it: the files that users uploaded, which lie in the bucket depesche"));
    assert!(said(&made).contains("secret_access_key_file"), "{}", said(&made));
    assert!(!backup.join("media").exists());
    let manifest = std::fs::read_to_string(backup.join("manifest.json")).expect("a manifest");
    assert!(manifest.contains("\"media_elsewhere\": \"the bucket depesche at"), "{manifest}");
    let after = upload(&alice, bytes(5)).await;

    assert_eq!(server.terminate(Duration::from_secs(60)), Some(0));
    std::fs::rename(home.join("data"), home.join("broken")).expect("the old data go away");
    let done = server.command(&["restore", backup.to_str().expect("UTF-8")]);
    assert!(done.status.success() && said(&done).contains("See that they are in the bucket"), "{}", said(&done));
    server.restart();
    let alice = server.client().with_token(alice.token());
    assert!(alice.get(DOWNLOAD, &[HERE, &id]).await.file() == bytes(4));
    // What came after the backup has no row any more; its bytes are there, and serve who uploads them again.
    alice.get(DOWNLOAD, &[HERE, &after]).await.error(404, "M_NOT_FOUND");
    let uploaded = alice.post(UPLOAD, &[]).raw("image/png", bytes(5)).await.ok();
    assert!(uploaded["content_uri"].is_string());
    assert_eq!(store.objects().len(), 2);
}
