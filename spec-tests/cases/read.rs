//! Reading a room: messages, context, event, members, state. Client-server API, "Getting events for a room".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::sync::{bodies, find_state};

async fn filled_room(alice: &User, count: usize) -> (String, Vec<String>) {
    let room = alice.public_room().await;
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(alice.say(&room, &n.to_string()).await);
    }
    (room, ids)
}

async fn messages(user: &User, room: &str, query: &[(&str, &str)]) -> Value {
    user.get("/_matrix/client/v3/rooms/{roomId}/messages", &[room]).query(query).await.ok()
}

fn chunk(page: &Value) -> &[Value] {
    page["chunk"].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test]
async fn messages_go_backwards_from_the_end() {
    let alice = shared().user("alice").await;
    let (room, _) = filled_room(&alice, 5).await;
    let page = alice.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]);
    let page = page.query(&[("dir", "b"), ("limit", "3")]).await.ok();
    assert_eq!(bodies(chunk(&page)), ["4", "3", "2"]);
    assert!(page["start"].is_string() && page["end"].is_string(), "{page}");
}

#[tokio::test]
async fn messages_page_through_the_whole_room_and_end() {
    let alice = shared().user("alice").await;
    let (room, _) = filled_room(&alice, 7).await;
    for dir in ["b", "f"] {
        let (mut seen, mut from) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("dir", dir), ("limit", "4")];
            query.extend(from.as_deref().map(|from| ("from", from)));
            let page = messages(&alice, &room, &query).await;
            seen.extend(chunk(&page).iter().cloned());
            from = page["end"].as_str().map(str::to_owned);
            if from.is_none() || chunk(&page).is_empty() {
                break;
            }
            assert!(seen.len() < 50, "the pages do not end");
        }
        let (edge, place) = if dir == "b" { (seen.last(), 0) } else { (seen.first(), 6) };
        assert_eq!(edge.expect("events")["type"], "m.room.create");
        let texts = bodies(&seen);
        assert_eq!((texts.len(), texts[place]), (7, "6"));
    }
}

#[tokio::test]
async fn a_limit_of_messages_is_kept() {
    let alice = shared().user("alice").await;
    let (room, _) = filled_room(&alice, 15).await;
    assert_eq!(chunk(&messages(&alice, &room, &[("dir", "b")]).await).len(), 10);
    assert_eq!(chunk(&messages(&alice, &room, &[("dir", "b"), ("limit", "1")]).await).len(), 1);
}

#[tokio::test]
async fn messages_begin_at_the_token_of_a_sync() {
    let alice = shared().user("alice").await;
    let (room, _) = filled_room(&alice, 3).await;
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let sync = alice.syncer().filter(&filter).next().await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.bodies(), ["2"]);
    let before = view.field("timeline")["prev_batch"].as_str().expect("prev_batch");
    let page = messages(&alice, &room, &[("dir", "b"), ("from", before), ("limit", "2")]).await;
    assert_eq!(bodies(chunk(&page)), ["1", "0"]);
    let next = sync["next_batch"].as_str().expect("next_batch");
    alice.say(&room, "later").await;
    let page = messages(&alice, &room, &[("dir", "f"), ("from", next)]).await;
    assert_eq!(bodies(chunk(&page)), ["later"]);
}

#[tokio::test]
async fn messages_stop_at_a_token() {
    let alice = shared().user("alice").await;
    let (room, _) = filled_room(&alice, 2).await;
    let stop = alice.syncer().next().await["next_batch"].clone();
    for text in ["a", "b", "c"] {
        alice.say(&room, text).await;
    }
    let query = [("dir", "b"), ("to", stop.as_str().expect("a token")), ("limit", "20")];
    assert_eq!(bodies(chunk(&messages(&alice, &room, &query).await)), ["c", "b", "a"]);
}

#[tokio::test]
async fn messages_are_filtered() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    alice.say(&room, "by alice").await;
    bob.say(&room, "by bob").await;
    alice.send(&room, "m.room.message", json!({ "msgtype": "m.text", "body": "link", "url": "mxc://x/y" })).await;
    alice.send(&room, "org.example.other", json!({ "body": "other" })).await;
    for (filter, wanted) in [
        (json!({ "types": ["m.room.message"] }), vec!["link", "by bob", "by alice"]),
        (json!({ "types": ["org.example.*"] }), vec!["other"]),
        (json!({ "types": ["m.room.message"], "senders": [bob.id] }), vec!["by bob"]),
        (json!({ "types": ["m.room.message"], "not_senders": [bob.id] }), vec!["link", "by alice"]),
        (json!({ "not_types": ["m.room.message", "m.room.member"], "senders": [alice.id] }), vec!["other"]),
        (json!({ "contains_url": true }), vec!["link"]),
        (json!({ "types": ["m.room.message"], "contains_url": false }), vec!["by bob", "by alice"]),
    ] {
        let text = filter.to_string();
        let page = messages(&alice, &room, &[("dir", "b"), ("limit", "50"), ("filter", &text)]).await;
        assert_eq!(bodies(chunk(&page)), wanted, "{filter}");
    }
}

