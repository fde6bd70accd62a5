//! Room creation. Client-server API, "Creation", and the room versions.

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{SERVER_NAME, unique};

/// The versions that a client may rely on.
const STABLE: [&str; 7] = ["6", "7", "8", "9", "10", "11", "12"];

#[tokio::test]
async fn each_preset_has_its_rules() {
    let alice = shared().user("alice").await;
    for (preset, join, guests) in [
        ("private_chat", "invite", "can_join"),
        ("trusted_private_chat", "invite", "can_join"),
        ("public_chat", "public", "forbidden"),
    ] {
        let room = alice.create_room(json!({ "preset": preset })).await;
        assert_eq!(alice.state(&room, "m.room.join_rules", "").await["join_rule"], join, "{preset}");
        assert_eq!(alice.state(&room, "m.room.history_visibility", "").await["history_visibility"], "shared");
        let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
        let guest = alice.get(path, &[&room, "m.room.guest_access", ""]).await;
        // A room without the event forbids guests.
        let access = if guest.status == 404 { json!("forbidden") } else { guest.ok()["guest_access"].clone() };
        assert_eq!(access, guests, "{preset}");
    }
}

#[tokio::test]
async fn the_visibility_chooses_the_preset() {
    let alice = shared().user("alice").await;
    for (visibility, join) in [("public", "public"), ("private", "invite")] {
        let room = alice.create_room(json!({ "visibility": visibility })).await;
        assert_eq!(alice.state(&room, "m.room.join_rules", "").await["join_rule"], join, "{visibility}");
    }
    let room = alice.create_room(json!({})).await;
    assert_eq!(alice.state(&room, "m.room.join_rules", "").await["join_rule"], "invite");
    let room = alice.create_room(json!({ "visibility": "public", "preset": "private_chat" })).await;
    assert_eq!(alice.state(&room, "m.room.join_rules", "").await["join_rule"], "invite");
}

#[tokio::test]
async fn the_events_of_a_new_room_come_in_the_order_of_the_specification() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice
        .create_room(json!({
            "preset": "public_chat", "name": "Name", "topic": "Topic", "room_alias_name": unique("order"),
            "invite": [bob.id],
            "initial_state": [{ "type": "org.example.first", "content": {} }, { "type": "org.example.second", "content": {} }]
        }))
        .await;
    let query = [("dir", "f"), ("limit", "50")];
    let page = alice.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
    let types: Vec<&str> =
        page["chunk"].as_array().expect("a chunk").iter().filter_map(|e| e["type"].as_str()).collect();
    let place =
        |wanted: &str| types.iter().position(|kind| *kind == wanted).unwrap_or_else(|| panic!("{wanted}: {types:?}"));
    assert_eq!(types[..3], ["m.room.create", "m.room.member", "m.room.power_levels"]);
    assert_eq!(place("m.room.canonical_alias"), 3);
    let order = [
        "m.room.canonical_alias",
        "m.room.join_rules",
        "m.room.history_visibility",
        "org.example.first",
        "org.example.second",
        "m.room.name",
        "m.room.topic",
    ];
    assert!(order.map(place).is_sorted(), "{types:?}");
    assert_eq!(types.last(), Some(&"m.room.member"));
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("invite"));
}

#[tokio::test]
async fn name_and_topic_are_set_and_win_over_the_initial_state() {
    let alice = shared().user("alice").await;
    let room = alice
        .create_room(json!({
            "name": "Name", "topic": "Topic",
            "initial_state": [
                { "type": "m.room.name", "content": { "name": "other" } },
                { "type": "m.room.topic", "content": { "topic": "other" } }
            ]
        }))
        .await;
    assert_eq!(alice.state(&room, "m.room.name", "").await["name"], "Name");
    let topic = alice.state(&room, "m.room.topic", "").await;
    assert_eq!(topic["topic"], "Topic");
    let text = &topic["m.topic"]["m.text"][0];
    assert_eq!(text["body"], "Topic", "{topic}");
    assert!(text.get("mimetype").is_none_or(|kind| kind == "text/plain"), "{topic}");
}

