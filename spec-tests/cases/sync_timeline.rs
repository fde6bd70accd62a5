//! `/sync`: what comes, in which order, and where the gaps are. Client-server API, "Syncing".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::sync::bodies;

async fn pair_in_room() -> (User, User, String) {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    (alice, bob, room)
}

#[tokio::test]
async fn an_initial_sync_has_the_rooms_the_user_is_in() {
    let (alice, bob, room) = pair_in_room().await;
    let other = bob.public_room().await;
    let sync = alice.get("/_matrix/client/v3/sync", &[]).await.ok();
    assert!(sync["next_batch"].is_string(), "{sync}");
    let view = RoomSync::joined(&sync, &room);
    assert!(view.is_there(), "{sync}");
    assert!(!RoomSync::joined(&sync, &other).is_there(), "{sync}");
    // The room is younger than its ten last events: state and timeline together hold each event once.
    let mut keys: Vec<&str> =
        view.events("state").iter().chain(view.timeline()).filter_map(|e| e["event_id"].as_str()).collect();
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count, "an event came twice: {sync}");
    let with_id = |event: &&Value| event.get("room_id").is_some() && event["type"] != "m.room.create";
    assert!(!view.timeline().iter().any(|event| with_id(&event)), "{sync}");
}

#[tokio::test]
async fn an_initial_sync_cuts_the_timeline_and_has_the_state_before_it() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "before" })).await;
    for n in 0..20 {
        alice.say(&room, &n.to_string()).await;
    }
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "within" })).await;
    let sync = alice.syncer().next().await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.timeline().len(), 10);
    assert_eq!(view.field("timeline")["limited"], true);
    assert_eq!(view.bodies(), ["11", "12", "13", "14", "15", "16", "17", "18", "19"]);
    assert_eq!(view.find("state", "m.room.topic", "").expect("a topic")["content"]["topic"], "before");
    assert_eq!(view.find("timeline", "m.room.topic", "").expect("a topic")["content"]["topic"], "within");
    assert!(view.find("state", "m.room.create", "").is_some());
    assert!(view.find("state", "m.room.member", &alice.id).is_some());
}

#[tokio::test]
async fn an_incremental_sync_has_what_is_new() {
    let (alice, bob, room) = pair_in_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let id = bob.say(&room, "new").await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.timeline_ids(), [id.as_str()]);
    assert!(!view.field("timeline")["limited"].as_bool().unwrap_or(false));
    assert!(view.events("state").is_empty(), "{sync}");
}

#[tokio::test]
async fn a_sync_without_news_is_empty_and_keeps_its_place() {
    let (alice, _, room) = pair_in_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let sync = syncer.next().await;
    assert!(!RoomSync::joined(&sync, &room).is_there(), "{sync}");
    alice.say(&room, "later").await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    assert_eq!(RoomSync::joined(&sync, &room).bodies(), ["later"]);
}

#[tokio::test]
async fn the_same_token_gives_the_same_again() {
    let (alice, bob, room) = pair_in_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    for text in ["one", "two"] {
        bob.say(&room, text).await;
    }
    let mut again = syncer.clone();
    let first = syncer.until(|sync| RoomSync::joined(sync, &room).bodies().len() == 2).await;
    let second = again.until(|sync| RoomSync::joined(sync, &room).bodies().len() == 2).await;
    assert_eq!(RoomSync::joined(&first, &room).timeline_ids(), RoomSync::joined(&second, &room).timeline_ids());
}

#[tokio::test]
async fn events_come_in_the_order_of_the_room() {
    let (alice, bob, room) = pair_in_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(alice.say(&room, &format!("a{n}")).await);
        ids.push(bob.say(&room, &format!("b{n}")).await);
    }
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).timeline().len() == 8).await;
    assert_eq!(RoomSync::joined(&sync, &room).timeline_ids(), ids);
}

#[tokio::test]
async fn a_long_poll_answers_when_something_comes() {
    let (alice, bob, room) = pair_in_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let wait = syncer.request(30_000).into_future();
    let (answer, id) = tokio::join!(wait, bob.say(&room, "wake up"));
    let sync = answer.ok();
    assert_eq!(RoomSync::joined(&sync, &room).timeline_ids(), [id.as_str()]);
}

