//! `/sync`: rooms that come and go, their summaries and counts. Client-server API, "Syncing", "Stripped state".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::sync::find_state;

async fn three() -> (User, User, User) {
    (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await)
}

#[tokio::test]
async fn a_room_just_joined_comes_with_its_state() {
    let (alice, bob, _) = three().await;
    let room = alice.public_room().await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "old" })).await;
    for n in 0..12 {
        alice.say(&room, &n.to_string()).await;
    }
    let mut syncer = bob.syncer();
    syncer.next().await;
    bob.join(&room).await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    let view = RoomSync::joined(&sync, &room);
    assert!(view.find("timeline", "m.room.member", &bob.id).is_some(), "{sync}");
    assert_eq!(view.find("state", "m.room.topic", "").expect("a topic")["content"]["topic"], "old");
    assert!(view.find("state", "m.room.create", "").is_some());
    assert!(view.find("state", "m.room.member", &alice.id).is_some());
    assert_eq!(view.field("timeline")["limited"], true);
    assert!(view.bodies().contains(&"11"), "shared history is shown: {sync}");
}

#[tokio::test]
async fn an_invite_comes_with_stripped_state() {
    let (alice, bob, _) = three().await;
    let room = alice.create_room(json!({ "name": "Name", "topic": "Topic" })).await;
    alice.set_state(&room, "m.room.avatar", "", json!({ "url": "mxc://a/b" })).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    alice.invite(&room, &bob).await;
    let sync = syncer.until(|sync| RoomSync::invited(sync, &room).is_there()).await;
    let events = RoomSync::invited(&sync, &room).events("invite_state");
    for kind in ["m.room.create", "m.room.name", "m.room.avatar", "m.room.join_rules", "m.room.topic"] {
        assert!(find_state(events, kind, "").is_some(), "{kind}: {sync}");
    }
    let own = find_state(events, "m.room.member", &bob.id).expect("the invite itself");
    assert_eq!((&own["content"]["membership"], &own["sender"]), (&json!("invite"), &json!(alice.id)));
    let inviter = find_state(events, "m.room.member", &alice.id).expect("who invites");
    assert_eq!(inviter["content"]["membership"], "join");
    assert!(find_state(events, "m.room.power_levels", "").is_none(), "{sync}");
    assert!(!RoomSync::joined(&sync, &room).is_there());
}

#[tokio::test]
async fn an_invite_is_in_an_initial_sync_and_goes_when_answered() {
    let (alice, bob, _) = three().await;
    let (accepted, declined) = (alice.create_room(json!({})).await, alice.create_room(json!({})).await);
    alice.invite(&accepted, &bob).await;
    alice.invite(&declined, &bob).await;
    let mut syncer = bob.syncer();
    let sync = syncer.next().await;
    assert!(RoomSync::invited(&sync, &accepted).is_there() && RoomSync::invited(&sync, &declined).is_there());
    bob.join(&accepted).await;
    bob.leave(&declined).await;
    syncer.until(|sync| RoomSync::left(sync, &declined).is_there()).await;
    let again = bob.syncer().next().await;
    assert!(RoomSync::joined(&again, &accepted).is_there(), "{again}");
    assert!(!RoomSync::invited(&again, &accepted).is_there() && !RoomSync::invited(&again, &declined).is_there());
}

#[tokio::test]
async fn an_invite_taken_back_is_a_room_left() {
    let (alice, bob, _) = three().await;
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    let body = json!({ "user_id": bob.id });
    alice.post("/_matrix/client/v3/rooms/{roomId}/kick", &[&room]).json(body).await.ok();
    let sync = syncer.until(|sync| RoomSync::left(sync, &room).is_there()).await;
    assert!(!RoomSync::invited(&sync, &room).is_there());
    let view = RoomSync::left(&sync, &room);
    assert!(view.timeline().iter().all(|event| event["type"] == "m.room.member"), "{sync}");
}

#[tokio::test]
async fn a_knock_comes_with_stripped_state() {
    let (alice, bob, _) = three().await;
    let rule = json!([{ "type": "m.room.join_rules", "content": { "join_rule": "knock" } }]);
    let room = alice.create_room(json!({ "name": "Name", "initial_state": rule })).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    bob.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&room]).json(json!({})).await.ok();
    let sync = syncer.until(|sync| RoomSync::knocked(sync, &room).is_there()).await;
    let events = RoomSync::knocked(&sync, &room).events("knock_state");
    assert_eq!(find_state(events, "m.room.name", "").expect("a name")["content"]["name"], "Name");
    let own = find_state(events, "m.room.member", &bob.id).expect("the knock itself");
    assert_eq!(own["content"]["membership"], "knock");
    assert!(RoomSync::knocked(&bob.syncer().next().await, &room).is_there());
}