#[tokio::test]
async fn the_initial_state_wins_over_the_preset() {
    let alice = shared().user("alice").await;
    let room = alice
        .create_room(json!({
            "preset": "private_chat",
            "initial_state": [
                { "type": "m.room.join_rules", "content": { "join_rule": "public" } },
                { "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } },
                { "type": "org.example.state", "state_key": "key", "content": { "a": 1 } }
            ]
        }))
        .await;
    assert_eq!(alice.state(&room, "m.room.join_rules", "").await["join_rule"], "public");
    assert_eq!(alice.state(&room, "m.room.history_visibility", "").await["history_visibility"], "joined");
    assert_eq!(alice.state(&room, "org.example.state", "key").await, json!({ "a": 1 }));
}

#[tokio::test]
async fn power_levels_are_overridden_key_by_key() {
    let alice = shared().user("alice").await;
    let body = json!({ "power_level_content_override": { "invite": 70, "events": { "m.room.topic": 10 } } });
    let room = alice.create_room(body).await;
    let levels = alice.state(&room, "m.room.power_levels", "").await;
    assert_eq!((&levels["invite"], &levels["events"]), (&json!(70), &json!({ "m.room.topic": 10 })));
    assert_eq!(levels["state_default"].as_i64().unwrap_or(50), 50);
}

#[tokio::test]
async fn the_creator_has_the_power_that_its_version_gives() {
    let alice = shared().user("alice").await;
    for version in STABLE {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let levels = alice.state(&room, "m.room.power_levels", "").await;
        if version == "12" {
            assert!(levels["users"].get(&alice.id).is_none(), "{levels}");
            let tombstone = levels["events"]["m.room.tombstone"].as_i64().expect("a level for tombstones");
            assert!(tombstone > levels["state_default"].as_i64().unwrap_or(50), "{levels}");
        } else {
            assert_eq!(levels["users"][&alice.id], 100, "version {version}: {levels}");
        }
        alice.set_state(&room, "m.room.name", "", json!({ "name": version })).await;
    }
}

#[tokio::test]
async fn each_stable_version_makes_a_room() {
    let alice = shared().user("alice").await;
    for version in STABLE {
        let room = alice.create_room(json!({ "room_version": version, "preset": "public_chat" })).await;
        let create = alice.state(&room, "m.room.create", "").await;
        assert_eq!(create["room_version"], version);
        let has_creator = !["11", "12"].contains(&version);
        assert_eq!(create.get("creator").is_some(), has_creator, "version {version}: {create}");
        assert_eq!(room.contains(':'), version != "12", "version {version}: {room}");
        let id = alice.say(&room, "hello").await;
        let event = alice.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, &id]).await.ok();
        assert_eq!((&event["room_id"], &event["content"]["body"]), (&json!(room), &json!("hello")));
    }
}

#[tokio::test]
async fn the_id_of_a_version_12_room_is_that_of_its_create_event() {
    let alice = shared().user("alice").await;
    let room = alice.create_room(json!({ "room_version": "12" })).await;
    let state = alice.get("/_matrix/client/v3/rooms/{roomId}/state", &[&room]).await.ok();
    let create =
        state.as_array().expect("state").iter().find(|e| e["type"] == "m.room.create").expect("create").clone();
    assert_eq!(create["event_id"].as_str().expect("an id")[1..], room[1..]);
    assert_eq!(create["room_id"], room);
}

#[tokio::test]
async fn unknown_versions_are_unsupported() {
    let alice = shared().user("alice").await;
    let long = "v".repeat(33);
    for version in ["99", "org.example.version", "no_such_version", "my version", "", &long] {
        let body = json!({ "room_version": version });
        let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(body).await;
        answer.error(400, "M_UNSUPPORTED_ROOM_VERSION");
    }
}

#[tokio::test]
async fn versions_1_and_2_are_not_made() {
    let alice = shared().user("alice").await;
    for version in ["1", "2"] {
        let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(json!({ "room_version": version })).await;
        differs(
            "rooms#feature-matrix",
            || drop(answer.clone().error(400, "M_UNSUPPORTED_ROOM_VERSION")),
            || drop(answer.clone().ok()),
        );
    }
}

#[tokio::test]
async fn a_version_that_is_not_a_string_is_refused() {
    let alice = shared().user("alice").await;
    let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(json!({ "room_version": 11 })).await;
    assert_eq!(answer.status, 400, "{answer}");
}

