//! Replacing a room. Client-server API, "Room Upgrades".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{SERVER_NAME, unique};

const UPGRADE: &str = "/_matrix/client/v3/rooms/{roomId}/upgrade";

async fn upgrade(user: &User, room: &str, body: Value) -> String {
    let answer = user.post("/_matrix/client/v3/rooms/{roomId}/upgrade", &[room]).json(body).await.ok();
    answer["replacement_room"].as_str().expect("the new room").to_owned()
}

#[tokio::test]
async fn a_new_room_takes_the_place_of_the_old_one() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let acl = json!({ "allow": ["*"], "deny": ["evil.test"] });
    let state = json!([
        { "type": "m.room.avatar", "content": { "url": "mxc://depesche.test/abc" } },
        { "type": "m.room.server_acl", "content": acl },
        { "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } },
        { "type": "m.room.guest_access", "content": { "guest_access": "can_join" } },
    ]);
    let body = json!({
        "room_version": "10", "preset": "public_chat", "name": "Hall", "topic": "talk", "initial_state": state,
        "creation_content": { "type": "org.example.kind" }
    });
    let old = alice.create_room(body).await;
    bob.join(&old).await;
    let new = upgrade(&alice, &old, json!({ "new_version": "11" })).await;
    let create = alice.state(&new, "m.room.create", "").await;
    assert_eq!((&create["room_version"], &create["type"]), (&json!("11"), &json!("org.example.kind")));
    assert_eq!(create["predecessor"]["room_id"], old);
    assert!(create["predecessor"]["event_id"].is_string(), "{create}");
    for kind in [
        "m.room.server_acl",
        "m.room.encryption",
        "m.room.name",
        "m.room.avatar",
        "m.room.topic",
        "m.room.guest_access",
        "m.room.history_visibility",
        "m.room.join_rules",
    ] {
        let before = alice.state(&old, kind, "").await;
        assert_eq!(alice.state(&new, kind, "").await, before, "{kind}");
    }
    assert_eq!(alice.state(&old, "m.room.tombstone", "").await["replacement_room"], new);
    assert_eq!(alice.membership(&new, &bob).await, None);
    let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let message = json!({ "msgtype": "m.text", "body": "anybody here?" });
    bob.put(path, &[&old, "m.room.message", "1"]).json(message).await.error(403, "M_FORBIDDEN");
    bob.join(&new).await;
    bob.say(&new, "here").await;
}

#[tokio::test]
async fn power_levels_are_carried_over() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let levels = json!({ "users": { &alice.id: 100, &bob.id: 75 }, "kick": 60, "events": { "org.example.x": 33 } });
    let body = json!({ "room_version": "10", "preset": "public_chat", "power_level_content_override": levels });
    let old = alice.create_room(body).await;
    bob.join(&old).await;
    let new = upgrade(&alice, &old, json!({ "new_version": "11" })).await;
    let carried = alice.state(&new, "m.room.power_levels", "").await;
    assert_eq!((&carried["users"], &carried["kick"]), (&levels["users"], &levels["kick"]));
    assert_eq!(carried["events"]["org.example.x"], 33);
    let silenced = alice.state(&old, "m.room.power_levels", "").await;
    assert_eq!((&silenced["events_default"], &silenced["invite"]), (&json!(50), &json!(50)), "{silenced}");
}

#[tokio::test]
async fn from_version_12_on_those_who_create_have_no_level() {
    let (alice, bob, carol) = (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await);
    let levels = json!({ "users": { &alice.id: 100, &bob.id: 100, &carol.id: 50 } });
    let body = json!({ "room_version": "11", "preset": "public_chat", "power_level_content_override": levels });
    let old = alice.create_room(body).await;
    let new = upgrade(&alice, &old, json!({ "new_version": "12", "additional_creators": [bob.id] })).await;
    let create = alice.state(&new, "m.room.create", "").await;
    assert_eq!(create["additional_creators"], json!([bob.id]));
    assert_eq!(create["predecessor"]["room_id"], old);
    let carried = alice.state(&new, "m.room.power_levels", "").await;
    assert_eq!(carried["users"], json!({ &carol.id: 50 }));
    let tombstone = carried["events"]["m.room.tombstone"].as_i64();
    assert!(tombstone > carried["state_default"].as_i64(), "{carried}");
}

