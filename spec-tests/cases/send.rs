//! Sending events, setting state, redacting, transaction ids. Client-server API, "Sending events to a room",
//! "Redactions", "Transaction identifiers".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::txn;

const SEND: &str = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
const STATE: &str = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";

fn text(body: &str) -> Value {
    json!({ "msgtype": "m.text", "body": body })
}

async fn event(user: &User, room: &str, id: &str) -> Value {
    user.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[room, id]).await.ok()
}

/// The bodies of all messages of the room, oldest first.
async fn history(user: &User, room: &str) -> Vec<String> {
    let query = [("dir", "f"), ("limit", "100")];
    let page = user.get("/_matrix/client/v3/rooms/{roomId}/messages", &[room]).query(&query).await.ok();
    let chunk = page["chunk"].as_array().expect("a chunk");
    chunk.iter().filter_map(|event| event["content"]["body"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_message_is_kept_as_it_was_sent() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let content =
        json!({ "msgtype": "m.text", "body": "Grüße 👋", "org.example.key": { "list": [1, null, true, "x"] } });
    let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let answer = alice.put(path, &[&room, "m.room.message", &txn()]).json(content.clone()).await.ok();
    let event = event(&alice, &room, answer["event_id"].as_str().expect("an event id")).await;
    assert_eq!(
        (&event["content"], &event["type"], &event["sender"]),
        (&content, &json!("m.room.message"), &json!(alice.id))
    );
    assert_eq!(event["room_id"], room);
    assert!(event["origin_server_ts"].as_u64().expect("a time") > 1_600_000_000_000);
    assert!(event.get("state_key").is_none(), "{event}");
}

#[tokio::test]
async fn events_for_clients_have_nothing_of_the_federation() {
    let alice = shared().user("alice").await;
    for version in ["10", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let event = event(&alice, &room, &alice.say(&room, "hello").await).await;
        for key in ["hashes", "signatures", "auth_events", "prev_events", "depth"] {
            assert!(event.get(key).is_none(), "{key}: {event}");
        }
    }
}

#[tokio::test]
async fn any_event_type_can_be_sent() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    // The last has a stable name as well, and is sent by clients that know it by this one.
    let unstable = "org.matrix.call.sdp_stream_metadata_changed";
    for kind in ["org.example.thing", "with space/and slash", "ü", unstable] {
        let id = alice.send(&room, kind, json!({ "a": 1 })).await;
        assert_eq!(event(&alice, &room, &id).await["type"], kind);
    }
}

#[tokio::test]
async fn an_outsider_does_not_send() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.put(SEND, &[&room, "m.room.message", &txn()]).json(text("x")).await.error(403, "M_FORBIDDEN");
    bob.put(STATE, &[&room, "m.room.name", ""]).json(json!({ "name": "x" })).await.error(403, "M_FORBIDDEN");
    assert!(history(&alice, &room).await.is_empty());
}

#[tokio::test]
async fn nobody_sends_to_a_room_that_does_not_exist() {
    let alice = shared().user("alice").await;
    let answer = alice.put(SEND, &["!nothing:depesche.test", "m.room.message", &txn()]).json(text("x")).await;
    answer.error_in(403, &["M_FORBIDDEN"]);
}

#[tokio::test]
async fn sending_needs_the_level_of_the_type() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let body = json!({
        "preset": "public_chat",
        "power_level_content_override": { "events": { "org.example.high": 30 }, "events_default": 0 }
    });
    let room = alice.create_room(body).await;
    bob.join(&room).await;
    bob.say(&room, "allowed").await;
    bob.put(SEND, &[&room, "org.example.high", &txn()]).json(json!({})).await.error(403, "M_FORBIDDEN");
    bob.put(STATE, &[&room, "m.room.topic", ""]).json(json!({ "topic": "x" })).await.error(403, "M_FORBIDDEN");
    alice.change_power_levels(&room, |levels| levels["users"][&bob.id] = json!(50)).await;
    bob.send(&room, "org.example.high", json!({})).await;
    bob.set_state(&room, "m.room.topic", "", json!({ "topic": "x" })).await;
}

#[tokio::test]
async fn a_transaction_sends_once() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let id = txn();
    let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let first = alice.put(path, &[&room, "m.room.message", &id]).json(text("once")).await.ok();
    let second = alice.put(path, &[&room, "m.room.message", &id]).json(text("once")).await.ok();
    assert_eq!(first["event_id"], second["event_id"]);
    assert_eq!(history(&alice, &room).await, ["once"]);
}

