//! Threads: aggregations, the list of a room's threads. Client-server API, "Threading".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::txn;

async fn reply(user: &User, room: &str, root: &str, text: &str) -> String {
    let relates_to = json!({ "rel_type": "m.thread", "event_id": root });
    let content = json!({ "msgtype": "m.text", "body": text, "m.relates_to": relates_to });
    user.send(room, "m.room.message", content).await
}

async fn redact(user: &User, room: &str, event: &str) {
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    user.put(path, &[room, event, &txn()]).json(json!({})).await.ok();
}

async fn thread(user: &User, room: &str, root: &str) -> Value {
    let event = user.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[room, root]).await.ok();
    event["unsigned"]["m.relations"]["m.thread"].clone()
}

async fn list(user: &User, room: &str, query: &[(&str, &str)]) -> Value {
    user.get("/_matrix/client/v1/rooms/{roomId}/threads", &[room]).query(query).await.ok()
}

fn ids(page: &Value) -> Vec<&str> {
    page["chunk"].as_array().expect("a chunk").iter().map(|event| event["event_id"].as_str().expect("an id")).collect()
}

#[tokio::test]
async fn a_root_tells_of_its_thread() {
    let (alice, bob, carol) = (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    carol.join(&room).await;
    let root = alice.say(&room, "root").await;
    assert_eq!(thread(&alice, &room, &root).await, Value::Null);
    let first = reply(&alice, &room, &root, "one").await;
    let said = thread(&carol, &room, &root).await;
    assert_eq!((&said["count"], &said["current_user_participated"]), (&json!(1), &json!(false)));
    let latest = &said["latest_event"];
    assert_eq!((&latest["event_id"], &latest["content"]["body"]), (&json!(first), &json!("one")));
    assert_eq!(thread(&alice, &room, &root).await["current_user_participated"], true, "the sender of the root");
    let second = reply(&bob, &room, &root, "two").await;
    let said = thread(&bob, &room, &root).await;
    assert_eq!((&said["count"], &said["current_user_participated"]), (&json!(2), &json!(true)));
    assert_eq!(said["latest_event"]["event_id"], json!(second));
    redact(&bob, &room, &second).await;
    let said = thread(&bob, &room, &root).await;
    assert_eq!((&said["count"], &said["latest_event"]["event_id"]), (&json!(1), &json!(first)));
    redact(&alice, &room, &first).await;
    assert_eq!(thread(&bob, &room, &root).await, Value::Null);
}

#[tokio::test]
async fn the_latest_event_of_a_thread_carries_its_own_aggregations() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    let latest = reply(&alice, &room, &root, "one").await;
    let content = json!({
        "msgtype": "m.text", "body": "* two", "m.new_content": { "msgtype": "m.text", "body": "two" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": latest }
    });
    let edit = alice.send(&room, "m.room.message", content).await;
    let said = thread(&alice, &room, &root).await;
    assert_eq!(said["latest_event"]["event_id"], json!(latest));
    assert_eq!(said["latest_event"]["unsigned"]["m.relations"]["m.replace"]["event_id"], json!(edit), "{said}");
}

#[tokio::test]
async fn a_thread_does_not_begin_in_a_thread() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    let child = reply(&alice, &room, &root, "one").await;
    let relates_to = json!({ "rel_type": "m.thread", "event_id": child });
    let content = json!({ "msgtype": "m.text", "body": "two", "m.relates_to": relates_to });
    let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    alice.put(path, &[&room, "m.room.message", &txn()]).json(content).await.error(400, "M_UNKNOWN");
    // A plain reply is about nothing in that sense.
    let content =
        json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": { "m.in_reply_to": { "event_id": root } } });
    let answer = alice.send(&room, "m.room.message", content).await;
    reply(&alice, &room, &answer, "begins").await;
    assert_eq!(thread(&alice, &room, &answer).await["count"], 1);
}

