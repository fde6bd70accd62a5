//! What the operator is promised: a log and figures in which no secret is, and refusals that say what to mend. On our
//! binary only.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use depesche_spec_tests::gateway::Gateway;
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use depesche_spec_tests::user::PASSWORD;
use depesche_spec_tests::{Client, binary};

/// A server that does not refuse to start is ended after so many seconds.
const NO_REFUSAL: &str = "60";
/// How soon what is counted must be on the page.
const LIMIT: Duration = Duration::from_secs(60);
/// A server without work ends within this time: before requests in work would be given up (`server.shutdown_timeout`).
const AT_ONCE: Duration = Duration::from_secs(10);
/// How often the database synced its log.
const SYNCS: &str = "depesche_store_wal_syncs_total";

/// Runs `depesche` to its end, as [`Server::command`] does, where no server was started.
fn depesche(config: &Path, words: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new("timeout");
    command.arg(NO_REFUSAL).arg(binary().unwrap_or_else(|error| panic!("{error}")));
    command.arg("--config").arg(config).args(words).stdin(Stdio::null()).envs(environment.iter().copied());
    command.output().unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asserts that a command ended with this code, and gives what it said.
#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{}{why}", stdout(output));
    why
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Has the user's phone told of events by this gateway.
async fn phone(user: &User, gateway: &Gateway, pushkey: &str) {
    let pusher = json!({
        "kind": "http", "app_id": "org.example.app", "pushkey": pushkey, "app_display_name": "App",
        "device_display_name": "Phone", "lang": "de", "data": { "url": gateway.url() },
    });
    user.post("/_matrix/client/v3/pushers/set", &[]).json(pusher).await.ok();
}

/// Everything that must not be in the log, made by doing what people do.
async fn a_day(server: &Server, gateway: &mut Gateway) -> Vec<String> {
    let mut secrets: Vec<String> = [
        PASSWORD,
        "wrong-password-of-bob",
        "next-password-of-bob",
        "body-of-a-message",
        "body-of-a-file",
        "content-of-account-data",
        "content-to-a-device",
        "text-of-a-topic",
        "words-searched-for",
        "pushkey-of-a-phone",
        "token-in-a-query",
        "name-of-a-file",
    ]
    .map(str::to_owned)
    .into();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    secrets.extend([alice.token().to_owned(), bob.token().to_owned()]);
    let login = |password: &str| {
        let who = json!({ "type": "m.id.user", "user": bob.id });
        let body =
            json!({ "type": "m.login.password", "identifier": who, "password": password, "refresh_token": true });
        server.client().post("/_matrix/client/v3/login", &[]).json(body)
    };
    login("wrong-password-of-bob").await.error(403, "M_FORBIDDEN");
    let answer = login(PASSWORD).await.ok();
    secrets.extend([text(&answer["access_token"]), text(&answer["refresh_token"])]);
    let body = json!({ "refresh_token": answer["refresh_token"] });
    let refreshed = server.client().post("/_matrix/client/v3/refresh", &[]).json(body).await.ok();
    secrets.extend([text(&refreshed["access_token"]), text(&refreshed["refresh_token"])]);

    let room = alice.create_room(json!({ "preset": "public_chat", "topic": "text-of-a-topic" })).await;
    bob.join(&room).await;
    phone(&bob, gateway, "pushkey-of-a-phone").await;
    let id = alice.say(&room, "body-of-a-message").await;
    gateway.of_event(&id).await;
    let sync = bob.syncer().next().await;
    assert!(sync.to_string().contains("body-of-a-message"), "{sync}");
    let found = json!({ "search_categories": { "room_events": { "search_term": "words-searched-for" } } });
    bob.post("/_matrix/client/v3/search", &[]).json(found).await.ok();
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    let data = json!({ "x": "content-of-account-data" });
    bob.put(path, &[&bob.id, "org.example.x"]).json(data).await.ok();
    let message = json!({ "messages": { bob.id.clone(): { "*": { "x": "content-to-a-device" } } } });
    alice.put("/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", &["org.example.x", "d"]).json(message).await.ok();
    let sent = alice.post("/_matrix/media/v3/upload", &[]).query(&[("filename", "name-of-a-file")]);
    let sent = sent.raw("text/plain", b"body-of-a-file".to_vec()).await.ok();
    let id = text(&sent["content_uri"]).rsplit('/').next().expect("an id").to_owned();
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
    assert_eq!(bob.get(path, &["depesche.test", &id]).await.file(), b"body-of-a-file");
    let asked = server.client().get("/_matrix/client/v3/account/whoami", &[]);
    asked.query(&[("access_token", "token-in-a-query")]).await.error(401, "M_MISSING_TOKEN");
    // What cannot be read must not be quoted either.
    let broken = b"{\"msgtype\": \"body-of-a-message".to_vec();
    let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let refused = alice.put(path, &[&room, "m.room.message", "x"]).raw("application/json", broken).await;
    refused.error_in(400, &["M_NOT_JSON", "M_BAD_JSON"]);
    let who = json!({ "type": "m.id.user", "user": bob.id });
    let proof = json!({ "type": "m.login.password", "identifier": who, "password": PASSWORD });
    let change = json!({ "new_password": "next-password-of-bob", "auth": proof });
    bob.post("/_matrix/client/v3/account/password", &[]).json(change).await.ok();
    secrets
}

/// What the operator does; what of it must not be in the log.
fn a_day_of_the_operator(server: &Server) -> Vec<String> {
    let file = server.directory().join("password");
    std::fs::write(&file, "password-by-the-operator\n").expect("written");
    let file = file.to_str().expect("UTF-8");
    let backup = server.directory().join("backup");
    let carol = |words: &[&str]| ended(&server.command(&[&["user"], words].concat()), 0);
    carol(&["create", "carol", "--admin", "--password-file", file]);
    carol(&["reset-password", "carol", "--password-file", file]);
    carol(&["make-admin", "carol", "--revoke"]);
    carol(&["lock", "carol"]);
    carol(&["suspend", "carol"]);
    carol(&["deactivate", "carol", "--yes"]);
    let made = server.command(&["token", "create", "--uses", "1"]);
    ended(&made, 0);
    let token = stdout(&made).trim().to_owned();
    ended(&server.command(&["token", "delete", &token]), 0);
    ended(&server.command(&["db", "compact"]), 0);
    let made = server.command(&["backup", backup.to_str().expect("UTF-8"), "--json"]);
    ended(&made, 0);
    let figures: Value = serde_json::from_str(&stdout(&made)).expect("JSON");
    assert!(figures["files"].as_u64() > Some(3) && figures["bytes"].as_u64() > Some(0), "{figures}");
    vec!["password-by-the-operator".to_owned(), token]
}

/// What the log says of what the operator did: the words, and what they are about.
const SAID: [(&str, &[(&str, &str)]); 10] = [
    ("made an account", &[("user", "@carol:depesche.test"), ("admin", "true")]),
    ("set a new password", &[("user", "@carol:depesche.test")]),
    ("is an administrator's", &[("user", "@carol:depesche.test"), ("admin", "false")]),
    ("locked an account, or unlocked it", &[("user", "@carol:depesche.test"), ("locked", "true")]),
    ("suspended an account, or lifted it", &[("user", "@carol:depesche.test"), ("suspended", "true")]),
    ("deactivated an account", &[("user", "@carol:depesche.test")]),
    ("made a registration token", &[]),
    ("deleted a registration token", &[]),
    ("the database is compacted", &[]),
    ("a backup was made", &[]),
];

/// The log of a server of this format on which all that was done; the id of one request; what must not be in the log.
async fn logged(format: &str) -> (String, String, Vec<String>) {
    let more = format!("\n[log]\nfilter = \"trace\"\nformat = \"{format}\"\n");
    let mut server = Server::start(Options { more, ..Options::default() });
    let socket = server.directory().join("data/admin.sock").metadata().expect("the server runs");
    assert_eq!(socket.permissions().mode() & 0o777, 0o600, "only its owner may command the server");
    let mut gateway = Gateway::start().await;
    let mut secrets = a_day(&server, &mut gateway).await;
    secrets.extend(a_day_of_the_operator(&server));
    let answer = server.client().get("/_matrix/client/v3/capabilities", &[]).await;
    let id = answer.header("x-request-id").to_owned();
    answer.error(401, "M_MISSING_TOKEN");
    assert!(!id.is_empty(), "a client can say which request went wrong");
    assert_eq!(server.terminate(LIMIT), Some(0));
    (server.log(), id, secrets)
}

fn has_no_secret(log: &str, secrets: &[String]) {
    for secret in secrets {
        // As text, and as bytes are written where somebody logs a buffer: spaced for people, dense in JSON.
        let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        let ways = [secret.clone(), bytes.join(", "), bytes.join(",")];
        let line = log.lines().find(|line| ways.iter().any(|way| line.contains(way)));
        assert_eq!(line, None, "{secret} is in the log");
    }
}

#[tokio::test]
async fn the_log_says_what_was_done_and_no_secret() {
    let (log, id, secrets) = logged("text").await;
    assert!(log.contains("TRACE") && log.contains("answered method=\"PUT\""), "everything is logged: {log}");
    for (said, about) in SAID {
        let about: String = about.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        assert!(log.lines().any(|line| line.contains(&format!("{said}{about}"))), "{said:?}{about} is not in the log");
    }
    let answered = "answered method=\"GET\" route=\"/_matrix/client/v3/capabilities\" status=401";
    assert!(log.lines().any(|line| line.contains(answered) && line.contains(&id)), "{id} is not in the log");
    has_no_secret(&log, &secrets);
}

#[tokio::test]
async fn the_log_for_machines_says_the_same_and_no_secret() {
    let (log, id, secrets) = logged("json").await;
    let parsed = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let lines: Vec<Value> = log.lines().map(parsed).collect();
    assert!(lines.iter().any(|line| line["level"] == "TRACE"), "everything is logged: {log}");
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()), "{log}");
    let has = |line: &Value, name: &str, wanted: &str| line[name].as_str().unwrap_or(&line[name].to_string()) == wanted;
    for (said, about) in SAID {
        let is_said = |line: &Value| {
            let ends = line["message"].as_str().is_some_and(|message| message.ends_with(said));
            ends && about.iter().all(|(name, value)| has(line, name, value))
        };
        assert!(lines.iter().any(is_said), "{said:?} {about:?} is not in the log");
    }
    let answered: Vec<&Value> = lines.iter().filter(|line| line["message"] == "answered").collect();
    assert!(answered.iter().any(|line| line["method"] == "PUT"), "{answered:?}");
    let ids: BTreeSet<&str> = answered.iter().filter_map(|line| line["span"]["id"].as_str()).collect();
    assert_eq!(ids.len(), answered.len(), "each has an id of its own");
    let asked = answered.iter().find(|line| line["span"]["id"] == id.as_str());
    let asked = asked.unwrap_or_else(|| panic!("{id} is not in the log"));
    assert_eq!((&asked["route"], &asked["status"]), (&json!("/_matrix/client/v3/capabilities"), &json!(401)));
    has_no_secret(&log, &secrets);
}

