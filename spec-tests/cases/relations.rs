//! Events about events: bundled aggregations and their pages. Client-server API, "Forming relationships between events",
//! "Event replacements", "Event annotations and reactions", "Reference relations".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::txn;

const ONE_EVENT: &str = "/_matrix/client/v3/rooms/{roomId}/event/{eventId}";

/// A message about an event.
async fn relate(user: &User, room: &str, kind: &str, parent: &str) -> String {
    user.send(room, "m.room.message", about(kind, parent)).await
}

fn about(kind: &str, parent: &str) -> Value {
    json!({
        "msgtype": "m.text", "body": "* new", "m.new_content": { "msgtype": "m.text", "body": "new" },
        "m.relates_to": { "rel_type": kind, "event_id": parent }
    })
}

async fn react(user: &User, room: &str, parent: &str, key: &str) -> String {
    let relates_to = json!({ "rel_type": "m.annotation", "event_id": parent, "key": key });
    user.send(room, "m.reaction", json!({ "m.relates_to": relates_to })).await
}

async fn redact(user: &User, room: &str, event: &str) {
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    user.put(path, &[room, event, &txn()]).json(json!({})).await.ok();
}

async fn bundled(user: &User, room: &str, event: &str) -> Value {
    let path = "/_matrix/client/v3/rooms/{roomId}/event/{eventId}";
    user.get(path, &[room, event]).await.ok()["unsigned"]["m.relations"].clone()
}

async fn page(user: &User, room: &str, event: &str, query: &[(&str, &str)]) -> Value {
    user.get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}", &[room, event]).query(query).await.ok()
}

fn ids(page: &Value) -> Vec<&str> {
    page["chunk"].as_array().expect("a chunk").iter().map(|event| event["event_id"].as_str().expect("an id")).collect()
}

async fn ignore(user: &User, other: &User) {
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    let list = json!({ "ignored_users": { &other.id: {} } });
    user.put(path, &[&user.id, "m.ignored_user_list"]).json(list).await.ok();
}

#[tokio::test]
async fn an_edited_message_carries_its_newest_edit() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let original = alice.say(&room, "old").await;
    assert_eq!(bundled(&bob, &room, &original).await, Value::Null);
    let first = relate(&alice, &room, "m.replace", &original).await;
    let second = relate(&alice, &room, "m.replace", &original).await;
    relate(&bob, &room, "m.replace", &original).await;
    let said = bundled(&bob, &room, &original).await;
    let edit = &said["m.replace"];
    assert_eq!((&edit["sender"], &edit["type"]), (&json!(alice.id), &json!("m.room.message")));
    assert_eq!(edit["content"]["m.new_content"]["body"], "new");
    // Two edits of one millisecond are ordered by their ids.
    let newest = edit["event_id"].as_str().expect("an id").to_owned();
    assert!(newest == second || newest == first.clone().max(second.clone()), "{said}");
    let event = alice.get(ONE_EVENT, &[&room, &original]).await.ok();
    assert_eq!(event["content"]["body"], "old", "the original stays as it was");
    let other = if newest == second { &first } else { &second };
    redact(&alice, &room, &newest).await;
    assert_eq!(bundled(&bob, &room, &original).await["m.replace"]["event_id"], json!(other));
    redact(&alice, &room, &original).await;
    assert_eq!(bundled(&bob, &room, &original).await, Value::Null);
}

#[tokio::test]
async fn an_edit_without_new_content_is_no_edit() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let original = alice.say(&room, "old").await;
    let relates_to = json!({ "rel_type": "m.replace", "event_id": original });
    let content = json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relates_to });
    alice.send(&room, "m.room.message", content).await;
    let said = bundled(&alice, &room, &original).await;
    differs(
        "client-server-api#validity-of-replacement-events",
        || assert_eq!(said, Value::Null),
        || assert!(said["m.replace"].is_object()),
    );
}