#[tokio::test]
async fn a_long_poll_ends_at_its_timeout() {
    let alice = shared().user("alice").await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let began = std::time::Instant::now();
    let sync = syncer.step(400).await;
    assert!(began.elapsed().as_millis() >= 390, "{:?}", began.elapsed());
    assert!(sync["rooms"]["join"].as_object().is_none_or(serde_json::Map::is_empty), "{sync}");
}

#[tokio::test]
async fn a_long_poll_hears_of_invites() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.create_room(json!({})).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    let wait = syncer.request(30_000).into_future();
    let (answer, ()) = tokio::join!(wait, alice.invite(&room, &bob));
    assert!(RoomSync::invited(&answer.ok(), &room).is_there());
}

#[tokio::test]
async fn a_gap_is_told_and_can_be_filled() {
    let (alice, bob, room) = pair_in_room().await;
    let filter = json!({ "room": { "timeline": { "limit": 3 } } });
    let mut syncer = alice.syncer().filter(&filter);
    bob.say(&room, "last seen").await;
    let before = syncer.next().await["next_batch"].clone();
    for n in 0..8 {
        bob.say(&room, &n.to_string()).await;
    }
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).bodies().contains(&"7")).await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.bodies(), ["5", "6", "7"]);
    assert_eq!(view.field("timeline")["limited"], true);
    let prev = view.field("timeline")["prev_batch"].as_str().expect("prev_batch");
    let query = [("dir", "b"), ("from", prev), ("to", before.as_str().expect("a token")), ("limit", "50")];
    let page = alice.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
    assert_eq!(bodies(page["chunk"].as_array().expect("a chunk")), ["4", "3", "2", "1", "0"]);
}

#[tokio::test]
async fn exactly_as_many_events_as_the_limit_leave_no_gap() {
    let (alice, bob, room) = pair_in_room().await;
    let filter = json!({ "room": { "timeline": { "limit": 3 } } });
    let mut syncer = alice.syncer().filter(&filter);
    syncer.next().await;
    for n in 0..3 {
        bob.say(&room, &n.to_string()).await;
    }
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).bodies().contains(&"2")).await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.bodies(), ["0", "1", "2"]);
    assert_ne!(view.field("timeline")["limited"], true, "{sync}");
}

#[tokio::test]
async fn state_that_changed_in_a_gap_is_told() {
    let (alice, bob, room) = pair_in_room().await;
    let filter = json!({ "room": { "timeline": { "limit": 2 } } });
    let mut syncer = alice.syncer().filter(&filter);
    syncer.next().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "in the gap" })).await;
    alice.set_state(&room, "m.room.name", "", json!({ "name": "one" })).await;
    for text in ["a", "b"] {
        bob.say(&room, text).await;
    }
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).bodies().contains(&"b")).await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.field("timeline")["limited"], true);
    assert_eq!(view.find("state", "m.room.topic", "").expect("a topic")["content"]["topic"], "in the gap");
    assert!(view.find("state", "m.room.name", "").is_some());
    assert!(view.find("state", "m.room.create", "").is_none(), "what did not change does not come: {sync}");
}

#[tokio::test]
async fn state_within_the_timeline_is_not_repeated() {
    let (alice, _, room) = pair_in_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "new" })).await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    let view = RoomSync::joined(&sync, &room);
    assert!(view.find("timeline", "m.room.topic", "").is_some());
    assert!(view.find("state", "m.room.topic", "").is_none(), "{sync}");
}

#[tokio::test]
async fn full_state_brings_all_of_it() {
    let (alice, bob, room) = pair_in_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    bob.say(&room, "new").await;
    let mut full = syncer.clone().param("full_state", "true");
    let sync = full.until(|sync| !RoomSync::joined(sync, &room).bodies().is_empty()).await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.bodies(), ["new"]);
    for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules"] {
        assert!(view.find("state", kind, "").is_some(), "{kind}: {sync}");
    }
    assert!(view.find("state", "m.room.member", &bob.id).is_some());
}

#[tokio::test]
async fn full_state_brings_rooms_without_news_and_does_not_wait() {
    let (alice, _, room) = pair_in_room().await;
    let mut syncer = alice.syncer().param("full_state", "true");
    syncer.next().await;
    let sync = syncer.step(30_000).await;
    assert!(RoomSync::joined(&sync, &room).find("state", "m.room.create", "").is_some(), "{sync}");
}