/// A figure on the page of figures.
async fn figure(address: SocketAddr, name: &str) -> u64 {
    let page = Client::new(address).get("/metrics", &[]).await.text().to_owned();
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name}: {page}"))
}

/// The figures that the manual promises.
fn promised() -> Vec<&'static str> {
    let manual = include_str!("../docs/operate/logs-and-metrics.md");
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `depesche_"));
    rows.filter_map(|row| row.split(['{', '`']).next()).collect()
}

#[tokio::test]
async fn the_figures_are_those_of_the_manual_and_name_nobody() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let more = format!("\n[metrics]\nlisten = \"{address}\"\n");
    let server = Server::start(Options { more, ..Options::default() });
    let mut gateway = Gateway::start().await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    phone(&bob, &gateway, "pushkey").await;
    let id = alice.say(&room, "hello").await;
    gateway.of_event(&id).await;
    // What is answered 200 is on the disk: one after the other, each has a sync of its own.
    let before = figure(address, SYNCS).await;
    for n in 0..20 {
        alice.say(&room, &n.to_string()).await;
        let after = figure(address, SYNCS).await;
        assert!(after > before + n, "{} messages are answered, and there were {} syncs", n + 1, after - before);
    }
    // One who goes away before the answer.
    let since = text(&bob.syncer().next().await["next_batch"]);
    let query = format!("since={since}&timeout=600000");
    let head = format!(
        "GET /_matrix/client/v3/sync?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        bob.token()
    );
    let deadline = Instant::now() + LIMIT;
    let page = loop {
        // They may be gone before the server has read what they want: then another one comes.
        let mut stream = TcpStream::connect(server.address()).expect("the server listens");
        stream.write_all(head.as_bytes()).expect("sent");
        let page = Client::new(address).get("/metrics", &[]).await.text().to_owned();
        if page.contains("status=\"499\"") && page.contains("depesche_push_notifications_total") {
            break page;
        }
        assert!(Instant::now() < deadline, "who went away is not counted: {page}");
    };
    assert!(server.log().contains("given up method=\"GET\" route=\"/_matrix/client/v3/sync\" status=499"));
    let names = promised();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(page.lines().any(|line| line.starts_with(&format!("depesche_{name}"))), "{name}: {page}");
    }
    let people = [&alice, &bob].map(|user| [user.id.as_str(), user.localpart(), user.token()]);
    for secret in people.into_iter().flatten().chain([room.as_str(), id.as_str(), "pushkey"]) {
        assert!(!page.contains(secret), "{secret} is on the page: {page}");
    }
    let found = server.command(&["doctor"]);
    assert!(stdout(&found).contains(&format!("a page of figures (metrics.listen) answers at {address}")), "{found:?}");
}