#[tokio::test]
async fn the_same_transaction_at_the_same_time_sends_once() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let id = txn();
    let send = || alice.put(SEND, &[&room, "m.room.message", &id]).json(text("once")).into_future();
    let (first, second, third) = tokio::join!(send(), send(), send());
    let first = first.ok();
    assert_eq!(first["event_id"], second.ok()["event_id"]);
    assert_eq!(first["event_id"], third.ok()["event_id"]);
    assert_eq!(history(&alice, &room).await, ["once"]);
}

#[tokio::test]
async fn a_transaction_id_belongs_to_the_device() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let room = alice.public_room().await;
    let id = txn();
    let first = alice.put(SEND, &[&room, "m.room.message", &id]).json(text("one")).await.ok();
    let second = other.put(SEND, &[&room, "m.room.message", &id]).json(text("two")).await.ok();
    assert_ne!(first["event_id"], second["event_id"]);
    assert_eq!(history(&alice, &room).await, ["one", "two"]);
}

#[tokio::test]
async fn a_transaction_id_belongs_to_the_path() {
    let alice = shared().user("alice").await;
    let (here, there) = (alice.public_room().await, alice.public_room().await);
    let id = txn();
    let first = alice.put(SEND, &[&here, "m.room.message", &id]).json(text("here")).await.ok();
    let second = alice.put(SEND, &[&there, "m.room.message", &id]).json(text("there")).await.ok();
    let third = alice.put(SEND, &[&here, "org.example.type", &id]).json(text("type")).await.ok();
    assert_ne!(first["event_id"], second["event_id"]);
    differs(
        "client-server-api#transaction-identifiers",
        || assert_ne!(first["event_id"], third["event_id"]),
        || assert_eq!(first["event_id"], third["event_id"]),
    );
}

#[tokio::test]
async fn the_sending_device_sees_its_transaction_id() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let bob = shared().user("bob").await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    let id = txn();
    let sent = alice.put(SEND, &[&room, "m.room.message", &id]).json(text("hello")).await.ok();
    let event_id = sent["event_id"].as_str().expect("an event id");
    let seen = event(&alice, &room, event_id).await;
    assert_eq!(seen["unsigned"]["transaction_id"], id, "{seen}");
    for stranger in [&other, &bob] {
        let seen = event(stranger, &room, event_id).await;
        assert!(seen["unsigned"].get("transaction_id").is_none(), "{seen}");
    }
}

#[tokio::test]
async fn the_order_of_sending_is_the_order_of_the_room() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let texts: Vec<String> = (0..15).map(|n| n.to_string()).collect();
    for text in &texts {
        alice.say(&room, text).await;
    }
    assert_eq!(history(&alice, &room).await, texts);
}

#[tokio::test]
async fn state_is_replaced_by_type_and_key() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for (key, value) in [("", 1), ("a", 2), ("b", 3), ("a", 4)] {
        alice.set_state(&room, "org.example.state", key, json!({ "value": value })).await;
    }
    for (key, value) in [("", 1), ("a", 4), ("b", 3)] {
        assert_eq!(alice.state(&room, "org.example.state", key).await["value"], value, "key {key:?}");
    }
}

#[tokio::test]
async fn the_empty_state_key_may_be_left_out() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = format!("/_matrix/client/v3/rooms/{room}/state/m.room.name");
    alice.put(&path, &[]).json(json!({ "name": "without slash" })).await.ok();
    assert_eq!(alice.get(&path, &[]).await.ok()["name"], "without slash");
    let path = format!("{path}/");
    assert_eq!(alice.get(&path, &[]).await.ok()["name"], "without slash");
    alice.put(&path, &[]).json(json!({ "name": "with slash" })).await.ok();
    assert_eq!(alice.state(&room, "m.room.name", "").await["name"], "with slash");
}

#[tokio::test]
async fn the_same_state_again_is_the_same_event() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let first = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" })).await;
    let second = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" })).await;
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_state_event_tells_what_it_replaced() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let first = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "one" })).await;
    let second = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "two" })).await;
    let sync = alice.syncer().next().await;
    let event = RoomSync::joined(&sync, &room).timeline().last().expect("an event");
    assert_eq!((&event["event_id"], &event["state_key"]), (&json!(second), &json!("")));
    assert_eq!(event["unsigned"]["prev_content"]["topic"], "one", "{event}");
    assert_eq!(event["unsigned"]["replaces_state"], first, "{event}");
}

