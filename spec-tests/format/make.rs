//! How a fixture is made: a server of the wished version is given some of everything, is asked about it, and ends.

use std::path::Path;
use std::time::Duration;

use depesche_spec_tests::client::encode;
use depesche_spec_tests::keys::{cross_signing, device_keys, fallback_key, one_time_key};
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use depesche_spec_tests::user::PASSWORD;
use reqwest::Method;

/// Sends a request as the fixture describes it: `who` (a name among the tokens, or nobody), `method`, `path`, `query`,
/// `body`.
pub async fn ask(client: &Client, tokens: &Value, ask: &Value) -> Answer {
    let client = match ask["who"].as_str() {
        Some(who) => client.with_token(tokens[who].as_str().expect("the fixture has their token")),
        None => client.without_token(),
    };
    let text = |name: &str| ask[name].as_str().expect("text");
    let method = Method::from_bytes(text("method").as_bytes()).expect("a method");
    let query = ask["query"].as_object().into_iter().flatten();
    let query: Vec<(&str, &str)> = query.map(|(k, v)| (k.as_str(), v.as_str().expect("text"))).collect();
    let request = client.request(method, text("path"), &[]).query(&query);
    if ask["body"].is_null() { request.await } else { request.json(ask["body"].clone()).await }
}

/// What is put into the server.
struct House {
    server: Server,
    alice: User,
    tablet: User,
    bob: User,
    carol: User,
    /// Public, busy.
    hall: String,
    /// Encrypted, with an invite to bob.
    secret: String,
    /// Of an older version, which carol has left.
    old: String,
    /// A token of bob's from before the last things happened.
    since: String,
    /// An event sent with the transaction id `repeated`.
    repeated: String,
    /// Where a page of the hall ended.
    page: String,
}

pub async fn fixture(archive: &Path) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { data_dir: Some(directory.path().to_owned()), ..Options::default() };
    let mut house = fill(Server::start(options)).await;
    // Part of it in table files and part in the log.
    assert_eq!(house.server.terminate(Duration::from_secs(60)), Some(0));
    house.server.restart();
    more(&mut house).await;
    let tokens = json!({
        "alice": house.alice.token(), "tablet": house.tablet.token(), "bob": house.bob.token(),
        "carol": house.carol.token()
    });
    let mut asked = Vec::new();
    for mut request in requests(&house) {
        let answer = ask(&house.server.client(), &tokens, &request).await;
        request["status"] = json!(answer.status);
        request["answer"] = answer.body;
        asked.push(request);
    }
    let version = house.server.command(&["version"]);
    let known = json!({
        "made_by": String::from_utf8_lossy(&version.stdout).trim(),
        "tokens": tokens,
        "users": { "alice": house.alice.id, "bob": house.bob.id, "carol": house.carol.id },
        "devices": { "alice": house.alice.device, "tablet": house.tablet.device, "bob": house.bob.device },
        "rooms": { "hall": house.hall, "secret": house.secret, "old": house.old },
        "repeated": house.repeated,
        "asked": asked,
    });
    assert_eq!(house.server.terminate(Duration::from_secs(60)), Some(0));
    let answers = directory.path().join(crate::ANSWERS);
    std::fs::write(answers, format!("{known:#}\n")).expect("the answers can be written");
    crate::pack(directory.path(), archive);
}

async fn fill(server: Server) -> House {
    let client = server.client();
    let alice = User::register(&client, "alice").await;
    let bob = User::register(&client, "bob").await;
    let carol = User::register(&client, "carol").await;
    let tablet = alice.another_device().await;
    for user in [&alice, &tablet, &bob] {
        keys(user).await;
    }
    profile_and_data(&alice).await;
    let hall = alice
        .create_room(json!({
            "preset": "public_chat", "name": "Hall", "topic": "All of it", "room_alias_name": "hall",
            "power_level_content_override": { "users_default": 1 }
        }))
        .await;
    bob.join(&hall).await;
    carol.join(&hall).await;
    let old = bob.create_room(json!({ "preset": "public_chat", "room_version": "10", "name": "Old" })).await;
    carol.join(&old).await;
    carol.say(&old, "before carol left").await;
    carol.leave(&old).await;
    for n in 0..30 {
        let user = [&alice, &bob, &carol][n % 3];
        user.say(&hall, &format!("message {n}")).await;
    }
    House {
        alice,
        tablet,
        bob,
        carol,
        hall,
        old,
        secret: String::new(),
        since: String::new(),
        repeated: String::new(),
        page: String::new(),
        server,
    }
}