/// A poll that waits would hold up the end for as long as requests in work may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answers_those_who_wait() {
    let mut server = Server::start(Options { presence: true, ..Options::default() });
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    // Asleep but for the end: of the presence, which says that the poll has come, the one who polls is not told.
    let quiet = || alice.syncer().filter(&json!({ "presence": { "not_types": ["*"] } }));
    let mut first = quiet().param("set_presence", "offline");
    first.next().await;
    let mut poll = quiet();
    poll.since = first.since;
    let poll = tokio::spawn(async move { poll.request(600_000).await });
    let deadline = Instant::now() + LIMIT;
    let path = "/_matrix/client/v3/presence/{userId}/status";
    while bob.get(path, &[&alice.id]).await.ok()["presence"] != "online" {
        assert!(Instant::now() < deadline && !poll.is_finished(), "the poll waits");
    }
    assert!(!poll.is_finished());
    let asked = Instant::now();
    assert_eq!(server.terminate(LIMIT), Some(0));
    let took = asked.elapsed();
    let answer = poll.await.expect("the poll was answered");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(took < AT_ONCE, "the end took {took:?}");
}

#[tokio::test]
async fn what_only_a_person_can_mend_is_refused_once_and_for_all() {
    let mut server = Server::start(Options::default());
    let config = server.directory().join("depesche.toml");
    let key = server.directory().join("data/signing.key");
    assert_eq!(server.terminate(LIMIT), Some(0));
    let good = std::fs::read_to_string(&config).expect("a configuration");
    // Code 2: the unit does not start it again and again.
    let refused = |words: &[&str]| ended(&depesche(&config, words, &[]), 2);
    std::fs::write(&config, good.replace("\"depesche.test\"", "\"other.test\"")).expect("written");
    for words in [&["serve"][..], &["user", "list"]] {
        let why = refused(words);
        assert!(why.contains("belongs to depesche.test") && why.contains("says other.test"), "{why}");
    }
    std::fs::write(&config, good).expect("written");
    std::fs::rename(&key, key.with_extension("away")).expect("renamed");
    let why = refused(&["serve"]);
    assert!(why.contains("signing.key is missing"), "{why}");
    std::fs::write(&key, "").expect("written");
    let why = refused(&["serve"]);
    assert!(why.contains("does not hold a signing key"), "{why}");
    std::fs::rename(key.with_extension("away"), &key).expect("renamed");
    ended(&depesche(&config, &["user", "list"], &[]), 0);
}