#[tokio::test]
async fn a_state_key_with_the_name_of_another_user_is_protected() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    alice.change_power_levels(&room, |levels| levels["users"][&bob.id] = json!(100)).await;
    bob.put(STATE, &[&room, "org.example.state", &alice.id]).json(json!({})).await.error(403, "M_FORBIDDEN");
    bob.set_state(&room, "org.example.state", &bob.id, json!({})).await;
}

#[tokio::test]
async fn nobody_raises_levels_above_his_own() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let member = bob.id.clone();
    alice
        .change_power_levels(&room, |levels| {
            levels["users"][&member] = json!(60);
            levels["events"]["m.room.power_levels"] = json!(60);
        })
        .await;
    let levels = bob.state(&room, "m.room.power_levels", "").await;
    for (key, value) in [("ban", json!(61)), ("users", json!({ member.clone(): 61 }))] {
        let mut changed = levels.clone();
        changed[key] = value;
        bob.put(STATE, &[&room, "m.room.power_levels", ""]).json(changed).await.error(403, "M_FORBIDDEN");
    }
    let mut allowed = levels;
    allowed["kick"] = json!(60);
    bob.set_state(&room, "m.room.power_levels", "", allowed).await;
}

#[tokio::test]
async fn power_levels_are_whole_numbers_from_version_10_on() {
    let alice = shared().user("alice").await;
    for version in ["10", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let mut levels = alice.state(&room, "m.room.power_levels", "").await;
        levels["ban"] = json!("50");
        let answer = alice.put(STATE, &[&room, "m.room.power_levels", ""]).json(levels).await;
        assert!([400, 403].contains(&answer.status), "version {version}: {answer}");
    }
}

#[tokio::test]
async fn the_create_event_is_not_sent_again() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let answer = alice.put(STATE, &[&room, "m.room.create", ""]).json(json!({ "room_version": "11" })).await;
    assert!([400, 403].contains(&answer.status), "{answer}");
}

#[tokio::test]
async fn a_redaction_takes_the_content_away() {
    let alice = shared().user("alice").await;
    for version in ["6", "10", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let id = alice.say(&room, "secret").await;
        let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
        let answer = alice.put(path, &[&room, &id, &txn()]).json(json!({ "reason": "mistake" })).await.ok();
        let redaction = answer["event_id"].as_str().expect("an event id");
        let seen = event(&alice, &room, &id).await;
        assert_eq!(seen["content"], json!({}), "version {version}: {seen}");
        assert_eq!(seen["unsigned"]["redacted_because"]["event_id"], redaction, "version {version}: {seen}");
        assert_eq!(seen["unsigned"]["redacted_by"], redaction, "version {version}: {seen}");
        let seen = event(&alice, &room, redaction).await;
        assert_eq!(seen["content"]["reason"], "mistake");
        // Both places for every version, so that a client needs to know one only.
        assert_eq!(seen["redacts"], id, "version {version}: {seen}");
        if ["11", "12"].contains(&version) {
            assert_eq!(seen["content"]["redacts"], id, "version {version}: {seen}");
        }
    }
}

#[tokio::test]
async fn a_redaction_can_be_sent_as_an_event() {
    let alice = shared().user("alice").await;
    for version in ["11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let id = alice.say(&room, "secret").await;
        alice.send(&room, "m.room.redaction", json!({ "redacts": id })).await;
        assert_eq!(event(&alice, &room, &id).await["content"], json!({}), "version {version}");
    }
}

#[tokio::test]
async fn a_redaction_can_be_sent_as_an_event_in_older_versions_too() {
    let alice = shared().user("alice").await;
    let room = alice.create_room(json!({ "room_version": "10" })).await;
    let id = alice.say(&room, "secret").await;
    let answer = alice.put(SEND, &[&room, "m.room.redaction", &txn()]).json(json!({ "redacts": id })).await;
    let after = event(&alice, &room, &id).await["content"].clone();
    differs(
        "client-server-api#redactions",
        || assert_eq!((answer.status, &after), (200, &json!({}))),
        || assert_eq!((answer.status, &after["body"]), (500, &json!("secret"))),
    );
}

#[tokio::test]
async fn what_a_redaction_keeps_depends_on_the_version() {
    let alice = shared().user("alice").await;
    for (version, keeps) in [("10", false), ("11", true)] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let mut levels = alice.state(&room, "m.room.power_levels", "").await;
        levels["invite"] = json!(40);
        let id = alice.set_state(&room, "m.room.power_levels", "", levels).await;
        let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
        alice.put(path, &[&room, &id, &txn()]).json(json!({})).await.ok();
        let seen = event(&alice, &room, &id).await;
        assert_eq!(seen["content"].get("invite").is_some(), keeps, "version {version}: {seen}");
        assert!(seen["content"]["users"].is_object(), "version {version}: {seen}");
    }
}