#[tokio::test]
async fn creation_content_is_kept_but_for_what_the_server_sets() {
    let alice = shared().user("alice").await;
    let content = json!({
        "m.federate": false, "type": "org.example.kind", "org.example.key": { "a": [1, 2] },
        "room_version": "1", "creator": "@other:elsewhere.test"
    });
    for version in ["10", "12"] {
        let room = alice.create_room(json!({ "room_version": version, "creation_content": content })).await;
        let create = alice.state(&room, "m.room.create", "").await;
        assert_eq!(create["m.federate"], false);
        assert_eq!(create["type"], "org.example.kind");
        assert_eq!(create["org.example.key"], json!({ "a": [1, 2] }));
        assert_eq!(create["room_version"], version);
        if version == "10" {
            assert_eq!(create["creator"], alice.id);
        }
    }
}

#[tokio::test]
async fn trusted_invitees_have_the_power_of_the_creator() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    for version in ["11", "12"] {
        let body = json!({ "preset": "trusted_private_chat", "room_version": version, "invite": [bob.id] });
        let room = alice.create_room(body).await;
        if version == "12" {
            let create = alice.state(&room, "m.room.create", "").await;
            assert_eq!(create["additional_creators"], json!([bob.id]), "{create}");
        } else {
            let levels = alice.state(&room, "m.room.power_levels", "").await;
            assert_eq!(levels["users"][&bob.id], levels["users"][&alice.id], "{levels}");
        }
        bob.join(&room).await;
        bob.set_state(&room, "m.room.power_levels", "", bob.state(&room, "m.room.power_levels", "").await).await;
    }
}

#[tokio::test]
async fn additional_creators_are_taken_from_the_creation_content() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let body = json!({
        "room_version": "12", "preset": "public_chat", "creation_content": { "additional_creators": [bob.id] }
    });
    let room = alice.create_room(body).await;
    assert_eq!(alice.state(&room, "m.room.create", "").await["additional_creators"], json!([bob.id]));
    bob.join(&room).await;
    bob.set_state(&room, "m.room.name", "", json!({ "name": "by bob" })).await;
}