#[tokio::test]
async fn state_after_is_the_state_behind_the_timeline() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "one" })).await;
    let mut syncer =
        alice.syncer().param("use_state_after", "true").param("org.matrix.msc4222.use_state_after", "true");
    let sync = syncer.next().await;
    let part = differs(
        "client-server-api#get_matrixclientv3sync",
        || "state_after",
        || {
            if RoomSync::joined(&sync, &room).field("state_after").is_null() {
                "org.matrix.msc4222.state_after"
            } else {
                "state_after"
            }
        },
    );
    let view = RoomSync::joined(&sync, &room);
    assert!(view.field("state").is_null(), "{sync}");
    assert_eq!(view.find(part, "m.room.topic", "").expect("a topic")["content"]["topic"], "one");
    assert!(view.find(part, "m.room.create", "").is_some(), "{sync}");
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "two" })).await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.find(part, "m.room.topic", "").expect("a topic")["content"]["topic"], "two");
    assert!(view.find("timeline", "m.room.topic", "").is_some());
    assert!(view.find(part, "m.room.create", "").is_none(), "{sync}");
}

/// Clients take no state from the timeline then, so its senders have to be in the state.
#[tokio::test]
async fn a_lazy_state_after_has_the_senders_of_the_timeline() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.say(&room, "hello").await;
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 5 } } });
    let syncer = alice.syncer().param("use_state_after", "true").param("org.matrix.msc4222.use_state_after", "true");
    let sync = syncer.filter(&filter).next().await;
    let view = RoomSync::joined(&sync, &room);
    assert!(view.find("timeline", "m.room.member", &bob.id).is_some(), "{sync}");
    let parts = ["state_after", "org.matrix.msc4222.state_after"];
    let member = parts.iter().find_map(|part| view.find(part, "m.room.member", &bob.id));
    assert_eq!(member.expect("the sender is in the state")["content"]["membership"], "join");
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/sync", &[]).query(&[("since", "nonsense")]).await;
    answer.error_in(400, &["M_INVALID_PARAM", "M_UNKNOWN", "M_BAD_JSON"]);
}

#[tokio::test]
async fn a_sync_needs_a_token() {
    shared().client().get("/_matrix/client/v3/sync", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn parameters_of_the_wrong_type_are_refused() {
    let alice = shared().user("alice").await;
    for query in [("timeout", "soon"), ("full_state", "maybe"), ("filter", "{broken")] {
        let answer = alice.get("/_matrix/client/v3/sync", &[]).query(&[query]).await;
        assert_eq!(answer.status, 400, "{query:?}: {answer}");
    }
}

#[tokio::test]
async fn a_redaction_reaches_the_sync() {
    let (alice, bob, room) = pair_in_room().await;
    let id = bob.say(&room, "secret").await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    bob.put(path, &[&room, &id, "redact"]).json(json!({})).await.ok();
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    let event = &RoomSync::joined(&sync, &room).timeline()[0];
    assert_eq!((&event["type"], &event["redacts"]), (&json!("m.room.redaction"), &json!(id)), "{event}");
    let initial = alice.syncer().next().await;
    let view = RoomSync::joined(&initial, &room);
    assert!(view.bodies().is_empty(), "{initial}");
    assert!(view.timeline_ids().contains(&id.as_str()), "a redacted event stays in its place: {initial}");
}

#[tokio::test]
async fn a_left_room_of_which_no_event_is_shown_is_paged_from_the_leave_on() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut sync = bob.syncer().filter(&json!({ "room": { "timeline": { "limit": 0 } } }));
    sync.next().await;
    bob.leave(&room).await;
    let answer = sync.next().await;
    let left = &answer["rooms"]["leave"][&room];
    let token = differs(
        "client-server-api#get_matrixclientv3sync",
        || Some(left["timeline"]["prev_batch"].as_str().expect("prev_batch").to_owned()),
        || {
            assert!(left.is_null(), "the room is not told of at all: {answer}");
            None
        },
    );
    let Some(token) = token else { return };
    let query = [("dir", "b"), ("limit", "1"), ("from", token.as_str())];
    let page = bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
    let newest = &page["chunk"][0];
    assert_eq!((&newest["content"]["membership"], &newest["state_key"]), (&json!("leave"), &json!(bob.id)), "{page}");
}