#[tokio::test]
async fn messages_bring_the_members_that_speak() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.say(&room, "hello").await;
    let filter = json!({ "lazy_load_members": true }).to_string();
    let page = messages(&alice, &room, &[("dir", "b"), ("limit", "1"), ("filter", &filter)]).await;
    let state = page["state"].as_array().expect("state");
    assert!(find_state(state, "m.room.member", &bob.id).is_some(), "{page}");
    assert!(find_state(state, "m.room.member", &alice.id).is_none(), "{page}");
}

#[tokio::test]
async fn messages_need_a_direction_a_number_and_a_token() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/rooms/{roomId}/messages";
    let answer = alice.get(path, &[&room]).await;
    differs(
        "client-server-api#get_matrixclientv3roomsroomidmessages",
        || assert_eq!(answer.status, 400, "{answer}"),
        || assert_eq!(answer.status, 200, "{answer}"),
    );
    for query in [vec![("dir", "x")], vec![("dir", "b"), ("limit", "many")], vec![("dir", "b"), ("from", "nonsense")]] {
        let answer = alice.get(path, &[&room]).query(&query).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
}

#[tokio::test]
async fn an_outsider_reads_nothing_of_a_private_room() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.create_room(json!({})).await;
    let id = alice.say(&room, "secret").await;
    bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room])
        .query(&[("dir", "b")])
        .await
        .error(403, "M_FORBIDDEN");
    bob.get("/_matrix/client/v3/rooms/{roomId}/state", &[&room]).await.error(403, "M_FORBIDDEN");
    bob.get("/_matrix/client/v3/rooms/{roomId}/members", &[&room]).await.error(403, "M_FORBIDDEN");
    bob.get("/_matrix/client/v3/rooms/{roomId}/joined_members", &[&room]).await.error(403, "M_FORBIDDEN");
    let state =
        bob.get("/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", &[&room, "m.room.create", ""]);
    state.await.error(403, "M_FORBIDDEN");
    let event = bob.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, &id]).await;
    event.error_in(404, &["M_NOT_FOUND"]);
    let context = bob.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", &[&room, &id]).await;
    assert!([403, 404].contains(&context.status), "{context}");
}

#[tokio::test]
async fn an_event_of_another_room_is_not_found() {
    let alice = shared().user("alice").await;
    let (here, there) = (alice.public_room().await, alice.public_room().await);
    let id = alice.say(&there, "there").await;
    for id in [id.as_str(), "$nothing"] {
        let answer = alice.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&here, id]).await;
        answer.error(404, "M_NOT_FOUND");
        let answer = alice.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", &[&here, id]).await;
        assert_eq!(answer.status, 404, "{answer}");
    }
}

#[tokio::test]
async fn the_context_has_both_sides_and_goes_on() {
    let alice = shared().user("alice").await;
    let (room, ids) = filled_room(&alice, 9).await;
    let context = alice.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", &[&room, &ids[4]]);
    let context = context.query(&[("limit", "4")]).await.ok();
    assert_eq!(context["event"]["event_id"], ids[4]);
    let part = |name: &str| context[name].as_array().expect("events").clone();
    assert_eq!(bodies(&part("events_before")), ["3", "2"]);
    assert_eq!(bodies(&part("events_after")), ["5", "6"]);
    assert!(find_state(&part("state"), "m.room.create", "").is_some());
    let (start, end) = (context["start"].as_str().expect("start"), context["end"].as_str().expect("end"));
    let page = messages(&alice, &room, &[("dir", "b"), ("from", start), ("limit", "2")]).await;
    assert_eq!(bodies(chunk(&page)), ["1", "0"]);
    let page = messages(&alice, &room, &[("dir", "f"), ("from", end), ("limit", "9")]).await;
    assert_eq!(bodies(chunk(&page)), ["7", "8"]);
}