#[tokio::test]
async fn a_room_lists_its_threads_by_their_latest_events() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    assert_eq!(list(&alice, &room, &[]).await, json!({ "chunk": [] }));
    let mut roots = Vec::new();
    for name in ["one", "two", "three"] {
        let root = alice.say(&room, name).await;
        reply(&alice, &room, &root, "first").await;
        roots.push(root);
    }
    alice.say(&room, "no thread").await;
    let whole = list(&alice, &room, &[]).await;
    assert_eq!(ids(&whole), [&roots[2], &roots[1], &roots[0]]);
    assert!(whole.get("next_batch").is_none(), "{whole}");
    assert_eq!(whole["chunk"][0]["unsigned"]["m.relations"]["m.thread"]["count"], 1);
    assert_eq!(whole["chunk"][0]["room_id"], room);
    reply(&bob, &room, &roots[0], "newest").await;
    assert_eq!(ids(&list(&alice, &room, &[]).await), [&roots[0], &roots[2], &roots[1]]);
    assert_eq!(ids(&list(&bob, &room, &[("include", "participated")]).await), [&roots[0]]);
    assert_eq!(ids(&list(&alice, &room, &[("include", "participated")]).await).len(), 3);
    assert_eq!(ids(&list(&bob, &room, &[("include", "all")]).await).len(), 3);
}

#[tokio::test]
async fn the_list_of_threads_comes_in_pages() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let mut roots = Vec::new();
    for name in ["one", "two", "three"] {
        let root = alice.say(&room, name).await;
        reply(&alice, &room, &root, "first").await;
        roots.push(root);
    }
    let first = list(&alice, &room, &[("limit", "2")]).await;
    assert_eq!(ids(&first), [&roots[2], &roots[1]]);
    let token = first["next_batch"].as_str().expect("a token");
    let second = list(&alice, &room, &[("limit", "2"), ("from", token)]).await;
    assert_eq!(ids(&second), [&roots[0]]);
    assert!(second.get("next_batch").is_none(), "{second}");
}

#[tokio::test]
async fn the_list_of_threads_needs_a_token_and_a_number() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v1/rooms/{roomId}/threads";
    for query in [("from", "nonsense"), ("limit", "many"), ("include", "some")] {
        let answer = alice.get(path, &[&room]).query(&[query]).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
    let none = alice.get(path, &[&room]).query(&[("limit", "0")]).await;
    differs(
        "client-server-api#get_matrixclientv1roomsroomidthreads",
        || drop(none.clone().error(400, "M_INVALID_PARAM")),
        || assert_eq!(none.status, 200, "{none}"),
    );
}

#[tokio::test]
async fn a_stranger_lists_no_threads() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    let path = "/_matrix/client/v1/rooms/{roomId}/threads";
    bob.get(path, &[&room]).await.error(403, "M_FORBIDDEN");
    bob.get(path, &["!nothing:depesche.test"]).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn threads_without_the_ignored() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let root = bob.say(&room, "root").await;
    let own = reply(&alice, &room, &root, "mine").await;
    reply(&bob, &room, &root, "theirs").await;
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    let ignored = json!({ "ignored_users": { &bob.id: {} } });
    alice.put(path, &[&alice.id, "m.ignored_user_list"]).json(ignored).await.ok();
    let listed = list(&alice, &room, &[]).await;
    let root_is_redacted = || {
        let event = &listed["chunk"][0];
        assert_eq!((&event["event_id"], &event["content"]), (&json!(root), &json!({})), "{listed}");
        let said = &event["unsigned"]["m.relations"]["m.thread"];
        assert_eq!((&said["count"], &said["latest_event"]["event_id"]), (&json!(1), &json!(own)), "{listed}");
    };
    let left_out = || assert_eq!(listed, json!({ "chunk": [] }));
    differs("client-server-api#get_matrixclientv1roomsroomidthreads", root_is_redacted, left_out);
}