#[tokio::test]
async fn people_redact_their_own_and_moderators_all() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let (of_alice, of_bob) = (alice.say(&room, "by alice").await, bob.say(&room, "by bob").await);
    let another = bob.say(&room, "by bob again").await;
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    bob.put(path, &[&room, &of_alice, &txn()]).json(json!({})).await.error(403, "M_FORBIDDEN");
    bob.put(path, &[&room, &of_bob, &txn()]).json(json!({})).await.ok();
    alice.put(path, &[&room, &another, &txn()]).json(json!({})).await.ok();
    assert_eq!(history(&alice, &room).await, ["by alice"]);
}

#[tokio::test]
async fn a_redaction_is_once_per_transaction() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let (id, transaction) = (alice.say(&room, "secret").await, txn());
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    let first = alice.put(path, &[&room, &id, &transaction]).json(json!({})).await.ok();
    let second = alice.put(path, &[&room, &id, &transaction]).json(json!({})).await.ok();
    assert_eq!(first["event_id"], second["event_id"]);
}

#[tokio::test]
async fn a_duplicate_reaction_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let id = alice.say(&room, "hello").await;
    let content = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": id, "key": "👍" } });
    alice.send(&room, "m.reaction", content.clone()).await;
    let answer = alice.put(SEND, &[&room, "m.reaction", &txn()]).json(content).await;
    answer.error(400, "M_DUPLICATE_ANNOTATION");
}

#[tokio::test]
async fn redacted_state_leaves_its_key_with_nothing() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let id = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "secret" })).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    alice.put(path, &[&room, &id, &txn()]).json(json!({})).await.ok();
    assert_eq!(alice.state(&room, "m.room.topic", "").await, json!({}));
}

#[tokio::test]
async fn a_message_without_type_or_text_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for content in
        [json!({}), json!({ "body": "x" }), json!({ "msgtype": "m.text" }), json!({ "msgtype": "m.text", "body": 5 })]
    {
        let answer = alice.put(SEND, &[&room, "m.room.message", &txn()]).json(content).await;
        answer.error_in(400, &["M_BAD_JSON", "M_UNKNOWN"]);
    }
    // What others make of their own types is theirs.
    alice.send(&room, "org.example.message", json!({})).await;
}

#[tokio::test]
async fn what_a_room_rests_on_is_not_redacted() {
    let alice = shared().user("alice").await;
    for version in ["10", "11"] {
        let state = json!([{ "type": "m.room.server_acl", "content": { "allow": ["*"] } }]);
        let room = alice.create_room(json!({ "room_version": version, "initial_state": state })).await;
        for kind in ["m.room.create", "m.room.server_acl"] {
            let query = [("format", "event")];
            let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
            let event = alice.get(path, &[&room, kind, ""]).query(&query).await.ok();
            let id = event["event_id"].as_str().expect("an id");
            let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
            alice.put(path, &[&room, id, &txn()]).json(json!({})).await.error(403, "M_FORBIDDEN");
        }
    }
}

#[tokio::test]
async fn a_room_keeps_its_own_server() {
    let alice = shared().user("alice").await;
    let room = alice.create_room(json!({})).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    for content in [json!({ "allow": ["other.example"] }), json!({ "allow": ["*"], "deny": ["*"] })] {
        alice.put(path, &[&room, "m.room.server_acl", ""]).json(content).await.status(400);
    }
    let content = json!({ "allow": ["*"], "deny": ["evil.example"] });
    alice.put(path, &[&room, "m.room.server_acl", ""]).json(content).await.ok();
}

#[tokio::test]
async fn what_is_to_be_sent_later_is_not_sent_at_once() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let delay = [("org.matrix.msc4140.delay", "1000")];
    let message = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let body = json!({ "msgtype": "m.text", "body": "later" });
    let sent = alice.put(message, &[&room, "m.room.message", &txn()]).query(&delay).json(body).await;
    let state = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    let set = alice.put(state, &[&room, "org.example.state", "x"]).query(&delay).json(json!({ "x": 1 })).await;
    // The specification has no such field: the answers are each server's own.
    for answer in [sent, set] {
        assert!(matches!(answer.status, 400 | 403), "{answer}");
    }
    assert_eq!(history(&alice, &room).await, Vec::<String>::new());
    alice.get(state, &[&room, "org.example.state", "x"]).await.error(404, "M_NOT_FOUND");
}
