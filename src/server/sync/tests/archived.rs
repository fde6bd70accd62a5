//! Invites, knocks, leaves.

use ruma::events::StateEventType;

use super::*;
use crate::rooms::membership::Action;

#[tokio::test]
async fn an_invite_shows_the_room_and_who_invites() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.room(&alice).await;
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "Council" })).await;
    let mut client = server.client(&bob);
    client.sync().await;
    server.rooms.change(&room, &alice, &bob, Action::Invite).await.unwrap();
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "secret" })).await;
    for mut client in [client.clone(), server.client(&bob)] {
        let answer = client.sync().await;
        let invite = &answer["rooms"]["invite"][room.as_str()]["invite_state"];
        let expected =
            ["m.room.create", "m.room.name", "m.room.join_rules", "join @alice:agency.test", "invite @bob:agency.test"];
        assert_eq!(brief(invite), expected);
        for event in invite["events"].as_array().unwrap() {
            let fields: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(
                sorted(fields.into_iter().map(str::to_owned).collect()),
                ["content", "sender", "state_key", "type"]
            );
        }
        let name = invite["events"].as_array().unwrap().iter().find(|event| event["type"] == "m.room.name");
        assert_eq!(name.unwrap()["content"]["name"], "Council", "not what came after the invite");
        assert_eq!(client.sync().await.get("rooms"), None);
    }
}

#[tokio::test]
async fn an_invite_accepted_is_a_join_and_one_refused_a_leave() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let mut client = server.client(&bob);
    client.sync().await;
    let (accepted, refused, revoked) =
        (server.rooms.room(&alice).await, server.rooms.room(&alice).await, server.rooms.room(&alice).await);
    for room in [&accepted, &refused, &revoked] {
        server.rooms.change(room, &alice, &bob, Action::Invite).await.unwrap();
    }
    assert_eq!(client.sync().await["rooms"]["invite"].as_object().unwrap().len(), 3);
    server.rooms.join(&accepted, &bob).await;
    server.rooms.change(&refused, &bob, &bob, Action::Leave).await.unwrap();
    server.rooms.change(&revoked, &alice, &bob, Action::Kick).await.unwrap();
    server.rooms.say(&refused, &alice, "unseen").await;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"].get("invite"), None);
    let joined = &answer["rooms"]["join"][accepted.as_str()];
    assert_eq!(brief(&joined["timeline"]).last().unwrap(), "join @bob:agency.test");
    for room in [&refused, &revoked] {
        let left = &answer["rooms"]["leave"][room.as_str()];
        assert_eq!(brief(&left["timeline"]), ["leave @bob:agency.test"]);
        assert_eq!(left.get("state"), None);
    }
    assert_eq!(client.sync().await.get("rooms"), None);
}

#[tokio::test]
async fn a_knock_shows_the_room_and_a_withdrawn_one_is_a_leave() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.room(&alice).await;
    server.rooms.set(&room, &alice, StateEventType::RoomJoinRules, json!({ "join_rule": "knock" })).await;
    let mut client = server.client(&bob);
    client.sync().await;
    server.rooms.change(&room, &bob, &bob, Action::Knock).await.unwrap();
    let answer = client.sync().await;
    let knock = &answer["rooms"]["knock"][room.as_str()]["knock_state"];
    assert_eq!(brief(knock), ["m.room.create", "m.room.join_rules", "knock @bob:agency.test"]);
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    let answer = client.sync().await;
    assert!(answer["rooms"]["leave"].get(room.as_str()).is_some());
}