#[test]
fn a_command_makes_no_database_where_one_is_missed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [config, data, backup]: [PathBuf; 3] = ["depesche.toml", "data", "backup"].map(|name| folder.path().join(name));
    let lines = format!("[server]\nname = \"depesche.test\"\ndata_dir = {data:?}\nlisten = \"127.0.0.1:0\"\n");
    std::fs::write(&config, lines).expect("written");
    let backup = backup.to_str().expect("UTF-8");
    for words in [
        &["user", "list"][..],
        &["user", "lock", "alice"],
        &["token", "list"],
        &["report", "list"],
        &["media", "list", "alice"],
        &["db", "verify"],
        &["db", "stats"],
        &["backup", backup],
    ] {
        let why = ended(&depesche(&config, words, &[]), 1);
        assert!(why.contains("there is no database in"), "{words:?}: {why}");
        assert!(!data.exists() && !Path::new(backup).exists(), "{words:?} made something");
    }
    // What may come before the first start begins it, and says what is not what it seems.
    ended(&depesche(&config, &["token", "create", "--uses", "0"], &[]), 2);
    let why = ended(&depesche(&config, &["token", "create"], &[]), 0);
    assert!(why.contains("nobody can use this token yet"), "{why}");
    ended(&depesche(&config, &["user", "list"], &[]), 0);
    let all = depesche(&config, &["report", "list", "--all"], &[]);
    assert!(ended(&all, 0).is_empty() && stdout(&all).contains("There are no reports."), "{all:?}");
    let blind = [("SSL_CERT_FILE", "/none"), ("SSL_CERT_DIR", "/none")];
    let found = depesche(&config, &["doctor"], &blind);
    ended(&found, 1);
    assert!(stdout(&found).contains("ca-certificates"), "{found:?}");
}