#[tokio::test]
async fn who_was_banned_stays_out() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let old = alice.create_room(json!({ "room_version": "11", "preset": "public_chat" })).await;
    let body = json!({ "user_id": bob.id, "reason": "noise" });
    alice.post("/_matrix/client/v3/rooms/{roomId}/ban", &[&old]).json(body).await.ok();
    let new = upgrade(&alice, &old, json!({ "new_version": "12" })).await;
    assert_eq!(alice.membership(&new, &bob).await.as_deref(), Some("ban"));
    let path = "/_matrix/client/v3/join/{roomIdOrAlias}";
    let answer = bob.post(path, &[&new]).json(json!({})).await;
    differs(
        "client-server-api#post_matrixclientv3joinroomidoralias",
        || answer.clone().error(403, "M_FORBIDDEN"),
        || answer.clone().error(403, "M_BAD_STATE"),
    );
}

#[tokio::test]
async fn aliases_and_publication_move() {
    let alice = shared().user("alice").await;
    let (main, other) = (unique("alias"), format!("#{}:{SERVER_NAME}", unique("alias")));
    let body = json!({
        "room_version": "11", "preset": "public_chat", "visibility": "public", "room_alias_name": main
    });
    let old = alice.create_room(body).await;
    let path = "/_matrix/client/v3/directory/room/{roomAlias}";
    alice.put(path, &[&other]).json(json!({ "room_id": old })).await.ok();
    let new = upgrade(&alice, &old, json!({ "new_version": "12" })).await;
    let main = format!("#{main}:{SERVER_NAME}");
    for alias in [&main, &other] {
        assert_eq!(alice.get(path, &[alias]).await.ok()["room_id"], new);
    }
    assert_eq!(alice.state(&new, "m.room.canonical_alias", "").await["alias"], main);
    assert!(alice.state(&old, "m.room.canonical_alias", "").await.get("alias").is_none());
    let path = "/_matrix/client/v3/directory/list/room/{roomId}";
    assert_eq!(alice.get(path, &[&new]).await.ok()["visibility"], "public");
    assert_eq!(alice.get(path, &[&old]).await.ok()["visibility"], "private");
}

#[tokio::test]
async fn who_asks_again_is_told_of_the_same_room() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let levels = json!({ "users": { &alice.id: 100, &bob.id: 100 } });
    let body = json!({ "room_version": "10", "preset": "public_chat", "power_level_content_override": levels });
    let old = alice.create_room(body).await;
    bob.join(&old).await;
    let wanted = json!({ "new_version": "11" });
    let (one, two) = tokio::join!(upgrade(&alice, &old, wanted.clone()), upgrade(&alice, &old, wanted.clone()));
    assert_eq!(one, two);
    assert_eq!(upgrade(&alice, &old, wanted.clone()).await, one);
    let answer = bob.post(UPGRADE, &[&old]).json(wanted).await;
    differs(
        "client-server-api#post_matrixclientv3roomsroomidupgrade",
        || assert_eq!(answer.clone().ok()["replacement_room"], one),
        || drop(answer.clone().error(400, "M_UNKNOWN")),
    );
}

#[tokio::test]
async fn who_joins_the_new_room_keeps_their_tags() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let old = alice.create_room(json!({ "room_version": "11", "preset": "public_chat" })).await;
    bob.join(&old).await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";
    bob.put(path, &[&bob.id, &old, "m.favourite"]).json(json!({ "order": 0.25 })).await.ok();
    let direct = json!({ &alice.id: [old] });
    let data = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    bob.put(data, &[&bob.id, "m.direct"]).json(direct).await.ok();
    let new = upgrade(&alice, &old, json!({ "new_version": "12" })).await;
    bob.join(&new).await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags";
    let tags = bob.get(path, &[&bob.id, &new]).await.ok();
    assert_eq!(tags["tags"]["m.favourite"]["order"], 0.25);
    let direct = bob.get(data, &[&bob.id, "m.direct"]).await.ok();
    assert_eq!(direct[&alice.id], json!([old, new]));
}

#[tokio::test]
async fn an_unknown_version_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let long = "v".repeat(33);
    for version in ["org.example.none", "1000", "no_such_version", "my version", "", &long] {
        let answer = alice.post(UPGRADE, &[&room]).json(json!({ "new_version": version })).await;
        answer.error(400, "M_UNSUPPORTED_ROOM_VERSION");
    }
    for body in [json!({}), json!({ "new_version": 11 })] {
        let answer = alice.post(UPGRADE, &[&room]).json(body).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
}

#[tokio::test]
async fn who_may_not_end_the_room_does_not_replace_it() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.post(UPGRADE, &[&room]).json(json!({ "new_version": "12" })).await.error(403, "M_FORBIDDEN");
    bob.join(&room).await;
    bob.post(UPGRADE, &[&room]).json(json!({ "new_version": "12" })).await.error(403, "M_FORBIDDEN");
    let answer = alice.without_token().post(UPGRADE, &[&room]).json(json!({ "new_version": "12" })).await;
    answer.error(401, "M_MISSING_TOKEN");
}