#[tokio::test]
async fn an_edit_of_an_edit_is_no_edit() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let original = alice.say(&room, "old").await;
    let edit = relate(&alice, &room, "m.replace", &original).await;
    relate(&alice, &room, "m.replace", &edit).await;
    assert_eq!(bundled(&alice, &room, &edit).await, Value::Null);
    assert_eq!(bundled(&alice, &room, &original).await["m.replace"]["event_id"], json!(edit));
}

#[tokio::test]
async fn references_are_listed_and_reactions_are_not() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let parent = alice.say(&room, "parent").await;
    react(&alice, &room, &parent, "👍").await;
    assert_eq!(bundled(&alice, &room, &parent).await, Value::Null, "annotations are not aggregated");
    let first = relate(&alice, &room, "m.reference", &parent).await;
    let second = relate(&alice, &room, "m.reference", &parent).await;
    let chunk = json!([{ "event_id": first }, { "event_id": second }]);
    assert_eq!(bundled(&alice, &room, &parent).await, json!({ "m.reference": { "chunk": chunk } }));
    redact(&alice, &room, &first).await;
    redact(&alice, &room, &second).await;
    assert_eq!(bundled(&alice, &room, &parent).await, Value::Null);
}

#[tokio::test]
async fn aggregations_are_bundled_wherever_events_are_served() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    alice.say(&room, "before").await;
    let parent = alice.say(&room, "parent").await;
    let edit = relate(&alice, &room, "m.replace", &parent).await;
    let has = |event: &Value| event["unsigned"]["m.relations"]["m.replace"]["event_id"] == json!(edit);
    let messages = alice
        .get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room])
        .query(&[("dir", "b"), ("limit", "20")])
        .await
        .ok();
    let found = messages["chunk"].as_array().expect("a chunk").iter().find(|event| event["event_id"] == json!(parent));
    assert!(found.is_some_and(has), "{messages}");
    let context = alice.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", &[&room, &parent]).await.ok();
    assert!(has(&context["event"]), "{context}");
    let context = alice.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", &[&room, &edit]).await.ok();
    assert!(context["events_before"].as_array().expect("events").iter().any(has), "{context}");
    let child = relate(&alice, &room, "m.reference", &edit).await;
    relate(&alice, &room, "m.replace", &child).await;
    let children = page(&alice, &room, &edit, &[]).await;
    assert!(children["chunk"][0]["unsigned"]["m.relations"]["m.replace"].is_object(), "{children}");
    // A timeline that leaves something out.
    alice.say(&room, "last").await;
    let filter = json!({ "room": { "timeline": { "limit": 5, "types": ["m.room.message"] } } });
    let sync = alice.syncer().filter(&filter).next().await;
    let timeline = &sync["rooms"]["join"][&room]["timeline"];
    let found = timeline["events"].as_array().expect("events").iter().find(|event| event["event_id"] == json!(parent));
    assert!(found.is_some_and(has), "{sync}");
}

#[tokio::test]
async fn state_has_no_aggregations_and_still_has_children() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let topic = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" })).await;
    let child = relate(&alice, &room, "m.reference", &topic).await;
    assert_eq!(bundled(&alice, &room, &topic).await, Value::Null);
    assert_eq!(ids(&page(&alice, &room, &topic, &[]).await), [child]);
}

