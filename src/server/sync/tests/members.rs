//! Lazy loading of members, summaries, device lists.

use std::collections::BTreeSet;

use depesche_rules::bounds::MAX_HEROES;
use ruma::{OwnedRoomId, RoomId, events::StateEventType};

use super::*;
use crate::{rooms::membership::Action, testing::user};

const LAZY: &str = r#"{ "room": { "timeline": { "limit": 1 }, "state": { "lazy_load_members": true } } }"#;

fn lazy() -> Value {
    serde_json::from_str(LAZY).unwrap()
}

/// A public room of alice with many members.
async fn crowd(server: &Server, count: usize) -> (OwnedRoomId, Vec<OwnedUserId>) {
    let alice = user("alice");
    let room = server.rooms.public_room(&alice).await;
    let members: Vec<_> = (0..count).map(|n| user(&format!("member{n}"))).collect();
    for member in &members {
        server.rooms.join(&room, member).await;
    }
    (room, members)
}

fn members_of(room: &RoomId, answer: &Value) -> BTreeSet<String> {
    let state = &answer["rooms"]["join"][room.as_str()]["state"]["events"];
    let members = state.as_array().into_iter().flatten().filter(|event| event["type"] == "m.room.member");
    members.map(|event| event["state_key"].as_str().unwrap().to_owned()).collect()
}

fn names<'a>(users: impl IntoIterator<Item = &'a OwnedUserId>) -> BTreeSet<String> {
    users.into_iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn lazily_only_those_are_told_who_are_needed() {
    let server = Server::new();
    let (room, members) = crowd(&server, 10).await;
    server.rooms.say(&room, &members[9], "hello").await;
    let mut client = server.client_with(&members[8], lazy());
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    // Sender, oneself, and those after whom the room is called.
    let heroes: [_; MAX_HEROES] = [&user("alice"), &members[0], &members[1], &members[2], &members[3]];
    assert_eq!(joined["summary"]["m.heroes"], json!(heroes));
    let expected = names(heroes.into_iter().chain([&members[8], &members[9]]));
    assert_eq!(members_of(&room, &answer), expected);
    assert!(brief(&joined["state"]).contains(&"m.room.power_levels".to_owned()));
}

#[tokio::test]
async fn a_state_after_the_timeline_has_the_members_of_the_timeline() {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let room = server.rooms.public_room(&alice).await;
    let filter = json!({ "room": { "timeline": { "limit": 4 }, "state": { "lazy_load_members": true } } });
    let mut client = server.client_with(&alice, filter);
    client.request.use_state_after = true;
    server.rooms.join(&room, &carol).await;
    server.rooms.join(&room, &bob).await;
    server.rooms.say(&room, &bob, "hello").await;
    server.rooms.change(&room, &alice, &carol, Action::Kick).await.unwrap();
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(joined["timeline"]["events"].as_array().unwrap().len(), 4);
    // All the state that the client has is here: it takes none from the timeline.
    let state = brief(&joined["state_after"]);
    for member in ["join @alice:agency.test", "join @bob:agency.test", "leave @carol:agency.test"] {
        assert!(state.contains(&member.to_owned()), "{member}: {state:?}");
    }
    rename(&server, &room, &bob).await;
    server.rooms.say(&room, &bob, "under another name").await;
    let answer = client.sync().await;
    let state = &answer["rooms"]["join"][room.as_str()]["state_after"]["events"];
    assert_eq!((state.as_array().unwrap().len(), &state[0]["content"]["displayname"]), (1, &json!("New Name")));
}

#[tokio::test]
async fn who_asks_for_all_state_is_told_of_the_members_again() {
    let server = Server::new();
    let (room, members) = crowd(&server, 10).await;
    let mut client = server.client_with(&members[0], lazy());
    client.sync().await;
    server.rooms.say(&room, &members[7], "one").await;
    client.sync().await;
    server.rooms.say(&room, &members[7], "two").await;
    client.request.full_state = true;
    let told = members_of(&room, &client.sync().await);
    assert!(told.contains(members[7].as_str()) && told.contains(members[0].as_str()), "{told:?}");
    assert!(told.len() < 10, "{told:?}");
}

#[tokio::test]
async fn members_are_told_once_until_they_change() {
    let server = Server::new();
    let (room, members) = crowd(&server, 10).await;
    let mut client = server.client_with(&members[0], lazy());
    client.sync().await;
    server.rooms.say(&room, &members[7], "one").await;
    assert_eq!(members_of(&room, &client.ask().await.unwrap()), names([&members[7]]));
    // The answer was lost: again.
    assert_eq!(members_of(&room, &client.sync().await), names([&members[7]]));
    server.rooms.say(&room, &members[7], "two").await;
    assert_eq!(members_of(&room, &client.sync().await), BTreeSet::new());
    // A change in the gap is told, and goes for sent.
    rename(&server, &room, &members[6]).await;
    rename(&server, &room, &members[7]).await;
    server.rooms.say(&room, &members[7], "three").await;
    assert_eq!(members_of(&room, &client.sync().await), names([&members[6], &members[7]]));
    server.rooms.say(&room, &members[6], "four").await;
    assert_eq!(members_of(&room, &client.sync().await), BTreeSet::new());
    // A new beginning knows nothing.
    client.request.since = None;
    assert!(members_of(&room, &client.sync().await).contains(members[6].as_str()));
}

#[tokio::test]
async fn redundant_members_are_told_each_time() {
    let server = Server::new();
    let (room, members) = crowd(&server, 3).await;
    let mut filter = lazy();
    filter["room"]["state"]["include_redundant_members"] = json!(true);
    let mut client = server.client_with(&members[0], filter);
    client.sync().await;
    for _ in 0..2 {
        server.rooms.say(&room, &members[2], "again").await;
        assert_eq!(members_of(&room, &client.sync().await), names([&members[2]]));
    }
}

async fn rename(server: &Server, room: &RoomId, user: &UserId) {
    let change = crate::rooms::membership::Change {
        actor: user.to_owned(),
        target: user.to_owned(),
        action: Action::Join,
        content: crate::testing::object(json!({ "displayname": "New Name" })),
    };
    server.rooms.rooms.submit(room, change).await.unwrap();
}

#[tokio::test]
async fn a_summary_follows_the_members_and_the_name() {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    let summary = |answer: Value| answer["rooms"]["join"][room.as_str()]["summary"].clone();
    let counts = json!({ "m.joined_member_count": 1, "m.invited_member_count": 0 });
    assert_eq!(summary(client.sync().await), counts);
    server.rooms.change(&room, &alice, &bob, Action::Invite).await.unwrap();
    let counts = json!({ "m.heroes": [bob], "m.joined_member_count": 1, "m.invited_member_count": 1 });
    assert_eq!(summary(client.sync().await), counts);
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "Council" })).await;
    server.rooms.change(&room, &alice, &carol, Action::Invite).await.unwrap();
    let counts = json!({ "m.joined_member_count": 1, "m.invited_member_count": 2 });
    assert_eq!(summary(client.sync().await), counts, "a named room needs no heroes");
    for user in [&bob, &carol] {
        server.rooms.change(&room, user, user, Action::Leave).await.unwrap();
    }
    server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "" })).await;
    let counts = json!({ "m.heroes": [bob, carol], "m.joined_member_count": 1, "m.invited_member_count": 0 });
    assert_eq!(summary(client.sync().await), counts, "with nobody else there, those who were");
}

