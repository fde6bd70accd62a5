//! `/sync` with filters and lazily loaded members. Client-server API, "Filtering" and "Lazy-loading room members".

use depesche_spec_tests::prelude::*;

async fn crowd() -> (User, User, User, String) {
    let (alice, bob, carol) = (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    carol.join(&room).await;
    (alice, bob, carol, room)
}

fn sorted(mut ids: Vec<&str>) -> Vec<&str> {
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_filter_chooses_rooms() {
    let alice = shared().user("alice").await;
    let (here, there) = (alice.public_room().await, alice.public_room().await);
    alice.say(&here, "here").await;
    alice.say(&there, "there").await;
    for (filter, wanted) in [
        (json!({ "room": { "rooms": [here] } }), [true, false]),
        (json!({ "room": { "not_rooms": [here] } }), [false, true]),
        (json!({ "room": { "rooms": [here, there], "not_rooms": [here] } }), [false, true]),
        (json!({ "room": { "rooms": [] } }), [false, false]),
    ] {
        let sync = alice.syncer().filter(&filter).next().await;
        let seen = [&here, &there].map(|room| !RoomSync::joined(&sync, room).bodies().is_empty());
        assert_eq!(seen, wanted, "{filter}: {sync}");
    }
}

#[tokio::test]
async fn a_filter_chooses_types_and_senders_of_the_timeline() {
    let (alice, bob, carol, room) = crowd().await;
    bob.say(&room, "by bob").await;
    carol.say(&room, "by carol").await;
    alice.send(&room, "org.example.thing", json!({ "body": "thing" })).await;
    for (timeline, wanted) in [
        (json!({ "types": ["m.room.message"] }), vec!["by bob", "by carol"]),
        (json!({ "types": ["m.room.*"], "senders": [bob.id], "not_types": ["m.room.member"] }), vec!["by bob"]),
        (json!({ "not_senders": [bob.id, carol.id], "types": ["org.*", "m.room.message"] }), vec!["thing"]),
        (json!({ "not_types": ["*"] }), vec![]),
    ] {
        let filter = json!({ "room": { "timeline": timeline } });
        let sync = alice.syncer().filter(&filter).next().await;
        assert_eq!(RoomSync::joined(&sync, &room).bodies(), wanted, "{filter}");
    }
}

#[tokio::test]
async fn a_filter_finds_its_events_behind_others() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    alice.send(&room, "org.example.rare", json!({ "body": "rare" })).await;
    for n in 0..15 {
        alice.say(&room, &n.to_string()).await;
    }
    let filter = json!({ "room": { "timeline": { "types": ["org.example.rare"], "limit": 2 } } });
    let sync = alice.syncer().filter(&filter).next().await;
    assert_eq!(RoomSync::joined(&sync, &room).bodies(), ["rare"]);
}

#[tokio::test]
async fn a_filter_chooses_the_state() {
    let (alice, _, _, room) = crowd().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" })).await;
    let filter = json!({ "room": { "state": { "types": ["m.room.topic"] }, "timeline": { "limit": 0 } } });
    let sync = alice.syncer().filter(&filter).next().await;
    let state = RoomSync::joined(&sync, &room).events("state");
    let kinds: Vec<_> = state.iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, [json!("m.room.topic")], "{sync}");
}

#[tokio::test]
async fn a_filter_chooses_the_fields() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    alice
        .send(&room, "m.room.message", json!({ "msgtype": "m.text", "body": "b", "other": { "x.y": 1, "z": 2 } }))
        .await;
    let filter = json!({ "event_fields": ["type", "content.body", "content.other.x\\.y"] });
    let sync = alice.syncer().filter(&filter).next().await;
    let event = RoomSync::joined(&sync, &room).timeline().last().expect("the message").clone();
    assert_eq!(event["content"], json!({ "body": "b", "other": { "x.y": 1 } }), "{event}");
    assert_eq!(event["type"], "m.room.message");
    assert!(event.get("sender").is_none(), "{event}");
}

#[tokio::test]
async fn a_filter_chooses_account_data() {
    let alice = shared().user("alice").await;
    for kind in ["org.example.one", "org.example.two"] {
        let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
        alice.put(path, &[&alice.id, kind]).json(json!({ "a": 1 })).await.ok();
    }
    let filter = json!({ "account_data": { "types": ["org.example.two"] } });
    let sync = alice.syncer().filter(&filter).next().await;
    let kinds: Vec<_> =
        sync["account_data"]["events"].as_array().expect("events").iter().map(|e| e["type"].clone()).collect();
    assert_eq!(kinds, [json!("org.example.two")]);
}