#[tokio::test]
async fn a_room_left_comes_once_with_the_end_of_its_timeline() {
    let (alice, bob, _) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    alice.say(&room, "before").await;
    bob.leave(&room).await;
    alice.say(&room, "after").await;
    let sync = syncer.until(|sync| RoomSync::left(sync, &room).is_there()).await;
    let view = RoomSync::left(&sync, &room);
    assert_eq!(view.bodies(), ["before"]);
    let last = view.timeline().last().expect("an event");
    assert_eq!((&last["state_key"], &last["content"]["membership"]), (&json!(bob.id), &json!("leave")));
    alice.say(&room, "later").await;
    let sync = syncer.next().await;
    assert!(!RoomSync::left(&sync, &room).is_there() && !RoomSync::joined(&sync, &room).is_there(), "{sync}");
}

#[tokio::test]
async fn a_kick_and_a_ban_are_rooms_left() {
    let (alice, bob, carol) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    carol.join(&room).await;
    let (mut of_bob, mut of_carol) = (bob.syncer(), carol.syncer());
    of_bob.next().await;
    of_carol.next().await;
    let (kick, ban) = (json!({ "user_id": bob.id }), json!({ "user_id": carol.id }));
    alice.post("/_matrix/client/v3/rooms/{roomId}/kick", &[&room]).json(kick).await.ok();
    alice.post("/_matrix/client/v3/rooms/{roomId}/ban", &[&room]).json(ban).await.ok();
    let sync = of_bob.until(|sync| RoomSync::left(sync, &room).is_there()).await;
    let event = RoomSync::left(&sync, &room).find("timeline", "m.room.member", &bob.id).expect("the kick").clone();
    assert_eq!(event["content"]["membership"], "leave");
    let sync = of_carol.until(|sync| RoomSync::left(sync, &room).is_there()).await;
    let event = RoomSync::left(&sync, &room).find("timeline", "m.room.member", &carol.id).expect("the ban").clone();
    assert_eq!(event["content"]["membership"], "ban");
}

#[tokio::test]
async fn rooms_left_before_are_archived_and_come_on_request() {
    let (alice, bob, _) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    alice.say(&room, "before").await;
    bob.leave(&room).await;
    alice.say(&room, "after").await;
    assert!(!RoomSync::left(&bob.syncer().next().await, &room).is_there());
    let filter = json!({ "room": { "include_leave": true } });
    let sync = bob.syncer().filter(&filter).next().await;
    let view = RoomSync::left(&sync, &room);
    assert_eq!(view.bodies(), ["before"], "{sync}");
    let last = view.timeline().last().expect("an event");
    assert_eq!((&last["state_key"], &last["content"]["membership"]), (&json!(bob.id), &json!("leave")));
}

#[tokio::test]
async fn a_room_left_and_joined_again_is_joined() {
    let (alice, bob, _) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    bob.leave(&room).await;
    alice.say(&room, "between").await;
    bob.join(&room).await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    assert!(!RoomSync::left(&sync, &room).is_there(), "{sync}");
    let view = RoomSync::joined(&sync, &room);
    assert!(view.find("timeline", "m.room.member", &bob.id).is_some());
}

#[tokio::test]
async fn the_summary_counts_and_names_heroes() {
    let (alice, bob, carol) = three().await;
    let room = alice.create_room(json!({ "preset": "public_chat", "invite": [carol.id] })).await;
    bob.join(&room).await;
    let filter = json!({ "room": { "state": { "lazy_load_members": true } } });
    let mut syncer = alice.syncer().filter(&filter);
    let sync = syncer.next().await;
    let summary = RoomSync::joined(&sync, &room).field("summary");
    assert_eq!(
        (&summary["m.joined_member_count"], &summary["m.invited_member_count"]),
        (&json!(2), &json!(1)),
        "{sync}"
    );
    let mut heroes: Vec<&str> =
        summary["m.heroes"].as_array().expect("heroes").iter().filter_map(Value::as_str).collect();
    heroes.sort_unstable();
    let mut wanted = [bob.id.as_str(), carol.id.as_str()];
    wanted.sort_unstable();
    assert_eq!(heroes, wanted);
    bob.leave(&room).await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    let summary = RoomSync::joined(&sync, &room).field("summary");
    assert_eq!(summary["m.joined_member_count"], 1, "{sync}");
}

