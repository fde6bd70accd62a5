//! A database of an earlier format opens in this binary, and everything that was in it is there and goes on.
//!
//! `fixtures/schema-1.tar.gz` has a data folder that the binary of commit `cecd4ad` wrote, the first to have schema 1,
//! and in `answers.json` what that binary answered about it. A fixture is made once and never again: what would be
//! written today is not what lies on operators' disks. With `DEPESCHE_WRITE_FIXTURE=schema-2` and `DEPESCHE_BIN` set to
//! an older binary, [`make`] makes one more.

mod compare;
mod make;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use depesche_spec_tests::user::PASSWORD;

const SEND: &str = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";

/// The file of the archive with what was answered.
const ANSWERS: &str = "answers.json";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Packs the data folder of a server that has ended, without the engine's own log files.
fn pack(directory: &Path, archive: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--sort=name", "--owner=0", "--group=0", "--mtime=2026-11-22", "--exclude=LOG*"]);
    tar.args(["--exclude=lock", "--exclude=admin.sock", "--file"]).arg(archive).arg("--directory").arg(directory);
    assert!(tar.args(["data", ANSWERS]).status().is_ok_and(|status| status.success()), "tar packs the data folder");
}

/// Unpacks it where a server of the tests expects its data.
fn unpack(archive: &Path, directory: &Path) {
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--gzip", "--no-same-owner", "--directory"]).arg(directory).arg("--file");
    tar.stdin(Stdio::null()).arg(archive);
    assert!(tar.status().is_ok_and(|status| status.success()), "tar unpacks the fixture");
}

#[tokio::test]
async fn a_database_of_schema_1_is_read_and_goes_on() {
    if let Some(name) = std::env::var_os("DEPESCHE_WRITE_FIXTURE") {
        let name = name.into_string().expect("a name");
        return make::fixture(&fixture(&format!("{name}.tar.gz"))).await;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    unpack(&fixture("schema-1.tar.gz"), directory.path());
    let file = File::open(directory.path().join(ANSWERS)).expect("the answers are in the archive");
    let known: Value = serde_json::from_reader(file).expect("json");
    let mut server = Server::start(Options { data_dir: Some(directory.path().to_owned()), ..Options::default() });
    everything_is_there(&server, &known).await;
    relations_are_found(&server, &known).await;
    it_goes_on(&server, &known).await;
    let found = server.command(&["db", "verify", "--json"]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    // Once more, on what this binary has made of it.
    server.restart();
    let alice = server.client().with_token(known["tokens"]["alice"].as_str().expect("a token"));
    let room = known["rooms"]["hall"].as_str().expect("a room");
    let answer = alice.get("/_matrix/client/v3/rooms/{roomId}/messages", &[room]).query(&[("dir", "b")]).await.ok();
    assert_eq!(answer["chunk"][0]["content"]["body"], "by the newer binary");
}

/// A command leaves a database as it is that a server has not brought up to date, or a copy that has not gone on: the
/// older program can still go on with it.
#[test]
fn commands_leave_an_older_database_and_a_copy_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    unpack(&fixture("schema-1.tar.gz"), directory.path());
    let options = Options { data_dir: Some(directory.path().to_owned()), ..Options::default() };
    // Without a server: for its configuration only.
    let mut server = Server::start(options);
    assert_eq!(server.terminate(std::time::Duration::from_secs(60)), Some(0));
    let (data, backup) = (directory.path().join("data"), directory.path().join("backup"));
    std::fs::rename(&data, directory.path().join("migrated")).expect("renamed");
    unpack(&fixture("schema-1.tar.gz"), directory.path());
    let refused = |what: &str| {
        for words in [&["backup", backup.to_str().expect("UTF-8")][..], &["db", "stats"], &["doctor"]] {
            let output = server.command(words);
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(!output.status.success() && said.contains(what), "{words:?}: {said}");
        }
        assert!(!backup.exists());
    };
    refused("of an older version");
    refused("of an older version");
    std::fs::write(data.join("db/THIS_IS_A_COPY"), "").expect("marked");
    refused("start the server, which makes it fit");
    assert!(data.join("db/THIS_IS_A_COPY").exists());
    server.restart();
    let found = server.command(&["db", "verify"]);
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
}

/// Each request of the fixture is answered as it was then, but for what has been added since.
async fn everything_is_there(server: &Server, known: &Value) {
    let asked = known["asked"].as_array().expect("requests");
    assert!(asked.len() > 40, "the fixture is not what it was");
    for ask in asked {
        let (answer, what) = (make::ask(&server.client(), &known["tokens"], ask).await, &ask["path"]);
        assert_eq!(answer.status, ask["status"].as_u64().expect("a status") as u16, "{answer}");
        if let Err(missing) = compare::contains(&answer.body, &ask["answer"]) {
            panic!("{what} ({}): {missing}\nin {}", ask["who"], answer.text());
        }
    }
}

/// What the older binary kept no index of: the reaction to a message.
async fn relations_are_found(server: &Server, known: &Value) {
    let alice = server.client().with_token(known["tokens"]["alice"].as_str().expect("a token"));
    let room = known["rooms"]["hall"].as_str().expect("a room");
    let path = "/_matrix/client/v3/rooms/{roomId}/messages";
    let page = alice.get(path, &[room]).query(&[("dir", "b"), ("limit", "100")]).await.ok();
    let events = page["chunk"].as_array().expect("events");
    let liked = events.iter().find(|event| event["content"]["body"] == "to be liked").expect("the liked message");
    let liked = liked["event_id"].as_str().expect("an id");
    let about = alice.get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}", &[room, liked]).await.ok();
    assert_eq!(about["chunk"].as_array().map(Vec::len), Some(1), "{about}");
    assert_eq!(about["chunk"][0]["type"], "m.reaction");
}

/// What was under way goes on: passwords, transaction ids, keys that wait, rooms.
async fn it_goes_on(server: &Server, known: &Value) {
    let client = server.client();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let (room, bob_id) = (text(&known["rooms"]["hall"]), text(&known["users"]["bob"]));
    let body = json!({
        "type": "m.login.password", "password": PASSWORD, "identifier": { "type": "m.id.user", "user": bob_id }
    });
    let bob = User::from_answer(&client, &client.post("/_matrix/client/v3/login", &[]).json(body).await.ok());
    let alice = client.with_token(known["tokens"]["alice"].as_str().expect("a token"));
    let again = json!({ "msgtype": "m.text", "body": "sent twice" });
    let again = alice.put(SEND, &[&room, "m.room.message", "repeated"]).json(again).await.ok();
    assert_eq!(again["event_id"], known["repeated"], "the transaction id is known");
    bob.say(&room, "by the newer binary").await;
    let claim = json!({ "one_time_keys": { known["users"]["alice"].as_str().expect("a user"): {
        known["devices"]["alice"].as_str().expect("a device"): "signed_curve25519"
    } } });
    let claimed = bob.post("/_matrix/client/v3/keys/claim", &[]).json(claim).await.ok();
    let claimed = claimed["one_time_keys"].to_string();
    assert!(claimed.contains("signed_curve25519:second"), "the first was claimed before: {claimed}");
    let invited = text(&known["rooms"]["secret"]);
    bob.join(&invited).await;
    assert_eq!(bob.state(&invited, "m.room.name", "").await["name"], "Secret");
}