#[tokio::test]
async fn the_context_has_the_state_of_its_time() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "then" })).await;
    let id = alice.say(&room, "hello").await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "now" })).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/context/{eventId}";
    let context = alice.get(path, &[&room, &id]).query(&[("limit", "0")]).await.ok();
    let state = context["state"].as_array().expect("state");
    assert_eq!(find_state(state, "m.room.topic", "").expect("a topic")["content"]["topic"], "then");
}

#[tokio::test]
async fn state_is_the_whole_of_now() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "one" })).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "two" })).await;
    let state = alice.get("/_matrix/client/v3/rooms/{roomId}/state", &[&room]).await.ok();
    let events = state.as_array().expect("a list");
    let mut keys: Vec<(&str, &str)> =
        events.iter().map(|e| (e["type"].as_str().expect("a type"), e["state_key"].as_str().expect("a key"))).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count, "one event for each type and key");
    assert_eq!(find_state(events, "m.room.topic", "").expect("a topic")["content"]["topic"], "two");
    assert!(find_state(events, "m.room.create", "").is_some());
    assert!(find_state(events, "m.room.member", &alice.id).is_some());
}

#[tokio::test]
async fn state_comes_as_content_or_as_event() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let id = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" })).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    let content = alice.get(path, &[&room, "m.room.topic", ""]).query(&[("format", "content")]).await.ok();
    assert_eq!(content["topic"], "t");
    let event = alice.get(path, &[&room, "m.room.topic", ""]).query(&[("format", "event")]).await.ok();
    assert_eq!((&event["event_id"], &event["content"]["topic"]), (&json!(id), &json!("t")));
    assert_eq!(
        (&event["type"], &event["state_key"], &event["sender"]),
        (&json!("m.room.topic"), &json!(""), &json!(alice.id))
    );
    let answer = alice.get(path, &[&room, "m.room.topic", ""]).query(&[("format", "other")]).await;
    assert_eq!(answer.status, 400, "{answer}");
}

#[tokio::test]
async fn state_that_was_never_set_is_not_found() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    alice.get(path, &[&room, "org.example.nothing", ""]).await.error(404, "M_NOT_FOUND");
    alice.get(path, &[&room, "m.room.create", "x"]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn members_are_filtered_by_membership() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let carol = shared().user("carol").await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.leave(&room).await;
    alice.invite(&room, &carol).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/members";
    for (query, wanted) in [
        (vec![], vec![&alice, &bob, &carol]),
        (vec![("membership", "join")], vec![&alice]),
        (vec![("membership", "invite")], vec![&carol]),
        (vec![("not_membership", "leave")], vec![&alice, &carol]),
        (vec![("membership", "ban")], vec![]),
    ] {
        let members = alice.get(path, &[&room]).query(&query).await.ok();
        let mut ids: Vec<&str> =
            members["chunk"].as_array().expect("a chunk").iter().filter_map(|e| e["state_key"].as_str()).collect();
        let mut wanted: Vec<&str> = wanted.iter().map(|user| user.id.as_str()).collect();
        ids.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(ids, wanted, "{query:?}");
    }
}

#[tokio::test]
async fn members_are_those_of_a_time() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    alice.say(&room, "before").await;
    let then = alice.syncer().next().await["next_batch"].clone();
    bob.join(&room).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/members";
    let query = [("at", then.as_str().expect("a token"))];
    let members = alice.get(path, &[&room]).query(&query).await.ok();
    let events = members["chunk"].as_array().expect("a chunk");
    assert!(find_state(events, "m.room.member", &alice.id).is_some());
    assert!(find_state(events, "m.room.member", &bob.id).is_none(), "{members}");
}

#[tokio::test]
async fn joined_members_have_their_profiles() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/profile/{userId}/displayname";
    alice.put(path, &[&alice.id]).json(json!({ "displayname": "Alice A." })).await.ok();
    bob.join(&room).await;
    bob.leave(&room).await;
    let members = alice.get("/_matrix/client/v3/rooms/{roomId}/joined_members", &[&room]).await.ok();
    let joined = members["joined"].as_object().expect("a map");
    assert_eq!(joined.keys().collect::<Vec<_>>(), [&alice.id]);
    assert_eq!(joined[&alice.id]["display_name"], "Alice A.");
}