#[tokio::test]
async fn heroes_are_those_who_left_when_nobody_else_is_there() {
    let (alice, bob, _) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.leave(&room).await;
    let filter = json!({ "room": { "state": { "lazy_load_members": true } } });
    let sync = alice.syncer().filter(&filter).next().await;
    let summary = RoomSync::joined(&sync, &room).field("summary");
    assert_eq!(summary["m.heroes"], json!([bob.id]), "{sync}");
    assert_eq!(summary["m.joined_member_count"], 1, "{sync}");
}

#[tokio::test]
async fn messages_of_others_are_counted_until_one_speaks() {
    let (alice, bob, _) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    for text in ["one", "two"] {
        alice.say(&room, text).await;
    }
    let counts = |sync: &Value| RoomSync::joined(sync, &room).field("unread_notifications").clone();
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).bodies().contains(&"two")).await;
    assert_eq!(counts(&sync), json!({ "highlight_count": 0, "notification_count": 2 }));
    bob.say(&room, "I am here").await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).bodies().contains(&"I am here")).await;
    let count = counts(&sync)["notification_count"].clone();
    differs(
        "client-server-api#marking-notifications-as-read",
        || assert_eq!(count, 0, "{sync}"),
        || assert_eq!(count, 2, "{sync}"),
    );
}

#[tokio::test]
async fn the_own_messages_and_state_are_not_counted() {
    let (alice, bob, _) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.say(&room, "own").await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" })).await;
    let sync = bob.syncer().next().await;
    let counts = RoomSync::joined(&sync, &room).field("unread_notifications");
    assert_eq!(counts["notification_count"], 0, "{sync}");
}

#[tokio::test]
async fn a_mention_is_a_highlight() {
    let (alice, bob, carol) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    carol.join(&room).await;
    let content = json!({ "msgtype": "m.text", "body": "bob!", "m.mentions": { "user_ids": [bob.id] } });
    alice.send(&room, "m.room.message", content).await;
    for (user, highlights) in [(&bob, 1), (&carol, 0)] {
        let sync = user.syncer().next().await;
        let counts = RoomSync::joined(&sync, &room).field("unread_notifications");
        assert_eq!(
            (&counts["notification_count"], &counts["highlight_count"]),
            (&json!(1), &json!(highlights)),
            "{sync}"
        );
    }
}

#[tokio::test]
async fn a_mention_of_the_room_needs_its_level() {
    let (alice, bob, carol) = three().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    carol.join(&room).await;
    let content = json!({ "msgtype": "m.text", "body": "all", "m.mentions": { "room": true } });
    bob.send(&room, "m.room.message", content.clone()).await;
    let highlights =
        |sync: &Value| RoomSync::joined(sync, &room).field("unread_notifications")["highlight_count"].clone();
    assert_eq!(highlights(&carol.syncer().next().await), 0);
    alice.send(&room, "m.room.message", content).await;
    assert_eq!(highlights(&carol.syncer().next().await), 1);
}

#[tokio::test]
async fn events_tell_the_membership_at_their_time() {
    let (alice, bob, _) = three().await;
    let room = alice.public_room().await;
    alice.say(&room, "before").await;
    bob.join(&room).await;
    alice.say(&room, "after").await;
    let sync = bob.syncer().next().await;
    let view = RoomSync::joined(&sync, &room);
    let membership = |body: &str| {
        let event = view.timeline().iter().find(|event| event["content"]["body"] == body).expect("the message");
        event["unsigned"]["membership"].clone()
    };
    assert_eq!((membership("before"), membership("after")), (json!("leave"), json!("join")), "{sync}");
}

#[tokio::test]
async fn joined_and_left_rooms_have_all_their_sections() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut sync = bob.syncer();
    let joined = sync.next().await["rooms"]["join"][&room].clone();
    for section in ["timeline", "state", "account_data", "ephemeral"] {
        assert!(joined[section]["events"].is_array(), "{section}: {joined}");
    }
    assert!(joined["timeline"]["limited"].is_boolean(), "{joined}");
    bob.leave(&room).await;
    let left = sync.next().await["rooms"]["leave"][&room].clone();
    for section in ["timeline", "state", "account_data"] {
        assert!(left[section]["events"].is_array(), "{section}: {left}");
    }
}
