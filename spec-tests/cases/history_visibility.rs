//! Who sees which part of the past. Client-server API, "Room history visibility".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::txn;

/// What bob sees of a room with this visibility in which he was absent, invited, joined, and absent again.
async fn what_bob_sees(visibility: &str) -> Vec<String> {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": visibility } }]);
    let room = alice.create_room(json!({ "initial_state": state })).await;
    let mut ids = vec![("absent", alice.say(&room, "absent").await)];
    alice.invite(&room, &bob).await;
    ids.push(("invited", alice.say(&room, "invited").await));
    bob.join(&room).await;
    ids.push(("joined", alice.say(&room, "joined").await));
    let mut by_id = Vec::new();
    for (text, id) in ids {
        let event = bob.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, &id]).await;
        if event.status == 200 {
            by_id.push(text.to_owned());
        } else {
            event.error(404, "M_NOT_FOUND");
        }
    }
    bob.leave(&room).await;
    alice.say(&room, "left").await;
    let query = [("dir", "b"), ("limit", "50")];
    let page = bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
    let chunk = page["chunk"].as_array().expect("a chunk");
    let seen: Vec<String> =
        chunk.iter().rev().filter_map(|e| e["content"]["body"].as_str()).map(str::to_owned).collect();
    assert_eq!(seen.iter().filter(|text| *text != "left").collect::<Vec<_>>(), by_id.iter().collect::<Vec<_>>());
    seen
}

#[tokio::test]
async fn the_reason_of_a_redaction_is_for_who_may_see_the_redaction() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    for version in ["10", "12"] {
        let room = alice.create_room(json!({ "preset": "public_chat", "room_version": version })).await;
        bob.join(&room).await;
        let said = alice.say(&room, "gone").await;
        bob.leave(&room).await;
        let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
        let body = json!({ "reason": "not for bob" });
        let redaction = alice.put(path, &[&room, &said, &txn()]).json(body).await.ok()["event_id"].clone();
        for (user, may) in [(&alice, true), (&bob, false)] {
            let event = user.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, &said]).await.ok();
            assert_eq!(event["content"], json!({}), "{event}");
            let because = &event["unsigned"]["redacted_because"];
            assert_eq!(because["event_id"], redaction, "{event}");
            let reason = because["content"].get("reason").is_some();
            differs(
                "client-server-api#room-history-visibility",
                || assert_eq!(reason, may, "{event}"),
                || assert!(reason),
            );
        }
    }
}

#[tokio::test]
async fn world_readable_shows_everything() {
    let seen = what_bob_sees("world_readable").await;
    differs(
        "client-server-api#room-history-visibility",
        || assert_eq!(seen, ["absent", "invited", "joined", "left"]),
        || assert_eq!(seen, ["absent", "invited", "joined"]),
    );
}

#[tokio::test]
async fn shared_shows_what_was_before_leaving() {
    assert_eq!(what_bob_sees("shared").await, ["absent", "invited", "joined"]);
}

#[tokio::test]
async fn invited_shows_what_was_from_the_invite_on() {
    assert_eq!(what_bob_sees("invited").await, ["invited", "joined"]);
}

#[tokio::test]
async fn joined_shows_what_was_while_joined() {
    assert_eq!(what_bob_sees("joined").await, ["joined"]);
}

#[tokio::test]
async fn a_stranger_reads_a_world_readable_room() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } }]);
    let room = alice.create_room(json!({ "initial_state": state, "name": "Open" })).await;
    let id = alice.say(&room, "hello").await;
    let query = [("dir", "b"), ("limit", "1")];
    let page = bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
    assert_eq!(page["chunk"][0]["content"]["body"], "hello");
    assert_eq!(bob.state(&room, "m.room.name", "").await["name"], "Open");
    bob.get("/_matrix/client/v3/rooms/{roomId}/state", &[&room]).await.ok();
    bob.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, &id]).await.ok();
}

#[tokio::test]
async fn a_visibility_counts_from_its_event_on() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }]);
    let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": state })).await;
    alice.say(&room, "hidden").await;
    let shared_now = json!({ "history_visibility": "shared" });
    alice.set_state(&room, "m.room.history_visibility", "", shared_now).await;
    alice.say(&room, "open").await;
    let hidden_now = json!({ "history_visibility": "joined" });
    alice.set_state(&room, "m.room.history_visibility", "", hidden_now).await;
    alice.say(&room, "hidden again").await;
    bob.join(&room).await;
    let query = [("dir", "b"), ("limit", "50")];
    let page = bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
    let chunk = page["chunk"].as_array().expect("a chunk");
    let bodies: Vec<_> = chunk.iter().filter_map(|event| event["content"]["body"].as_str()).collect();
    assert_eq!(bodies, ["open"]);
    // The event that changes the visibility is seen if either side of it allows.
    let changes = chunk.iter().filter(|event| event["type"] == "m.room.history_visibility").count();
    // Before the first there was none, which means shared.
    assert_eq!(changes, 3, "{page}");
}

#[tokio::test]
async fn the_first_sync_after_a_join_hides_what_was_before() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }]);
    let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": state })).await;
    alice.say(&room, "hidden").await;
    bob.join(&room).await;
    alice.say(&room, "shown").await;
    let sync = bob.syncer().next().await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.bodies(), ["shown"]);
    assert!(view.find("state", "m.room.create", "").is_some() || view.find("timeline", "m.room.create", "").is_some());
}

#[tokio::test]
async fn one_who_comes_back_does_not_see_what_was_between() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }]);
    let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": state })).await;
    bob.join(&room).await;
    alice.say(&room, "first").await;
    bob.leave(&room).await;
    alice.say(&room, "between").await;
    bob.join(&room).await;
    alice.say(&room, "second").await;
    let query = [("dir", "f"), ("limit", "50")];
    let page = bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
    let chunk = page["chunk"].as_array().expect("a chunk");
    let bodies: Vec<_> = chunk.iter().filter_map(|event| event["content"]["body"].as_str()).collect();
    assert_eq!(bodies, ["first", "second"]);
}

#[tokio::test]
async fn the_context_hides_what_the_visibility_hides() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }]);
    let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": state })).await;
    alice.say(&room, "hidden").await;
    bob.join(&room).await;
    let id = alice.say(&room, "shown").await;
    let context = bob.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", &[&room, &id]).await.ok();
    let before = context["events_before"].as_array().expect("events");
    assert!(!before.iter().any(|event| event["content"]["body"] == "hidden"), "{context}");
}