#[tokio::test]
async fn children_come_newest_first_and_in_pages() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let parent = alice.say(&room, "parent").await;
    let mut said = Vec::new();
    for n in 0..5 {
        said.push(react(&alice, &room, &parent, &n.to_string()).await);
        alice.say(&room, "between").await;
    }
    let whole = page(&alice, &room, &parent, &[("limit", "20")]).await;
    assert_eq!(ids(&whole), said.iter().rev().collect::<Vec<_>>());
    assert!(whole.get("next_batch").is_none() && whole.get("prev_batch").is_none(), "{whole}");
    assert!(whole.get("recursion_depth").is_none(), "{whole}");
    assert_eq!(whole["chunk"][0]["room_id"], room);

    let first = page(&alice, &room, &parent, &[("limit", "2")]).await;
    assert_eq!(ids(&first), [&said[4], &said[3]]);
    let second_token = first["next_batch"].as_str().expect("a token");
    let second = page(&alice, &room, &parent, &[("limit", "2"), ("from", second_token)]).await;
    assert_eq!(ids(&second), [&said[2], &said[1]]);
    assert!(second["prev_batch"].is_string(), "{second}");
    let third_token = second["next_batch"].as_str().expect("a token");
    let third = page(&alice, &room, &parent, &[("limit", "2"), ("from", third_token)]).await;
    assert_eq!(ids(&third), [&said[0]]);
    assert!(third.get("next_batch").is_none(), "{third}");
    // From one page's token to another's.
    let between = [("from", second_token), ("to", third_token), ("limit", "10")];
    assert_eq!(ids(&page(&alice, &room, &parent, &between).await), [&said[2], &said[1]]);
    let crossed = [("from", third_token), ("to", second_token), ("limit", "10")];
    assert!(ids(&page(&alice, &room, &parent, &crossed).await).is_empty());
}

#[tokio::test]
async fn children_come_oldest_first_on_demand() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let parent = alice.say(&room, "parent").await;
    let mut said = Vec::new();
    for n in 0..3 {
        said.push(react(&alice, &room, &parent, &n.to_string()).await);
    }
    let first = page(&alice, &room, &parent, &[("dir", "f"), ("limit", "2")]).await;
    assert_eq!(ids(&first), [&said[0], &said[1]]);
    let token = first["next_batch"].as_str().expect("a token");
    let rest = page(&alice, &room, &parent, &[("dir", "f"), ("limit", "2"), ("from", token)]).await;
    assert_eq!(ids(&rest), [&said[2]]);
}

#[tokio::test]
async fn tokens_of_sync_and_messages_lead_into_the_children() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let parent = alice.say(&room, "parent").await;
    let old = react(&alice, &room, &parent, "old").await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let token = syncer.since.clone().expect("a token");
    let new = react(&alice, &room, &parent, "new").await;
    assert_eq!(ids(&page(&alice, &room, &parent, &[("from", &token)]).await), [&old]);
    assert_eq!(ids(&page(&alice, &room, &parent, &[("to", &token)]).await), [&new]);
    let messages = alice
        .get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room])
        .query(&[("dir", "b"), ("limit", "1")])
        .await
        .ok();
    let start = messages["start"].as_str().expect("a token");
    assert_eq!(ids(&page(&alice, &room, &parent, &[("from", start)]).await), [&new, &old]);
}

#[tokio::test]
async fn children_of_one_type_and_of_one_event_type() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let parent = alice.say(&room, "parent").await;
    let reaction = react(&alice, &room, &parent, "+").await;
    let message = relate(&alice, &room, "m.reference", &parent).await;
    let other = alice.send(&room, "org.example.thing", about("m.reference", &parent)).await;
    let of_type = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}";
    let path = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}";
    let answer = alice.get(of_type, &[&room, &parent, "m.annotation"]).await.ok();
    assert_eq!(ids(&answer), [&reaction]);
    let answer =
        alice.get("/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}", &[&room, &parent, "m.reference"]);
    assert_eq!(ids(&answer.await.ok()), [&other, &message]);
    let answer = alice.get(
        "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}",
        &[&room, &parent, "m.reference", "m.room.message"],
    );
    assert_eq!(ids(&answer.await.ok()), [&message]);
    let answer = alice.get(path, &[&room, &parent, "m.annotation", "m.room.message"]).await.ok();
    assert!(ids(&answer).is_empty());
    assert_eq!(ids(&page(&alice, &room, &parent, &[]).await), [&other, &message, &reaction]);
}