#[tokio::test]
async fn a_room_left_ends_with_the_leave() {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let room = server.rooms.public_room(&alice).await;
    for user in [&bob, &carol] {
        server.rooms.join(&room, user).await;
    }
    let mut leaver = server.client(&bob);
    let mut kicked = server.client(&carol);
    leaver.sync().await;
    kicked.sync().await;
    server.rooms.say(&room, &alice, "last").await;
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    server.rooms.change(&room, &alice, &carol, Action::Kick).await.unwrap();
    server.rooms.say(&room, &alice, "unseen").await;
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "unseen" })).await;
    let answer = leaver.sync().await;
    assert_eq!(answer["rooms"].get("join"), None);
    assert_eq!(brief(&answer["rooms"]["leave"][room.as_str()]["timeline"]), ["last", "leave @bob:agency.test"]);
    assert_eq!(answer["rooms"]["leave"][room.as_str()].get("state"), None);
    let answer = kicked.sync().await;
    let timeline = brief(&answer["rooms"]["leave"][room.as_str()]["timeline"]);
    assert_eq!(timeline, ["last", "leave @bob:agency.test", "leave @carol:agency.test"]);
    for mut client in [leaver, kicked] {
        assert_eq!(client.sync().await.get("rooms"), None);
    }
}

#[tokio::test]
async fn a_ban_after_leaving_is_told_and_nothing_else() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let mut client = server.client(&bob);
    client.sync().await;
    let mut late = client.clone();
    late.request.device = "LAPTOP".into();
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    client.sync().await;
    server.rooms.say(&room, &alice, "unseen").await;
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "unseen" })).await;
    server.rooms.change(&room, &alice, &bob, Action::Ban).await.unwrap();
    let answer = client.sync().await;
    assert_eq!(brief(&answer["rooms"]["leave"][room.as_str()]["timeline"]), ["ban @bob:agency.test"]);
    // Who slept through both hears of both.
    let answer = late.sync().await;
    let left = &answer["rooms"]["leave"][room.as_str()];
    assert_eq!(brief(&left["timeline"]), ["leave @bob:agency.test", "ban @bob:agency.test"]);
    assert_eq!(left.get("state"), None, "the name was set behind the back of who had left");
}

#[tokio::test]
async fn a_ban_that_alone_fits_brings_no_state_of_later() {
    for since_joined in [true, false] {
        let server = Server::new();
        let (alice, bob, carol) = users();
        let room = server.rooms.public_room(&alice).await;
        server.rooms.join(&room, &bob).await;
        let filter = json!({ "room": { "include_leave": true, "timeline": { "limit": 1 } } });
        let mut client = server.client_with(&bob, filter);
        if since_joined {
            client.sync().await;
        }
        let set = async |kind, content| server.rooms.set(&room, &alice, kind, content).await;
        set(StateEventType::RoomTopic, json!({ "topic": "seen" })).await;
        server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
        set(StateEventType::RoomTopic, json!({ "topic": "unseen" })).await;
        set(StateEventType::RoomName, json!({ "name": "unseen" })).await;
        server.rooms.join(&room, &carol).await;
        server.rooms.change(&room, &alice, &bob, Action::Ban).await.unwrap();
        let answer = client.sync().await;
        let left = &answer["rooms"]["leave"][room.as_str()];
        assert_eq!(brief(&left["timeline"]), ["ban @bob:agency.test"]);
        let text = left["state"].to_string();
        assert!(text.contains(r#""topic":"seen""#), "{text}");
        assert!(!text.contains("unseen") && !text.contains(carol.as_str()), "{text}");
    }
}

#[tokio::test]
async fn a_kick_is_told_though_the_invite_after_it_is_not() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let mut client = server.client(&bob);
    client.sync().await;
    server.rooms.ignore(&bob, &[&alice]).await;
    server.rooms.change(&room, &alice, &bob, Action::Kick).await.unwrap();
    server.rooms.change(&room, &alice, &bob, Action::Invite).await.unwrap();
    let answer = client.sync().await;
    assert_eq!(brief(&answer["rooms"]["leave"][room.as_str()]["timeline"]), ["leave @bob:agency.test"]);
    assert_eq!(answer["rooms"].get("invite"), None);
    assert_eq!(client.sync().await.get("rooms"), None, "told once");
}

#[tokio::test]
async fn archived_rooms_are_told_first_on_demand_until_forgotten() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    let only_invited = server.rooms.room(&alice).await;
    server.rooms.join(&room, &bob).await;
    server.rooms.say(&room, &alice, "last").await;
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    server.rooms.change(&only_invited, &alice, &bob, Action::Invite).await.unwrap();
    server.rooms.change(&only_invited, &bob, &bob, Action::Leave).await.unwrap();
    server.rooms.say(&room, &alice, "unseen").await;
    assert_eq!(server.client(&bob).sync().await.get("rooms"), None);
    let archive = json!({ "room": { "include_leave": true, "timeline": { "limit": 2 } } });
    let answer = server.client_with(&bob, archive.clone()).sync().await;
    assert_eq!(answer["rooms"]["leave"].as_object().unwrap().len(), 1);
    let left = &answer["rooms"]["leave"][room.as_str()];
    assert_eq!(brief(&left["timeline"]), ["last", "leave @bob:agency.test"]);
    assert_eq!(brief(&left["state"]).len(), 7);
    server.rooms.rooms.forget(&bob, &room).await.unwrap();
    assert_eq!(server.client_with(&bob, archive).sync().await.get("rooms"), None);
}

