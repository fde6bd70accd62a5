//! Joined rooms: first answers, later ones, gaps, filters.

use depesche_config::Config;
use depesche_rules::bounds::MAX_SYNC_TIMELINE_LIMIT;
use depesche_store::Options;
use futures::future::join_all;
use ruma::events::StateEventType;
use serde_json::json;

use super::*;
use crate::{rooms::tokens, testing::engine};

#[tokio::test]
async fn a_first_answer_has_the_newest_events_and_the_state_before_them() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    for n in 0..5 {
        server.rooms.say(&room, &alice, &n.to_string()).await;
    }
    let mut client = server.client_with(&bob, json!({ "room": { "timeline": { "limit": 3 } } }));
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(brief(&joined["timeline"]), ["2", "3", "4"]);
    assert_eq!(joined["timeline"]["limited"], true);
    let state = [
        "join @alice:agency.test",
        "join @bob:agency.test",
        "m.room.create",
        "m.room.guest_access",
        "m.room.history_visibility",
        "m.room.join_rules",
        "m.room.power_levels",
    ];
    assert_eq!(sorted(brief(&joined["state"])), state);
    assert_eq!(joined["summary"]["m.joined_member_count"], 2);
    assert_eq!(joined["summary"]["m.invited_member_count"], 0);
    assert_eq!(joined["summary"]["m.heroes"], json!([alice]));
    assert_eq!(joined["unread_notifications"], json!({ "highlight_count": 0, "notification_count": 5 }));
    assert!(joined["timeline"]["events"][0].get("room_id").is_none());
    assert!(answer.get("device_lists").is_none());
    assert_eq!(answer["device_unused_fallback_key_types"], json!([]));
    assert_eq!(answer["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
}

#[tokio::test]
async fn a_young_room_is_all_timeline() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let answer = server.client(&alice).sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(brief(&joined["timeline"])[..2], ["m.room.create", "join @alice:agency.test"]);
    assert_eq!(joined["timeline"].get("limited"), None);
    assert_eq!(joined.get("state"), None);
}

#[tokio::test]
async fn later_answers_have_what_is_new_and_nothing_twice() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    let other = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let mut client = server.client(&bob);
    client.sync().await;
    assert_eq!(client.sync().await.get("rooms"), None);
    server.rooms.say(&room, &alice, "one").await;
    server.rooms.say(&other, &alice, "elsewhere").await;
    server.rooms.say(&room, &bob, "two").await;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"]["join"].as_object().unwrap().len(), 1);
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(brief(&joined["timeline"]), ["one", "two"]);
    assert_eq!(joined["timeline"].get("limited"), None);
    assert_eq!(joined.get("state"), None);
    assert_eq!(joined.get("summary"), None, "nothing in it changed");
    assert_eq!(joined["unread_notifications"]["notification_count"], 0, "who answers has read");
    assert_eq!(client.sync().await.get("rooms"), None);
}

#[tokio::test]
async fn the_same_token_gets_the_same_again() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    client.sync().await;
    server.rooms.say(&room, &alice, "one").await;
    let first = client.ask().await.unwrap();
    assert_eq!(client.ask().await.unwrap(), first);
}

#[tokio::test]
async fn a_gap_is_marked_and_the_state_of_it_told() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client_with(&alice, json!({ "room": { "timeline": { "limit": 2 } } }));
    client.sync().await;
    server.rooms.say(&room, &alice, "lost").await;
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "first" })).await;
    server.rooms.set(&room, &alice, StateEventType::RoomTopic, json!({ "topic": "kept" })).await;
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "second" })).await;
    server.rooms.say(&room, &alice, "seen").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(brief(&joined["timeline"]), ["m.room.name", "seen"]);
    assert_eq!(joined["timeline"]["limited"], true);
    assert_eq!(sorted(brief(&joined["state"])), ["m.room.name", "m.room.topic"]);
    let name = joined["state"]["events"].as_array().unwrap().iter().find(|event| event["type"] == "m.room.name");
    assert_eq!(name.unwrap()["content"]["name"], "first", "the state before the timeline, not behind it");
    // The gap begins where the token says.
    let place = tokens::place(joined["timeline"]["prev_batch"].as_str().unwrap()).unwrap();
    let view = server.rooms.rooms.find(&room).await.unwrap().unwrap();
    let before = view.timeline_before(place, 1).await.unwrap();
    let before = view.event(before[0].1).await.unwrap();
    assert!(before.pdu.is_state("m.room.topic", ""));
}