async fn keys(user: &User) {
    let body = json!({
        "device_keys": device_keys(user),
        "one_time_keys": {
            "signed_curve25519:first": one_time_key(user, "first"),
            "signed_curve25519:second": one_time_key(user, "second")
        },
        "fallback_keys": { "signed_curve25519:fallback": fallback_key(user, "fallback") }
    });
    user.post("/_matrix/client/v3/keys/upload", &[]).json(body).await.ok();
}

async fn profile_and_data(alice: &User) {
    let id = &alice.id;
    let path = "/_matrix/client/v3/profile/{userId}/{keyName}";
    alice.put(path, &[id, "displayname"]).json(json!({ "displayname": "Alice of the Hall" })).await.ok();
    alice.put(path, &[id, "avatar_url"]).json(json!({ "avatar_url": "mxc://depesche.test/alice" })).await.ok();
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    alice.put(path, &[id, "org.example.data"]).json(json!({ "kept": [1, 2, 3] })).await.ok();
    let filter = json!({ "room": { "timeline": { "limit": 7 } } });
    alice.post("/_matrix/client/v3/user/{userId}/filter", &[id]).json(filter).await.ok();
    let mut keys = cross_signing(alice, "one");
    let path = "/_matrix/client/v3/keys/device_signing/upload";
    let answer = alice.post(path, &[]).json(keys.clone()).await;
    if answer.status == 401 {
        keys["auth"] = json!({
            "type": "m.login.password", "session": answer.body["session"], "password": PASSWORD,
            "identifier": { "type": "m.id.user", "user": id }
        });
        alice.post(path, &[]).json(keys).await.ok();
    }
    let algorithm = json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": "key" }
    });
    let version = alice.post("/_matrix/client/v3/room_keys/version", &[]).json(algorithm).await.ok();
    let session = json!({
        "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ciphertext": "kept", "ephemeral": "e", "mac": "m" }
    });
    let path = "/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}";
    let version = version["version"].as_str().expect("a version");
    alice.put(path, &["!room:depesche.test", "session"]).query(&[("version", version)]).json(session).await.ok();
}