#[tokio::test]
async fn who_hears_nothing_of_a_lost_name_is_told_the_heroes() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let name = server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "hall" })).await;
    let mut client = server.client_with(&bob, json!({ "room": { "timeline": { "limit": 2 } } }));
    client.sync().await;
    server.rooms.redact(&room, &alice, &name).await;
    for body in ["one", "two"] {
        server.rooms.say(&room, &alice, body).await;
    }
    let joined = client.sync().await["rooms"]["join"][room.as_str()].clone();
    assert_eq!(brief(&joined["timeline"]), ["one", "two"]);
    assert_eq!(joined["summary"]["m.heroes"], json!([alice]));
}

async fn encrypted_room(server: &Server, creator: &UserId) -> OwnedRoomId {
    let room = server.rooms.public_room(creator).await;
    let algorithm = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    server.rooms.set(&room, creator, StateEventType::RoomEncryption, algorithm).await;
    room
}

async fn touch(server: &Server, user: &UserId) {
    let touched = server.rooms.base.transact(|tx| async move { crate::keys::touch(&tx, user).await });
    touched.await.unwrap();
}

fn lists(answer: &Value) -> (Value, Value) {
    let list = |name| answer["device_lists"].get(name).cloned().unwrap_or_else(|| json!([]));
    (list("changed"), list("left"))
}

#[tokio::test]
async fn device_lists_follow_keys_and_encrypted_rooms() {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let room = encrypted_room(&server, &alice).await;
    let plain = server.rooms.public_room(&alice).await;
    let mut client = server.client(&alice);
    let answer = client.sync().await;
    assert_eq!(lists(&answer), (json!([]), json!([])));
    server.rooms.join(&room, &bob).await;
    server.rooms.join(&plain, &carol).await;
    let before = client.request.since.clone().unwrap();
    assert_eq!(lists(&client.sync().await), (json!([bob, carol]), json!([])), "came to share a room");
    // Keys change: of members, of oneself, of strangers.
    for user in [&bob, &carol, &alice, &user("stranger")] {
        touch(&server, user).await;
    }
    assert_eq!(lists(&client.sync().await), (json!([alice, bob, carol]), json!([])));
    server.rooms.say(&room, &bob, "nothing new").await;
    assert_eq!(lists(&client.sync().await), (json!([]), json!([])));
    server.rooms.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    touch(&server, &bob).await;
    assert_eq!(lists(&client.sync().await), (json!([]), json!([bob])));
    let now = client.request.since.clone().unwrap();
    let changes = server.syncs.key_changes(&alice, &before, &now).await.unwrap();
    assert_eq!(changes.changed, [alice.clone(), carol].into());
    assert!(changes.left.is_empty(), "bob came and went in between");
}

