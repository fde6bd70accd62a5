//! Looking into one room. Client-server API, "Room previews", `/rooms/{roomId}/initialSync`.

use depesche_spec_tests::prelude::*;

fn is_listed_as(shown: &Value, visibility: &str) {
    differs(
        "client-server-api#get_matrixclientv3roomsroomidinitialsync",
        || assert_eq!(shown["visibility"], visibility, "{shown}"),
        || assert_eq!(shown["visibility"], Value::Null, "{shown}"),
    );
}

#[tokio::test]
async fn a_member_is_shown_the_room() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    alice.put(path, &[&alice.id, &room, "org.example.note"]).json(json!({ "a": 1 })).await.ok();
    let (first, last) = (alice.say(&room, "one").await, alice.say(&room, "two").await);
    let shown = alice.get("/_matrix/client/v3/rooms/{roomId}/initialSync", &[&room]).await.ok();
    assert_eq!((&shown["room_id"], &shown["membership"]), (&json!(room), &json!("join")));
    is_listed_as(&shown, "private");
    let state = shown["state"].as_array().expect("state");
    assert!(state.iter().any(|event| event["type"] == "m.room.create"), "{shown}");
    let chunk = shown["messages"]["chunk"].as_array().expect("a chunk");
    let ids: Vec<_> = chunk.iter().rev().take(2).map(|event| event["event_id"].as_str().expect("an id")).collect();
    assert_eq!(ids, [&last, &first], "in the order of the room");
    assert!(shown["messages"]["end"].is_string(), "{shown}");
    let data = shown["account_data"].as_array().expect("account data");
    assert!(data.iter().any(|event| event["type"] == "org.example.note"), "{shown}");
}

#[tokio::test]
async fn the_messages_of_a_room_go_on_from_its_tokens() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for n in 0..30 {
        alice.say(&room, &n.to_string()).await;
    }
    let shown = alice.get("/_matrix/client/v3/rooms/{roomId}/initialSync", &[&room]).await.ok();
    let first = shown["messages"]["chunk"][0]["content"]["body"].as_str().expect("a message").to_owned();
    let query = [("dir", "b"), ("limit", "1"), ("from", shown["messages"]["start"].as_str().expect("a token"))];
    let page = alice.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
    let before: u32 = page["chunk"][0]["content"]["body"].as_str().expect("a message").parse().expect("a number");
    assert_eq!(first, (before + 1).to_string());
}

#[tokio::test]
async fn a_stranger_is_shown_open_rooms_alone() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let closed = alice.public_room().await;
    bob.get("/_matrix/client/v3/rooms/{roomId}/initialSync", &[&closed]).await.error(403, "M_FORBIDDEN");
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } }]);
    let open = alice.create_room(json!({ "initial_state": state, "visibility": "public" })).await;
    let said = alice.say(&open, "hello").await;
    let shown = bob.get("/_matrix/client/v3/rooms/{roomId}/initialSync", &[&open]).await.ok();
    is_listed_as(&shown, "public");
    assert!(shown.get("membership").is_none_or(Value::is_null), "{shown}");
    let chunk = shown["messages"]["chunk"].as_array().expect("a chunk");
    assert!(chunk.iter().any(|event| event["event_id"] == json!(said)), "{shown}");
}