/// After the restart: what later events do to earlier ones, and what waits for somebody.
async fn more(house: &mut House) {
    let client = house.server.client();
    for user in [&mut house.alice, &mut house.tablet, &mut house.bob, &mut house.carol] {
        let text = json!({ "access_token": user.token(), "user_id": user.id, "device_id": user.device });
        *user = User::from_answer(&client, &text);
    }
    let (alice, bob, carol, hall) = (&house.alice, &house.bob, &house.carol, &house.hall);
    house.since = bob.syncer().next().await["next_batch"].as_str().expect("a token").to_owned();
    let target = bob.say(hall, "to be redacted").await;
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    bob.put(path, &[hall, &target, "r1"]).json(json!({ "reason": "spam" })).await.ok();
    let liked = alice.say(hall, "to be liked").await;
    let relation = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": liked, "key": "+" } });
    bob.send(hall, "m.reaction", relation).await;
    bob.send(
        hall,
        "m.room.message",
        json!({
            "msgtype": "m.text", "body": "alice: look", "m.mentions": { "user_ids": [alice.id] }
        }),
    )
    .await;
    alice.change_power_levels(hall, |levels| levels["users"][&bob.id] = json!(50)).await;
    alice.set_state(hall, "m.room.history_visibility", "", json!({ "history_visibility": "joined" })).await;
    let body = json!({ "user_id": carol.id, "reason": "enough" });
    alice.post("/_matrix/client/v3/rooms/{roomId}/kick", &[hall]).json(body).await.ok();
    house.secret = alice
        .create_room(json!({
            "preset": "private_chat", "name": "Secret", "invite": [bob.id],
            "initial_state": [{ "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]
        }))
        .await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";
    alice.put(path, &[&alice.id, hall, "m.favourite"]).json(json!({ "order": 0.5 })).await.ok();
    let body = json!({ "messages": { bob.id.clone(): { bob.device.clone(): { "n": 1 } } } });
    let path = "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}";
    alice.put(path, &["org.example.x", "d1"]).json(body).await.ok();
    let claim = json!({ "one_time_keys": { alice.id.clone(): { alice.device.clone(): "signed_curve25519" } } });
    bob.post("/_matrix/client/v3/keys/claim", &[]).json(claim).await.ok();
    let text = json!({ "msgtype": "m.text", "body": "sent twice" });
    let sent = alice.put(crate::SEND, &[hall, "m.room.message", "repeated"]).json(text).await.ok();
    house.repeated = sent["event_id"].as_str().expect("an event id").to_owned();
    let path = "/_matrix/client/v3/rooms/{roomId}/messages";
    let page = alice.get(path, &[hall]).query(&[("dir", "b"), ("limit", "10")]).await.ok();
    house.page = page["end"].as_str().expect("more").to_owned();
}

fn get(who: &str, path: String, query: Value) -> Value {
    json!({ "who": who, "method": "GET", "path": format!("/_matrix/client/v3{path}"), "query": query })
}

/// What is asked about it, of the version that made it and of every later one.
fn requests(house: &House) -> Vec<Value> {
    let [alice, bob, carol] = [&house.alice.id, &house.bob.id, &house.carol.id].map(|id| encode(id));
    let [hall, secret, old] = [&house.hall, &house.secret, &house.old].map(|room| encode(room));
    let mut asked = Vec::new();
    for who in ["alice", "tablet", "bob", "carol"] {
        asked.push(get(who, "/account/whoami".into(), json!({})));
        asked.push(get(who, "/joined_rooms".into(), json!({})));
        asked.push(get(who, "/devices".into(), json!({})));
        asked.push(get(who, "/sync".into(), json!({ "timeout": "0" })));
    }
    asked.push(get("bob", "/sync".into(), json!({ "timeout": "0", "since": house.since })));
    asked.push(get("bob", "/keys/changes".into(), json!({ "from": house.since, "to": house.since })));
    asked.push(get("alice", format!("/user/{alice}/filter/0"), json!({})));
    asked.push(get("alice", format!("/user/{alice}/account_data/org.example.data"), json!({})));
    asked.push(get("alice", format!("/user/{alice}/rooms/{hall}/tags"), json!({})));
    asked.push(get("alice", "/room_keys/version".into(), json!({})));
    asked.push(get("alice", "/room_keys/keys".into(), json!({ "version": "1" })));
    for user in [&alice, &bob, &carol] {
        asked.push(get("bob", format!("/profile/{user}"), json!({})));
    }
    asked.push(get("bob", format!("/directory/room/{}", encode("#hall:depesche.test")), json!({})));
    for (who, room) in [("alice", &hall), ("bob", &hall), ("carol", &hall), ("alice", &secret), ("bob", &old)] {
        asked.push(get(who, format!("/rooms/{room}/state"), json!({})));
        asked.push(get(who, format!("/rooms/{room}/members"), json!({})));
        asked.push(get(who, format!("/rooms/{room}/messages"), json!({ "dir": "f", "limit": "100" })));
    }
    asked.push(get("alice", format!("/rooms/{hall}/messages"), json!({ "dir": "b", "from": house.page })));
    asked.push(get("alice", format!("/rooms/{hall}/joined_members"), json!({})));
    asked.push(get("alice", format!("/rooms/{hall}/aliases"), json!({})));
    asked.push(get("bob", format!("/rooms/{hall}/context/{}", encode(&house.repeated)), json!({})));
    asked.push(get("carol", format!("/rooms/{old}/messages"), json!({ "dir": "b" })));
    asked.push(json!({
        "who": "bob", "method": "POST", "path": "/_matrix/client/v3/keys/query", "query": {},
        "body": { "device_keys": { house.alice.id.clone(): [], house.bob.id.clone(): [] } }
    }));
    asked
}