#[test]
fn a_server_that_cannot_start_makes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [config, data] = ["depesche.toml", "data"].map(|name| folder.path().join(name));
    let lines = format!("[server]\nname = \"depesche.test\"\ndata_dir = {data:?}\nlisten = \"127.0.0.1:0\"\n");
    let turn = "[turn]\nuris = \"turn:turn.depesche.test\"\nshared_secret_file = \"/none/secret\"\n";
    std::fs::write(&config, format!("{lines}{turn}")).expect("written");
    let why = ended(&depesche(&config, &["serve"], &[]), 2);
    assert!(why.contains("turn.shared_secret_file") && !data.exists(), "{why}");
}

#[tokio::test]
async fn a_service_that_is_hung_up_on_goes_on() {
    let mut server = Server::start(Options::default());
    assert_eq!(server.end_by("HUP", Duration::ZERO), None);
    let deadline = Instant::now() + LIMIT;
    while !server.log().contains("SIGHUP changes nothing") {
        assert!(Instant::now() < deadline, "{}", server.log());
        tokio::task::yield_now().await;
    }
    server.client().get("/_matrix/client/versions", &[]).await.ok();
    assert_eq!(server.terminate(LIMIT), Some(0));
}

#[test]
fn a_restore_that_cannot_end_is_not_begun() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [config, data, backup] = ["depesche.toml", "data", "backup"].map(|name| folder.path().join(name));
    let lines = format!("[server]\nname = \"depesche.test\"\ndata_dir = {data:?}\nlisten = \"127.0.0.1:0\"\n");
    std::fs::write(&config, &lines).expect("written");
    let backup = backup.to_str().expect("UTF-8");
    ended(&depesche(&config, &["token", "create"], &[]), 0);
    ended(&depesche(&config, &["backup", backup], &[]), 0);
    std::fs::rename(&data, folder.path().join("broken")).expect("renamed");
    let turn = "[turn]\nuris = \"turn:turn.depesche.test\"\nshared_secret_file = \"/none/secret\"\n";
    std::fs::write(&config, format!("{lines}{turn}")).expect("written");
    let why = ended(&depesche(&config, &["restore", backup], &[]), 2);
    assert!(why.contains("turn.shared_secret_file") && !data.exists(), "{why}");
    std::fs::write(&config, lines).expect("written");
    ended(&depesche(&config, &["restore", backup], &[]), 0);
    ended(&depesche(&config, &["db", "verify"], &[]), 0);
}