#[tokio::test]
async fn state_after_is_the_state_behind_the_timeline() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client_with(&alice, json!({ "room": { "timeline": { "limit": 1 } } }));
    client.request.use_state_after = true;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(joined.get("state"), None);
    assert_eq!(joined["state_after"]["events"].as_array().unwrap().len(), 6);
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "first" })).await;
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "second" })).await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(joined["state_after"]["events"][0]["content"]["name"], "second");
    server.rooms.say(&room, &alice, "no state").await;
    let answer = client.sync().await;
    assert!(answer["rooms"]["join"][room.as_str()].get("state_after").is_some(), "there even if it is empty");
}

#[tokio::test]
async fn full_state_is_all_of_it_and_the_timeline_still_what_is_new() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let quiet = server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    client.sync().await;
    server.rooms.say(&room, &alice, "new").await;
    client.request.full_state = true;
    // At once, though nothing may be new.
    let answer = client.sync_for(Duration::from_secs(30)).await;
    for (room, timeline) in [(&room, vec!["new"]), (&quiet, vec![])] {
        let joined = &answer["rooms"]["join"][room.as_str()];
        assert_eq!(brief(&joined["timeline"]), timeline);
        assert_eq!(joined["state"]["events"].as_array().unwrap().len(), 6);
    }
}

#[tokio::test]
async fn a_room_joined_since_is_told_whole() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.say(&room, &alice, "before").await;
    let mut client = server.client_with(&bob, json!({ "room": { "timeline": { "limit": 2 } } }));
    client.sync().await;
    server.rooms.join(&room, &bob).await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(brief(&joined["timeline"]), ["before", "join @bob:agency.test"]);
    assert_eq!(joined["timeline"]["limited"], true);
    assert_eq!(brief(&joined["state"]).len(), 6);
    assert_eq!(joined["summary"]["m.joined_member_count"], 2);
    // And from there on watched.
    server.rooms.say(&room, &alice, "after").await;
    let answer = client.sync().await;
    assert_eq!(brief(&answer["rooms"]["join"][room.as_str()]["timeline"]), ["after"]);
}

#[tokio::test]
async fn who_joins_a_room_without_shared_history_sees_it_from_the_join() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    let hidden = json!({ "history_visibility": "joined" });
    server.rooms.set(&room, &alice, StateEventType::RoomHistoryVisibility, hidden).await;
    server.rooms.say(&room, &alice, "hidden").await;
    server.rooms.join(&room, &bob).await;
    server.rooms.say(&room, &alice, "seen").await;
    let answer = server.client(&bob).sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    let timeline = brief(&joined["timeline"]);
    assert!(timeline.ends_with(&["join @bob:agency.test".to_owned(), "seen".to_owned()]), "{timeline:?}");
    assert!(!timeline.contains(&"hidden".to_owned()));
    let told = [brief(&joined["state"]), timeline].concat();
    assert!(told.contains(&"m.room.power_levels".to_owned()), "members know the whole state: {told:?}");
}

#[tokio::test]
async fn filters_choose_rooms_and_events() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    let other = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let filter = json!({
        "room": {
            "rooms": [room, other],
            "not_rooms": [other],
            "timeline": { "types": ["m.room.message"], "not_senders": [bob], "limit": 5 },
            "state": { "types": ["m.room.n*", "m.room.create"] },
        },
        "event_fields": ["type", "content.body", "content.name"],
    });
    let mut client = server.client_with(&alice, filter);
    let answer = client.sync().await;
    assert_eq!(answer["rooms"]["join"].as_object().unwrap().len(), 1);
    assert_eq!(brief(&answer["rooms"]["join"][room.as_str()]["state"]), ["m.room.create"]);
    server.rooms.say(&room, &bob, "unwanted").await;
    assert_eq!(
        client.sync().await["rooms"]["join"][room.as_str()]["unread_notifications"]["notification_count"],
        1,
        "counts are told though the event is not"
    );
    server.rooms.say(&other, &alice, "elsewhere").await;
    assert_eq!(client.sync().await.get("rooms"), None);
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "Council" })).await;
    server.rooms.say(&room, &alice, "wanted").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    let message = json!({ "type": "m.room.message", "content": { "body": "wanted" } });
    assert_eq!(joined["timeline"]["events"], json!([message]));
    let name = json!({ "type": "m.room.name", "content": { "name": "Council" } });
    assert_eq!(joined["state"]["events"], json!([name]), "what the timeline leaves out, the state has");
}

#[tokio::test]
async fn the_federation_format_is_the_event_as_signed() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let answer = server.client_with(&alice, json!({ "event_format": "federation" })).sync().await;
    let event = &answer["rooms"]["join"][room.as_str()]["timeline"]["events"][1];
    assert!(event["signatures"].is_object() && event["hashes"].is_object() && event["depth"].is_number(), "{event}");
}

