//! The event stream of before `/sync`. Client-server API, "Room previews" and "Syncing", `/events` and `/initialSync`.

use std::time::{Duration, Instant};

use depesche_spec_tests::prelude::*;

/// Listens once: what came of an answer, and where the next one begins.
async fn listen(user: &User, from: &str, room: Option<&str>, timeout: &str) -> (Vec<Value>, String) {
    let mut query = vec![("from", from), ("timeout", timeout)];
    query.extend(room.map(|room| ("room_id", room)));
    let heard = user.get("/_matrix/client/v3/events", &[]).query(&query).await.ok();
    assert_eq!(heard["start"], from, "{heard}");
    let chunk = heard["chunk"].as_array().unwrap_or_else(|| panic!("no chunk: {heard}"));
    // Presence may be among them, which is no event of a room.
    let events = chunk.iter().filter(|event| event["event_id"].is_string()).cloned().collect();
    (events, heard["end"].as_str().expect("a token").to_owned())
}

/// Listens until there are so many events that are not of this room's making.
async fn hear(user: &User, from: &str, room: Option<&str>, wanted: &[String]) -> Vec<Value> {
    let (mut all, mut from, until) = (Vec::new(), from.to_owned(), Instant::now() + Duration::from_secs(40));
    while wanted.iter().any(|id| !all.iter().any(|event: &Value| event["event_id"] == json!(id))) {
        assert!(Instant::now() < until, "not heard: {wanted:?} in {all:?}");
        let (events, end) = listen(user, &from, room, "5000").await;
        all.extend(events);
        from = end;
    }
    all
}

/// From where on to listen.
async fn now(user: &User) -> String {
    let first = user.get("/_matrix/client/v3/initialSync", &[]).query(&[("limit", "1")]).await.ok();
    first["end"].as_str().expect("a token").to_owned()
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().filter_map(|event| event["event_id"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn what_is_said_is_heard_in_its_order() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (one, two) = (alice.public_room().await, alice.public_room().await);
    bob.join(&one).await;
    bob.join(&two).await;
    let from = now(&bob).await;
    let mut said = Vec::new();
    for n in 0..8 {
        said.push(alice.say(if n % 2 == 0 { &one } else { &two }, &n.to_string()).await);
    }
    let heard = hear(&bob, &from, None, &said).await;
    assert_eq!(ids(&heard), said);
    let first = &heard[0];
    assert_eq!((&first["room_id"], &first["sender"]), (&json!(one), &json!(alice.id)), "{first}");
    assert_eq!((&first["type"], &first["content"]["body"]), (&json!("m.room.message"), &json!("0")), "{first}");
}

#[tokio::test]
async fn many_events_are_heard_in_parts() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let from = now(&bob).await;
    let mut said = Vec::new();
    for n in 0..120 {
        said.push(alice.say(&room, &n.to_string()).await);
    }
    let heard = hear(&bob, &from, None, &said).await;
    assert_eq!(ids(&heard), said, "each once, and all in their order");
}

#[tokio::test]
async fn who_listens_is_told_at_once() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let from = now(&bob).await;
    let began = Instant::now();
    let (heard, said) = tokio::join!(listen(&bob, &from, None, "30000"), async {
        // Long enough that most often the listener is there first; the outcome is the same.
        tokio::task::yield_now().await;
        alice.say(&room, "hello").await
    });
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(ids(&heard.0), [said]);
}

#[tokio::test]
async fn where_nothing_comes_the_wait_ends() {
    let alice = shared().user("alice").await;
    alice.public_room().await;
    let from = now(&alice).await;
    let (heard, end) = listen(&alice, &from, None, "0").await;
    assert!(heard.is_empty(), "{heard:?}");
    let (heard, _) = listen(&alice, &end, None, "600").await;
    assert!(heard.is_empty(), "{heard:?}");
}

#[tokio::test]
async fn who_is_invited_and_who_leaves_hears_of_it() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let from = now(&bob).await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    alice.say(&room, "before").await;
    alice.invite(&room, &bob).await;
    let mut state = alice.get("/_matrix/client/v3/rooms/{roomId}/state", &[&room]).await.ok();
    let events = state.as_array_mut().expect("state");
    let invite = events.iter().find(|event| event["state_key"] == bob.id.as_str()).expect("the invite");
    let invite = invite["event_id"].as_str().expect("an id").to_owned();
    let heard = hear(&bob, &from, None, std::slice::from_ref(&invite)).await;
    assert_eq!(ids(&heard), [invite], "nothing else of the room");
    bob.join(&room).await;
    let from = now(&bob).await;
    bob.leave(&room).await;
    alice.say(&room, "after").await;
    let (heard, _) = listen(&bob, &from, None, "5000").await;
    let of = |event: &Value| (event["state_key"].clone(), event["content"]["membership"].clone());
    let told: Vec<_> = heard.iter().map(of).collect();
    assert_eq!(told, [(json!(bob.id), json!("leave"))], "nothing from behind it");
}