#[tokio::test]
async fn one_who_left_reads_what_was_before() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "then" })).await;
    alice.say(&room, "before").await;
    bob.leave(&room).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "now" })).await;
    let after = alice.say(&room, "after").await;
    let page = messages(&bob, &room, &[("dir", "b"), ("limit", "50")]).await;
    assert_eq!(bodies(chunk(&page)), ["before"]);
    assert_eq!(bob.state(&room, "m.room.topic", "").await["topic"], "then");
    let state = bob.get("/_matrix/client/v3/rooms/{roomId}/state", &[&room]).await.ok();
    let topic = find_state(state.as_array().expect("state"), "m.room.topic", "").expect("a topic").clone();
    assert_eq!(topic["content"]["topic"], "then");
    let answer = bob.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, &after]).await;
    answer.error(404, "M_NOT_FOUND");
    bob.get("/_matrix/client/v3/rooms/{roomId}/joined_members", &[&room]).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn the_context_has_its_lists_also_where_they_are_empty() {
    let alice = shared().user("alice").await;
    let (room, ids) = filled_room(&alice, 2).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/context/{eventId}";
    let context = alice.get(path, &[&room, &ids[1]]).await.ok();
    assert_eq!(context["events_after"], json!([]), "there is nothing after the last event");
    let context = alice.get(path, &[&room, &ids[1]]).query(&[("limit", "0")]).await.ok();
    assert_eq!(context["events_before"], json!([]));
}

#[tokio::test]
async fn the_filter_of_a_context_holds_for_its_state() {
    let alice = shared().user("alice").await;
    let (room, ids) = filled_room(&alice, 2).await;
    let context = alice.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", &[&room, &ids[1]]);
    let filter = json!({ "types": ["m.room.create", "org.example.*"] }).to_string();
    let context = context.query(&[("filter", &filter)]).await.ok();
    let kinds = |part: &str| -> Vec<String> {
        let events = context[part].as_array().expect("events").iter();
        events.map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
    };
    assert_eq!(kinds("state"), ["m.room.create"]);
    assert!(kinds("events_before").iter().all(|kind| kind == "m.room.create"));
    assert_eq!(context["event"]["event_id"], ids[1], "the event itself is not filtered");
}

#[tokio::test]
async fn a_page_of_no_events_has_none() {
    let alice = shared().user("alice").await;
    let (room, _) = filled_room(&alice, 3).await;
    let page = messages(&alice, &room, &[("dir", "b"), ("limit", "0")]).await;
    assert_eq!(page["chunk"], json!([]));
    let end = page["end"].as_str().expect("there is more");
    let page = messages(&alice, &room, &[("dir", "b"), ("limit", "2"), ("from", end)]).await;
    assert_eq!(bodies(chunk(&page)), ["2", "1"], "nothing was passed over");
}

#[tokio::test]
async fn members_of_a_time_are_for_those_who_may_read_of_it() {
    let (alice, bob, carol) = (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } }]);
    let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": state })).await;
    carol.join(&room).await;
    let hidden = alice.syncer().next().await["next_batch"].as_str().expect("a token").to_owned();
    carol.leave(&room).await;
    alice.say(&room, "before").await;
    bob.join(&room).await;
    alice.say(&room, "after").await;
    let path = "/_matrix/client/v3/rooms/{roomId}/members";
    bob.get(path, &[&room]).query(&[("at", &hidden)]).await.error(403, "M_FORBIDDEN");
    let members = alice.get(path, &[&room]).query(&[("at", &hidden)]).await.ok();
    assert_eq!(members["chunk"].as_array().map(Vec::len), Some(2), "{members}");
    // The tokens of one's own sync are good for it, also the one that stands before one's own join.
    let sync = bob.syncer().next().await;
    let next = sync["next_batch"].as_str().expect("a token");
    let members = bob.get(path, &[&room]).query(&[("at", next)]).await.ok();
    assert_eq!(members["chunk"].as_array().map(Vec::len), Some(3), "{members}");
    let previous = sync["rooms"]["join"][&room]["timeline"]["prev_batch"].as_str().expect("a token");
    bob.get(path, &[&room]).query(&[("at", previous)]).await.ok();
}

#[tokio::test]
async fn the_context_has_the_members_of_its_last_event() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.say(&room, "one").await;
    let named = json!({ "membership": "join", "displayname": "Robert" });
    let renamed = bob.set_state(&room, "m.room.member", &bob.id, named).await;
    let id = alice.say(&room, "two").await;
    bob.say(&room, "three").await;
    bob.set_state(&room, "m.room.member", &bob.id, json!({ "membership": "join", "displayname": "Bert" })).await;
    let filter = json!({ "lazy_load_members": true }).to_string();
    let path = "/_matrix/client/v3/rooms/{roomId}/context/{eventId}";
    let context = alice.get(path, &[&room, &id]).query(&[("limit", "2"), ("filter", &filter)]).await.ok();
    let state = context["state"].as_array().expect("state");
    assert_eq!(find_state(state, "m.room.member", &bob.id).expect("bob")["event_id"], renamed);
}