#[tokio::test]
async fn recursion_finds_what_is_about_the_children() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    let child = relate(&alice, &room, "m.thread", &root).await;
    let edit = relate(&alice, &room, "m.replace", &child).await;
    let reaction = react(&alice, &room, &child, "+").await;
    let further = relate(&alice, &room, "m.reference", &edit).await;
    assert_eq!(ids(&page(&alice, &room, &root, &[("limit", "20")]).await), [&child]);
    let whole = page(&alice, &room, &root, &[("recurse", "true"), ("limit", "20")]).await;
    assert_eq!(ids(&whole), [&further, &reaction, &edit, &child]);
    assert!(whole["recursion_depth"].as_u64().is_some_and(|depth| depth >= 3), "{whole}");
    redact(&alice, &room, &edit).await;
    let rest = page(&alice, &room, &root, &[("recurse", "true"), ("limit", "20")]).await;
    differs(
        "client-server-api#aggregations-of-child-events",
        || assert_eq!(ids(&rest), [&reaction, &child], "with the edit, what was about it is lost"),
        || assert_eq!(ids(&rest), [&further, &reaction, &edit, &child]),
    );
}

#[tokio::test]
async fn recursion_does_not_pass_what_is_not_asked_for() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    let child = relate(&alice, &room, "m.thread", &root).await;
    let edit = relate(&alice, &room, "m.replace", &child).await;
    let near = relate(&alice, &room, "m.reference", &root).await;
    let far = relate(&alice, &room, "m.reference", &near).await;
    let reaction = react(&alice, &room, &near, "+").await;
    let query = [("recurse", "true"), ("limit", "20")];
    let of_type = async |relation: &str| {
        let path = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}";
        alice.get(path, &[&room, &root, relation]).query(&query).await.ok()
    };
    assert_eq!(ids(&of_type("m.reference").await), [&far, &near]);
    let edits = of_type("m.replace").await;
    differs(
        "client-server-api#relationships-api",
        || assert_eq!(ids(&edits), Vec::<String>::new(), "the edit is about an answer in a thread"),
        || assert_eq!(ids(&edits), [&edit]),
    );
    let path = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}";
    let answer = alice.get(path, &[&room, &root, "m.annotation", "m.reaction"]).query(&query).await.ok();
    differs(
        "client-server-api#relationships-api",
        || assert_eq!(ids(&answer), Vec::<String>::new(), "the reaction is to a reference"),
        || assert_eq!(ids(&answer), [&reaction]),
    );
}

#[tokio::test]
async fn a_page_of_no_events_has_none() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    relate(&alice, &room, "m.reference", &root).await;
    let path = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}";
    let none = alice.get(path, &[&room, &root]).query(&[("limit", "0")]).await;
    differs(
        "client-server-api#relationships-api",
        || {
            let none = none.clone().ok();
            assert!(ids(&none).is_empty() && none["next_batch"].is_string(), "{none}");
        },
        || drop(none.clone().status(500)),
    );
}

#[tokio::test]
async fn a_redacted_child_is_listed_no_more() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let parent = alice.say(&room, "parent").await;
    let (first, second) = (react(&alice, &room, &parent, "1").await, react(&alice, &room, &parent, "2").await);
    redact(&alice, &room, &second).await;
    assert_eq!(ids(&page(&alice, &room, &parent, &[]).await), [&first]);
    // Nor does it stand in the way of saying the same again.
    let again = react(&alice, &room, &parent, "2").await;
    assert_eq!(ids(&page(&alice, &room, &parent, &[]).await), [&again, &first]);
    // The children of what is redacted stay.
    redact(&alice, &room, &parent).await;
    assert_eq!(ids(&page(&alice, &room, &parent, &[]).await), [&again, &first]);
}

#[tokio::test]
async fn the_children_of_an_unknown_or_hidden_event_are_not_found() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }]);
    let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": state })).await;
    let path = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}";
    let unknown = alice.get(path, &[&room, "$unknown"]).await;
    differs(
        "client-server-api#get_matrixclientv1roomsroomidrelationseventid",
        || drop(unknown.clone().error(404, "M_NOT_FOUND")),
        || drop(unknown.clone().error(404, "M_UNKNOWN")),
    );
    let parent = alice.say(&room, "hidden").await;
    let answer = bob.get(path, &[&room, &parent]).await;
    differs(
        "client-server-api#get_matrixclientv1roomsroomidrelationseventid",
        || drop(answer.clone().error(404, "M_NOT_FOUND")),
        || drop(answer.clone().error(403, "M_FORBIDDEN")),
    );
    bob.join(&room).await;
    let answer = bob.get(path, &[&room, &parent]).await;
    differs(
        "client-server-api#get_matrixclientv1roomsroomidrelationseventid",
        || drop(answer.clone().error(404, "M_NOT_FOUND")),
        || drop(answer.clone().error(403, "M_FORBIDDEN")),
    );
}