#[tokio::test]
async fn a_room_that_everyone_may_read_is_listened_to() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } }]);
    let open = alice.create_room(json!({ "initial_state": state })).await;
    let other = bob.public_room().await;
    let from = now(&bob).await;
    bob.say(&other, "elsewhere").await;
    let said = alice.say(&open, "hello").await;
    let heard = hear(&bob, &from, Some(&open), std::slice::from_ref(&said)).await;
    assert_eq!(ids(&heard), [said]);
    assert_eq!(heard[0]["room_id"], json!(open));
    let closed = alice.public_room().await;
    let query = [("from", from.as_str()), ("timeout", "0"), ("room_id", closed.as_str())];
    bob.get("/_matrix/client/v3/events", &[]).query(&query).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_wrong_token_is_refused() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/events", &[]).query(&[("from", "nonsense"), ("timeout", "0")]).await;
    answer.error_in(400, &["M_INVALID_PARAM", "M_UNKNOWN"]);
    shared().client().get("/_matrix/client/v3/events", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn an_event_is_shown_by_its_id_alone() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    let said = alice.say(&room, "hello").await;
    let shown = alice.get("/_matrix/client/v3/events/{eventId}", &[&said]).await.ok();
    assert_eq!((&shown["event_id"], &shown["room_id"]), (&json!(said), &json!(room)), "{shown}");
    assert_eq!(shown["content"]["body"], "hello", "{shown}");
    let hidden = bob.get("/_matrix/client/v3/events/{eventId}", &[&said]).await;
    differs(
        "client-server-api#get_matrixclientv3eventseventid",
        || drop(hidden.clone().error(404, "M_NOT_FOUND")),
        || drop(hidden.clone().error(403, "M_FORBIDDEN")),
    );
    let unknown = alice.get("/_matrix/client/v3/events/{eventId}", &["$unknown"]).await;
    differs(
        "client-server-api#standard-error-response",
        || drop(unknown.clone().error(404, "M_NOT_FOUND")),
        || assert_eq!(unknown.clone().status(404), "Event not found."),
    );
    let path = "/_matrix/client/v3/events/{eventId}";
    shared().client().get(path, &[&said]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn all_rooms_are_shown_at_first() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (open, left) = (alice.public_room().await, alice.public_room().await);
    bob.join(&open).await;
    bob.join(&left).await;
    let (first, second) = (alice.say(&open, "one").await, alice.say(&open, "two").await);
    bob.leave(&left).await;
    alice.say(&left, "not for Bob").await;
    let invited = alice.create_room(json!({ "preset": "private_chat", "invite": [bob.id] })).await;
    let of_room = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    bob.put(of_room, &[&bob.id, &open, "org.example.note"]).json(json!({ "a": 1 })).await.ok();
    let of_user = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    bob.put(of_user, &[&bob.id, "org.example.own"]).json(json!({ "b": 2 })).await.ok();

    let shown = bob.get("/_matrix/client/v3/initialSync", &[]).query(&[("limit", "2")]).await.ok();
    assert!(shown["presence"].is_array() && shown["end"].is_string(), "{shown}");
    let own = shown["account_data"].as_array().expect("account data");
    assert!(own.iter().any(|event| event["type"] == "org.example.own"), "{shown}");
    let rooms = shown["rooms"].as_array().expect("rooms");
    assert_eq!(rooms.len(), 2, "{shown}");
    let find = |id: &str| rooms.iter().find(|room| room["room_id"] == json!(id)).expect("the room");
    let joined = find(&open);
    assert_eq!((&joined["membership"], &joined["visibility"]), (&json!("join"), &json!("private")), "{joined}");
    assert_eq!(ids(joined["messages"]["chunk"].as_array().expect("a chunk")), [first, second], "{joined}");
    let state = joined["state"].as_array().expect("state");
    assert!(state.iter().any(|event| event["type"] == "m.room.create"), "{joined}");
    let data = joined["account_data"].as_array().expect("account data");
    assert!(data.iter().any(|event| event["type"] == "org.example.note"), "{joined}");
    let before = joined["messages"]["start"].as_str().expect("a token");
    let query = [("dir", "b"), ("limit", "1"), ("from", before)];
    let page = bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&open]).query(&query).await.ok();
    assert_eq!(page["chunk"][0]["state_key"], json!(bob.id), "what is before them: {page}");
    let invite = find(&invited);
    assert_eq!((&invite["membership"], &invite["invite"]["state_key"]), (&json!("invite"), &json!(bob.id)), "{invite}");
    assert!(invite.get("messages").is_none(), "{invite}");

    let query = [("limit", "1"), ("archived", "true")];
    let shown = bob.get("/_matrix/client/v3/initialSync", &[]).query(&query).await.ok();
    let rooms = shown["rooms"].as_array().expect("rooms");
    let archived = rooms.iter().find(|room| room["room_id"] == json!(left)).expect("the room that was left");
    assert_eq!(archived["membership"], "leave");
    let last = archived["messages"]["chunk"].as_array().expect("a chunk").last().expect("an event");
    assert_eq!(last["state_key"], json!(bob.id), "{archived}");
    shared().client().get("/_matrix/client/v3/initialSync", &[]).await.error(401, "M_MISSING_TOKEN");
}