#[tokio::test]
async fn a_room_that_becomes_encrypted_brings_its_members() {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let mut client = server.client(&alice);
    client.sync().await;
    let algorithm = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    server.rooms.set(&room, &alice, StateEventType::RoomEncryption, algorithm).await;
    assert_eq!(lists(&client.sync().await).0, json!([alice, bob]));
    // Who joins one learns of all who are there; who leaves it, of all with whom they share no other.
    let other = encrypted_room(&server, &carol).await;
    server.rooms.join(&other, &bob).await;
    server.rooms.join(&other, &alice).await;
    assert_eq!(lists(&client.sync().await).0, json!([alice, bob, carol]));
    server.rooms.change(&other, &alice, &alice, Action::Leave).await.unwrap();
    assert_eq!(lists(&client.sync().await), (json!([]), json!([carol])));
}

#[tokio::test]
async fn rooms_that_are_not_encrypted_bring_their_members_too() {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let (room, other) = (server.rooms.public_room(&carol).await, server.rooms.public_room(&bob).await);
    server.rooms.join(&room, &bob).await;
    let mut client = server.client(&alice);
    client.sync().await;
    server.rooms.join(&room, &alice).await;
    assert_eq!(lists(&client.sync().await), (json!([alice, bob, carol]), json!([])));
    server.rooms.join(&other, &alice).await;
    client.sync().await;
    server.rooms.change(&room, &alice, &alice, Action::Leave).await.unwrap();
    assert_eq!(lists(&client.sync().await), (json!([]), json!([carol])), "bob is still in the other room");
}

#[tokio::test]
async fn who_asks_for_all_state_is_told_of_the_members_of_the_gap() {
    let server = Server::new();
    let (room, members) = crowd(&server, 10).await;
    let mut client = server.client_with(&members[0], lazy());
    client.sync().await;
    rename(&server, &room, &members[6]).await;
    server.rooms.change(&room, &members[7], &members[7], Action::Leave).await.unwrap();
    server.rooms.say(&room, &members[8], "behind the gap").await;
    client.request.full_state = true;
    let told = members_of(&room, &client.sync().await);
    for user in [&members[6], &members[7], &members[8]] {
        assert!(told.contains(user.as_str()), "{user}: {told:?}");
    }
    assert!(!told.contains(members[9].as_str()), "{told:?}");
}

#[tokio::test]
async fn members_that_the_filter_keeps_out_were_not_sent() {
    let server = Server::new();
    let (room, members) = crowd(&server, 10).await;
    let mut filter = lazy();
    filter["room"]["state"]["not_types"] = json!(["m.room.member"]);
    let mut client = server.client_with(&members[0], filter);
    client.sync().await;
    server.rooms.say(&room, &members[7], "one").await;
    assert_eq!(members_of(&room, &client.sync().await), BTreeSet::new());
    client.request.filter = serde_json::from_value(lazy()).unwrap();
    server.rooms.say(&room, &members[7], "two").await;
    assert_eq!(members_of(&room, &client.sync().await), names([&members[7]]));
}

#[tokio::test]
async fn a_room_that_loses_its_name_is_called_after_its_members() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    let name = server.rooms.set(&room, &alice, StateEventType::RoomName, json!({ "name": "Council" })).await;
    let mut client = server.client(&alice);
    client.sync().await;
    server.rooms.redact(&room, &alice, &name).await;
    let answer = client.sync().await;
    assert_eq!(answer["rooms"]["join"][room.as_str()]["summary"]["m.heroes"], json!([bob]));
}

#[tokio::test]
async fn who_left_and_was_invited_anew_shares_nothing_any_more() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = encrypted_room(&server, &bob).await;
    server.rooms.join(&room, &alice).await;
    let mut client = server.client(&alice);
    client.sync().await;
    server.rooms.change(&room, &alice, &alice, Action::Leave).await.unwrap();
    server.rooms.change(&room, &bob, &alice, Action::Invite).await.unwrap();
    assert_eq!(lists(&client.sync().await), (json!([]), json!([bob])));
}

#[tokio::test]
async fn who_came_after_one_had_gone_was_never_shared() {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let encrypted = encrypted_room(&server, &bob).await;
    let plain = server.rooms.public_room(&bob).await;
    for room in [encrypted, plain] {
        server.rooms.join(&room, &alice).await;
        let mut client = server.client(&alice);
        client.sync().await;
        server.rooms.change(&room, &alice, &alice, Action::Leave).await.unwrap();
        server.rooms.join(&room, &carol).await;
        assert_eq!(lists(&client.sync().await), (json!([]), json!([bob])));
    }
}