#[tokio::test]
async fn tokens_of_others_are_refused() {
    let server = Server::new();
    let (alice, ..) = users();
    server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    let position = server.rooms.base.view().position().0;
    let beyond = [format!("s1_{}_0", position + 1), format!("s1_{position}_{}", position + 1)];
    for token in ["", "x", "s1_1", "s2_1_1", "t1-0-0", "s1_-1_0"].into_iter().chain(beyond.iter().map(String::as_str)) {
        client.request.since = Some(token.to_owned());
        assert!(matches!(client.ask().await, Err(SyncError::BadToken(_))), "{token}");
    }
}

#[tokio::test]
async fn mentions_are_counted_and_reading_by_sending_ends_them() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let mut client = server.client(&bob);
    client.sync().await;
    let mention = crate::rooms::send::Message {
        sender: alice.clone(),
        kind: "m.room.message".into(),
        content: crate::testing::object(json!({ "body": "you", "m.mentions": { "user_ids": [bob], "room": true } })),
        transaction: None,
    };
    server.rooms.rooms.submit(&room, mention).await.unwrap();
    server.rooms.say(&room, &alice, "all").await;
    let counts = |answer: &Value| answer["rooms"]["join"][room.as_str()]["unread_notifications"].clone();
    assert_eq!(counts(&client.sync().await), json!({ "highlight_count": 1, "notification_count": 2 }));
    server.rooms.say(&room, &bob, "read").await;
    assert_eq!(counts(&client.sync().await), json!({ "highlight_count": 0, "notification_count": 0 }));
}

#[tokio::test]
async fn a_limit_of_nothing_leaves_the_events_to_messages() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client_with(&alice, json!({ "room": { "timeline": { "limit": 0 } } }));
    client.sync().await;
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "new" })).await;
    server.rooms.say(&room, &alice, "left out").await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!((&joined["timeline"]["limited"], &joined["timeline"]["events"]), (&json!(true), &json!([])));
    assert_eq!(brief(&joined["state"]), ["m.room.name"]);
    let place = tokens::place(joined["timeline"]["prev_batch"].as_str().unwrap()).unwrap();
    let view = server.rooms.rooms.find(&room).await.unwrap().unwrap();
    let newest = view.event(view.timeline_before(place, 1).await.unwrap()[0].1).await.unwrap();
    assert_eq!(newest.pdu.content().get(), r#"{"body":"left out","msgtype":"m.text"}"#);
}

#[tokio::test]
async fn changed_state_says_what_it_replaces() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let topic =
        async |topic: &str| server.rooms.set(&room, &alice, StateEventType::RoomTopic, json!({ "topic": topic })).await;
    let old = topic("old").await;
    let mut client = server.client_with(&alice, json!({ "room": { "timeline": { "limit": 1 } } }));
    client.sync().await;
    topic("new").await;
    server.rooms.say(&room, &alice, "behind the gap").await;
    let answer = client.sync().await;
    let unsigned = &answer["rooms"]["join"][room.as_str()]["state"]["events"][0]["unsigned"];
    assert_eq!(unsigned["replaces_state"], json!(old));
    assert_eq!((&unsigned["prev_content"]["topic"], &unsigned["membership"]), (&json!("old"), &json!("join")));
    assert!(unsigned["age"].is_u64());
}

#[tokio::test]
async fn no_fields_are_all_fields() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let answer = server.client_with(&alice, json!({ "event_fields": [] })).sync().await;
    let event = &answer["rooms"]["join"][room.as_str()]["timeline"]["events"][0];
    assert_eq!((&event["type"], &event["sender"]), (&json!("m.room.create"), &json!(alice)));
}

#[tokio::test]
async fn a_timeline_has_so_many_events_and_no_more_whatever_is_asked() {
    let config = "[server]\nname = \"agency.test\"\n[limits]\nevents_per_page = 10000";
    let server = Server::of(Fixture::configured(engine(Options::default()), Config::parse(config).unwrap()));
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let most = MAX_SYNC_TIMELINE_LIMIT as usize;
    join_all((0..=most).map(|_| server.rooms.say(&room, &alice, "x"))).await;
    for (limit, shown) in [(most - 1, most - 1), (most, most), (most + 1, most), (9999, most)] {
        let answer = server.client_with(&alice, json!({ "room": { "timeline": { "limit": limit } } })).sync().await;
        let timeline = &answer["rooms"]["join"][room.as_str()]["timeline"];
        assert_eq!(timeline["events"].as_array().unwrap().len(), shown, "{limit}");
        assert_eq!(timeline["limited"], true);
    }
}