#[tokio::test]
async fn additional_creators_that_are_no_user_ids_are_refused() {
    let alice = shared().user("alice").await;
    for creators in [json!(["bob"]), json!("@bob:depesche.test"), json!([7])] {
        let body = json!({ "room_version": "12", "creation_content": { "additional_creators": creators } });
        let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(body).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
}

#[tokio::test]
async fn creators_cannot_be_named_in_the_power_levels() {
    let alice = shared().user("alice").await;
    let body = json!({
        "room_version": "12", "power_level_content_override": { "users": { alice.id.clone(): 50 } }
    });
    let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(body).await;
    assert!([400, 403].contains(&answer.status), "{answer}");
}

#[tokio::test]
async fn invitees_are_invited_and_told_that_it_is_direct() {
    let (alice, bob, carol) = (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await);
    let room = alice.create_room(json!({ "invite": [bob.id, carol.id], "is_direct": true })).await;
    for user in [&bob, &carol] {
        let member = alice.state(&room, "m.room.member", &user.id).await;
        assert_eq!((&member["membership"], &member["is_direct"]), (&json!("invite"), &json!(true)));
        user.join(&room).await;
    }
    let room = alice.create_room(json!({ "invite": [bob.id] })).await;
    assert_ne!(alice.state(&room, "m.room.member", &bob.id).await["is_direct"], true);
}

#[tokio::test]
async fn an_invitee_that_is_no_user_id_is_refused() {
    let alice = shared().user("alice").await;
    let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(json!({ "invite": ["bob"] })).await;
    assert_eq!(answer.status, 400, "{answer}");
}

/// "Creating the room is not allowed"; inviting a member is refused with the same in a room that exists.
#[tokio::test]
async fn the_creator_cannot_be_invited() {
    let alice = shared().user("alice").await;
    for preset in ["private_chat", "trusted_private_chat", "public_chat"] {
        let body = json!({ "preset": preset, "invite": [alice.id] });
        alice.post("/_matrix/client/v3/createRoom", &[]).json(body).await.error(403, "M_FORBIDDEN");
    }
}

#[tokio::test]
async fn the_alias_of_a_new_room_is_its_canonical_one() {
    let alice = shared().user("alice").await;
    let name = unique("alias");
    let room = alice.create_room(json!({ "room_alias_name": name })).await;
    let alias = format!("#{name}:{SERVER_NAME}");
    assert_eq!(alice.state(&room, "m.room.canonical_alias", "").await["alias"], alias);
    let answer = alice.get("/_matrix/client/v3/directory/room/{roomAlias}", &[&alias]).await.ok();
    assert_eq!(answer["room_id"], room);
}

#[tokio::test]
async fn an_alias_in_use_makes_no_room() {
    let alice = shared().user("alice").await;
    let name = unique("alias");
    alice.create_room(json!({ "room_alias_name": name })).await;
    let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(json!({ "room_alias_name": name })).await;
    answer.error(400, "M_ROOM_IN_USE");
    let rooms = alice.get("/_matrix/client/v3/joined_rooms", &[]).await.ok();
    assert_eq!(rooms["joined_rooms"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn an_alias_name_with_a_colon_or_space_is_refused() {
    let alice = shared().user("alice").await;
    for name in ["with:colon", "with space"] {
        let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(json!({ "room_alias_name": name })).await;
        answer.error_in(400, &["M_INVALID_PARAM", "M_UNKNOWN", "M_BAD_JSON"]);
    }
}

#[tokio::test]
async fn an_alias_has_at_most_255_bytes() {
    let alice = shared().user("alice").await;
    let rest = "#".len() + ":".len() + SERVER_NAME.len();
    let name = |bytes: usize| unique("long") + &"x".repeat(bytes);
    let long = name(300);
    let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(json!({ "room_alias_name": long })).await;
    answer.error(400, "M_INVALID_PARAM");
    let longest = &name(255)[..255 - rest];
    alice.create_room(json!({ "room_alias_name": longest })).await;
}

#[tokio::test]
async fn unknown_presets_and_visibilities_are_refused() {
    let alice = shared().user("alice").await;
    for body in [json!({ "preset": "open_chat" }), json!({ "visibility": "hidden" })] {
        let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(body.clone()).await;
        differs(
            "client-server-api#post_matrixclientv3createroom",
            || drop(answer.clone().error_in(400, &["M_BAD_JSON", "M_INVALID_PARAM", "M_UNKNOWN"])),
            || assert!([200, 400].contains(&answer.status), "{answer}"),
        );
    }
}

#[tokio::test]
async fn wrong_types_are_refused_and_make_no_room() {
    let alice = shared().user("alice").await;
    for body in [
        json!({ "initial_state": "all" }),
        json!({ "initial_state": [{ "content": {} }] }),
        json!({ "creation_content": [] }),
        json!({ "invite": "someone" }),
        json!([]),
    ] {
        let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(body.clone()).await;
        differs(
            "client-server-api#post_matrixclientv3createroom",
            || drop(answer.clone().error_in(400, &["M_BAD_JSON", "M_INVALID_PARAM", "M_NOT_JSON"])),
            || assert!([400, 500].contains(&answer.status), "{body}: {answer}"),
        );
    }
}

#[tokio::test]
async fn an_initial_state_that_the_rules_forbid_makes_no_room() {
    let alice = shared().user("alice").await;
    // With this override the creator may not set the name of its own room.
    let body = json!({
        "room_version": "11", "name": "Name",
        "power_level_content_override": { "events": { "m.room.name": 101 } }
    });
    let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(body).await;
    differs(
        "client-server-api#post_matrixclientv3createroom",
        || drop(answer.clone().error(400, "M_INVALID_ROOM_STATE")),
        || drop(answer.clone().error(403, "M_FORBIDDEN")),
    );
}

#[tokio::test]
async fn power_levels_that_the_version_does_not_know_make_no_room() {
    let alice = shared().user("alice").await;
    for (version, levels) in [("12", json!({ "users": { &alice.id: 100 } })), ("10", json!({ "kick": "50" }))] {
        let body = json!({ "room_version": version, "power_level_content_override": levels });
        let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(body).await;
        differs(
            "client-server-api#post_matrixclientv3createroom",
            || drop(answer.clone().error(400, "M_INVALID_ROOM_STATE")),
            || assert!([400, 403, 500].contains(&answer.status), "{version}: {answer}"),
        );
    }
}

#[tokio::test]
async fn a_room_needs_a_token() {
    shared().client().post("/_matrix/client/v3/createRoom", &[]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn the_creator_has_joined() {
    let alice = shared().user("alice").await;
    let room = alice.create_room(json!({})).await;
    let rooms = alice.get("/_matrix/client/v3/joined_rooms", &[]).await.ok();
    assert_eq!(rooms["joined_rooms"], json!([room]));
    let members = alice.get("/_matrix/client/v3/rooms/{roomId}/joined_members", &[&room]).await.ok();
    assert_eq!(members["joined"].as_object().map(|m| m.keys().cloned().collect()), Some(vec![alice.id.clone()]));
}