#[tokio::test]
async fn lazy_members_are_those_that_speak() {
    let (alice, bob, carol, room) = crowd().await;
    // In a room without a name the heroes would come too.
    alice.set_state(&room, "m.room.name", "", json!({ "name": "Name" })).await;
    bob.say(&room, "hello").await;
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let mut syncer = alice.syncer().filter(&filter);
    let sync = syncer.next().await;
    assert_eq!(RoomSync::joined(&sync, &room).members("state"), sorted(vec![&alice.id, &bob.id]), "{sync}");
    carol.say(&room, "me too").await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    assert_eq!(RoomSync::joined(&sync, &room).members("state"), [carol.id.as_str()], "{sync}");
}

#[tokio::test]
async fn lazy_members_are_sent_once_unless_asked_for() {
    let (alice, bob, _, room) = crowd().await;
    for redundant in [false, true] {
        let lazy = json!({ "lazy_load_members": true, "include_redundant_members": redundant });
        let filter = json!({ "room": { "state": lazy, "timeline": { "limit": 1 } } });
        let mut syncer = alice.syncer().filter(&filter);
        bob.say(&room, "one").await;
        let sync = syncer.next().await;
        assert!(RoomSync::joined(&sync, &room).members("state").contains(&bob.id.as_str()));
        bob.say(&room, "two").await;
        let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
        let again = RoomSync::joined(&sync, &room).members("state").contains(&bob.id.as_str());
        // A server may send what it does not know to be known; it must where that is asked for.
        assert!(again || !redundant, "{sync}");
    }
}

#[tokio::test]
async fn lazy_members_do_not_hide_changes_of_membership() {
    let (alice, bob, carol, room) = crowd().await;
    let filter = json!({ "room": { "state": { "lazy_load_members": true }, "timeline": { "limit": 1 } } });
    let mut syncer = alice.syncer().filter(&filter);
    syncer.next().await;
    carol.leave(&room).await;
    bob.say(&room, "one").await;
    bob.say(&room, "two").await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).bodies().contains(&"two")).await;
    let view = RoomSync::joined(&sync, &room);
    assert_eq!(view.field("timeline")["limited"], true);
    let change = view.find("state", "m.room.member", &carol.id);
    differs(
        "client-server-api#lazy-loading-room-members",
        || assert_eq!(change.expect("the leave in the gap")["content"]["membership"], "leave"),
        || assert!(change.is_none_or(|event| event["content"]["membership"] == "leave"), "{sync}"),
    );
}

#[tokio::test]
async fn without_lazy_loading_all_members_come() {
    let (alice, bob, carol, room) = crowd().await;
    let filter = json!({ "room": { "timeline": { "limit": 1 } } });
    let sync = alice.syncer().filter(&filter).next().await;
    let view = RoomSync::joined(&sync, &room);
    let mut members = view.members("state");
    members.extend(view.members("timeline"));
    assert_eq!(sorted(members), sorted(vec![&alice.id, &bob.id, &carol.id]));
}

#[tokio::test]
async fn a_timeline_of_zero_has_no_events() {
    let (alice, bob, _, room) = crowd().await;
    bob.say(&room, "hello").await;
    let filter = json!({ "room": { "timeline": { "limit": 0 } } });
    let sync = alice.syncer().filter(&filter).next().await;
    let view = RoomSync::joined(&sync, &room);
    differs(
        "client-server-api#filtering",
        || assert!(view.timeline().is_empty(), "{sync}"),
        || assert!(view.timeline().len() <= 1, "{sync}"),
    );
}

#[tokio::test]
async fn the_federation_format_shows_the_whole_event() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    alice.say(&room, "hello").await;
    let filter = json!({ "event_format": "federation" });
    let sync = alice.syncer().filter(&filter).next().await;
    let event = RoomSync::joined(&sync, &room).timeline().last().expect("the message");
    for key in ["auth_events", "prev_events", "depth", "hashes", "signatures"] {
        assert!(event.get(key).is_some(), "{key}: {event}");
    }
}