#[tokio::test]
async fn a_room_that_was_forgotten_is_told_of_to_who_still_has_it() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let (mut client, mut late) = (server.client(&bob), server.client(&bob));
    late.request.device = "LAPTOP".into();
    client.sync().await;
    late.sync().await;
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    client.sync().await;
    server.rooms.rooms.forget(&bob, &room).await.unwrap();
    server.rooms.change(&room, &alice, &bob, Action::Ban).await.unwrap();
    assert_eq!(client.sync().await.get("rooms"), None, "a forgotten room comes back by an invite at the earliest");
    let answer = late.sync().await;
    let left = brief(&answer["rooms"]["leave"][room.as_str()]["timeline"]);
    assert_eq!(left, ["leave @bob:agency.test", "ban @bob:agency.test"]);
    server.rooms.change(&room, &alice, &bob, Action::Unban).await.unwrap();
    assert_eq!(late.sync().await.get("rooms"), None);
    server.rooms.change(&room, &alice, &bob, Action::Invite).await.unwrap();
    assert!(late.sync().await["rooms"]["invite"].get(room.as_str()).is_some());
    assert!(server.rooms.rooms.forget(&bob, &room).await.is_err(), "who is invited has not left");
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    let answer = late.sync().await;
    assert_eq!(brief(&answer["rooms"]["leave"][room.as_str()]["timeline"]), ["leave @bob:agency.test"]);
    let archive = json!({ "room": { "include_leave": true } });
    assert_eq!(server.client_with(&bob, archive).sync().await.get("rooms"), None, "it was forgotten all the time");
}

#[tokio::test]
async fn joined_and_left_between_two_answers_is_a_leave() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    let mut client = server.client(&bob);
    client.sync().await;
    server.rooms.join(&room, &bob).await;
    server.rooms.say(&room, &alice, "seen").await;
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    let answer = client.sync().await;
    let timeline = brief(&answer["rooms"]["leave"][room.as_str()]["timeline"]);
    assert!(timeline.ends_with(&["join @bob:agency.test".into(), "seen".into(), "leave @bob:agency.test".into()]));
}

#[tokio::test]
async fn left_and_joined_again_goes_on_from_the_token() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let mut client = server.client(&bob);
    client.sync().await;
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "new" })).await;
    server.rooms.join(&room, &bob).await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(brief(&joined["timeline"]), ["leave @bob:agency.test", "m.room.name", "join @bob:agency.test"]);
}

#[tokio::test]
async fn an_invite_does_not_show_at_length_how_a_room_looks() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.room(&alice).await;
    let topic = |length: usize| json!({ "topic": "x".repeat(length) });
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "x".repeat(20_000) })).await;
    server.rooms.set(&room, &alice, StateEventType::RoomTopic, topic(5000)).await;
    server.rooms.change(&room, &alice, &bob, Action::Invite).await.unwrap();
    let answer = server.client(&bob).sync().await;
    let expected =
        ["m.room.create", "m.room.topic", "m.room.join_rules", "join @alice:agency.test", "invite @bob:agency.test"];
    assert_eq!(brief(&answer["rooms"]["invite"][room.as_str()]["invite_state"]), expected);
}