#[tokio::test]
async fn pages_of_children_need_a_token_a_direction_and_a_number() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let parent = alice.say(&room, "parent").await;
    let path = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}";
    for query in [("from", "nonsense"), ("to", "nonsense"), ("dir", "x"), ("limit", "many"), ("recurse", "perhaps")] {
        let answer = alice.get(path, &[&room, &parent]).query(&[query]).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
    alice.without_token().get(path, &[&room, &parent]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn the_children_of_ignored_users_are_left_out() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let parent = alice.say(&room, "parent").await;
    let own = relate(&alice, &room, "m.reference", &parent).await;
    let other = relate(&bob, &room, "m.reference", &parent).await;
    assert_eq!(ids(&page(&alice, &room, &parent, &[]).await), [&other, &own]);
    ignore(&alice, &bob).await;
    assert_eq!(ids(&page(&alice, &room, &parent, &[]).await), [&own]);
    let chunk = json!([{ "event_id": own }]);
    assert_eq!(bundled(&alice, &room, &parent).await, json!({ "m.reference": { "chunk": chunk } }));
}

#[tokio::test]
async fn what_has_not_the_form_of_a_relation_is_none() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let parent = alice.say(&room, "parent").await;
    for relates_to in [
        json!({ "m.in_reply_to": { "event_id": parent } }),
        json!({ "event_id": parent }),
        json!({ "rel_type": 7, "event_id": parent }),
        json!({ "rel_type": "m.reference" }),
        json!("m.reference"),
    ] {
        alice
            .send(&room, "m.room.message", json!({ "msgtype": "m.text", "body": "x", "m.relates_to": relates_to }))
            .await;
    }
    assert!(ids(&page(&alice, &room, &parent, &[]).await).is_empty());
}

#[tokio::test]
async fn who_says_whether_to_recurse_is_told_how_far_it_went() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let root = alice.say(&room, "root").await;
    let child = relate(&alice, &room, "m.reference", &root).await;
    relate(&alice, &room, "m.reference", &child).await;
    let direct = page(&alice, &room, &root, &[("recurse", "false")]).await;
    assert_eq!(ids(&direct), [&child]);
    differs(
        "client-server-api#get_matrixclientv1roomsroomidrelationseventid",
        || assert_eq!(direct["recursion_depth"], 1),
        || assert!(direct.get("recursion_depth").is_none(), "{direct}"),
    );
}

#[tokio::test]
async fn there_are_no_relations_of_any_type_to_what_is_not_there() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    let said = alice.say(&room, "private").await;
    let of_type = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}";
    let of_event_type = "/_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}";
    let ask = async |user: &User, event: &str| {
        let one = user.get(of_type, &[&room, event, "m.annotation"]).await;
        [one, user.get(of_event_type, &[&room, event, "m.annotation", "m.reaction"]).await]
    };
    for answer in ask(&alice, "$unknown").await {
        differs(
            "client-server-api#get_matrixclientv1roomsroomidrelationseventidreltype",
            || drop(answer.clone().error(404, "M_NOT_FOUND")),
            || drop(answer.clone().error(404, "M_UNKNOWN")),
        );
    }
    for answer in ask(&bob, &said).await {
        differs(
            "client-server-api#get_matrixclientv1roomsroomidrelationseventidreltypeeventtype",
            || drop(answer.clone().error(404, "M_NOT_FOUND")),
            || drop(answer.clone().error(403, "M_FORBIDDEN")),
        );
    }
}
