//! Display names and avatars. Client-server API, "Profiles".

use depesche_spec_tests::prelude::*;

const NAME: &str = "/_matrix/client/v3/profile/{userId}/displayname";

#[tokio::test]
async fn a_display_name_is_counted_in_characters() {
    let alice = shared().user("alice").await;
    let name = "\u{1f600}".repeat(256);
    alice.put(NAME, &[&alice.id]).json(json!({ "displayname": name })).await.ok();
    assert_eq!(alice.get(NAME, &[&alice.id]).await.ok()["displayname"], name);
    let longer = json!({ "displayname": format!("{name}x") });
    assert_eq!(alice.put(NAME, &[&alice.id]).json(longer).await.status, 400);
}

#[tokio::test]
async fn a_display_name_is_set_and_shown_to_all() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let body = json!({ "displayname": "Alice" });
    alice.put("/_matrix/client/v3/profile/{userId}/displayname", &[&alice.id]).json(body.clone()).await.ok();
    let answer = bob.get("/_matrix/client/v3/profile/{userId}/displayname", &[&alice.id]).await.ok();
    assert_eq!(answer, body);
    let whole = bob.get("/_matrix/client/v3/profile/{userId}", &[&alice.id]).await.ok();
    assert_eq!(whole["displayname"], "Alice");
}

#[tokio::test]
async fn an_avatar_is_set_and_shown_to_all() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let body = json!({ "avatar_url": "mxc://depesche.test/abc" });
    alice.put("/_matrix/client/v3/profile/{userId}/avatar_url", &[&alice.id]).json(body.clone()).await.ok();
    let answer = bob.get("/_matrix/client/v3/profile/{userId}/avatar_url", &[&alice.id]).await.ok();
    assert_eq!(answer, body);
    let whole = bob.get("/_matrix/client/v3/profile/{userId}", &[&alice.id]).await.ok();
    assert_eq!(whole["avatar_url"], "mxc://depesche.test/abc");
}

#[tokio::test]
async fn nobody_changes_the_profile_of_another() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let name = bob.put(NAME, &[&alice.id]).json(json!({ "displayname": "Eve" })).await;
    let path = "/_matrix/client/v3/profile/{userId}/avatar_url";
    let avatar = bob.put(path, &[&alice.id]).json(json!({ "avatar_url": "mxc://a/b" })).await;
    for answer in [name, avatar] {
        differs(
            "client-server-api#put_matrixclientv3profileuseridkeyname",
            || answer.clone().error(403, "M_FORBIDDEN"),
            || answer.clone().error(400, "M_FORBIDDEN"),
        );
    }
    assert_eq!(alice.get(NAME, &[&alice.id]).await.ok()["displayname"], alice.localpart());
}

#[tokio::test]
async fn the_profile_of_nobody_is_not_found() {
    let alice = shared().user("alice").await;
    let nobody = "@nobody-at-all:depesche.test";
    alice.get("/_matrix/client/v3/profile/{userId}", &[nobody]).await.status(404);
    alice.get(NAME, &[nobody]).await.status(404);
}

#[tokio::test]
async fn a_new_name_reaches_the_rooms() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (first, second) = (alice.public_room().await, alice.public_room().await);
    bob.join(&first).await;
    bob.join(&second).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    alice.put(NAME, &[&alice.id]).json(json!({ "displayname": "Alice A." })).await.ok();
    let path = "/_matrix/client/v3/profile/{userId}/avatar_url";
    alice.put(path, &[&alice.id]).json(json!({ "avatar_url": "mxc://depesche.test/abc" })).await.ok();
    for room in [&first, &second] {
        let avatar = |event: &Value| event["content"]["avatar_url"] == "mxc://depesche.test/abc";
        syncer.clone().until(|sync| RoomSync::joined(sync, room).timeline().iter().any(avatar)).await;
        let member = alice.state(room, "m.room.member", &alice.id).await;
        assert_eq!(member["membership"], "join");
        assert_eq!(member["displayname"], "Alice A.");
        assert_eq!(member["avatar_url"], "mxc://depesche.test/abc");
    }
}

#[tokio::test]
async fn a_join_and_an_invite_carry_the_profile() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    bob.put(NAME, &[&bob.id]).json(json!({ "displayname": "Bob B." })).await.ok();
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    assert_eq!(alice.state(&room, "m.room.member", &bob.id).await["displayname"], "Bob B.");
    bob.join(&room).await;
    assert_eq!(alice.state(&room, "m.room.member", &bob.id).await["displayname"], "Bob B.");
}

#[tokio::test]
async fn a_new_account_is_named_after_its_user_id() {
    let alice = shared().user("alice").await;
    let answer = alice.get(NAME, &[&alice.id]).await.ok();
    assert_eq!(answer["displayname"], alice.localpart());
}

#[tokio::test]
async fn a_name_that_is_not_a_string_is_refused() {
    let alice = shared().user("alice").await;
    for body in [json!({ "displayname": 7 }), json!({ "displayname": { "a": 1 } })] {
        let answer = alice.put(NAME, &[&alice.id]).json(body).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
    assert_eq!(alice.get(NAME, &[&alice.id]).await.ok()["displayname"], alice.localpart());
}

#[tokio::test]
async fn a_profile_needs_a_token_to_change() {
    let alice = shared().user("alice").await;
    let answer = alice.without_token().put(NAME, &[&alice.id]).json(json!({ "displayname": "x" })).await;
    answer.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_deleted_field_is_gone() {
    let alice = shared().user("alice").await;
    let (name, avatar) = (json!({ "displayname": "Alice" }), json!({ "avatar_url": "mxc://example.org/a" }));
    alice.put("/_matrix/client/v3/profile/{userId}/{keyName}", &[&alice.id, "displayname"]).json(name).await.ok();
    alice.put("/_matrix/client/v3/profile/{userId}/{keyName}", &[&alice.id, "avatar_url"]).json(avatar).await.ok();
    alice.delete("/_matrix/client/v3/profile/{userId}/{keyName}", &[&alice.id, "displayname"]).await.ok();
    let whole = alice.get("/_matrix/client/v3/profile/{userId}", &[&alice.id]).await.ok();
    assert!(whole.get("displayname").is_none(), "{whole}");
    assert_eq!(whole["avatar_url"], "mxc://example.org/a");
}

#[tokio::test]
async fn a_profile_has_fields_of_any_name() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let path = "/_matrix/client/v3/profile/{userId}/{keyName}";
    for (field, value) in [
        ("m.tz", json!("Europe/Berlin")),
        ("org.example.languages", json!(["de", "en"])),
        ("org.example.nested", json!({ "a": { "b": 1 } })),
        ("org.example.2nd-name", json!("Al")),
    ] {
        alice.put(path, &[&alice.id, field]).json(json!({ field: value })).await.ok();
        let answer = bob.get("/_matrix/client/v3/profile/{userId}/{keyName}", &[&alice.id, field]).await.ok();
        assert_eq!(answer, json!({ field: value }));
        assert_eq!(bob.get("/_matrix/client/v3/profile/{userId}", &[&alice.id]).await.ok()[field], value);
    }
    alice.delete(path, &[&alice.id, "m.tz"]).await.ok();
    alice.delete(path, &[&alice.id, "m.tz"]).await.ok();
    bob.get(path, &[&alice.id, "m.tz"]).await.status(404);
    bob.delete(path, &[&alice.id, "org.example.nested"]).await.status(if target() == Target::Depesche {
        403
    } else {
        400
    });
    let capabilities = alice.get("/_matrix/client/v3/capabilities", &[]).await.ok();
    assert_eq!(capabilities["capabilities"]["m.profile_fields"]["enabled"], true);
}

#[tokio::test]
async fn a_profile_has_its_limits() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/profile/{userId}/{keyName}";
    let long = format!("org.{}", "x".repeat(252));
    alice.put(path, &[&alice.id, &long]).json(json!({ &long: 1 })).await.error(400, "M_KEY_TOO_LARGE");
    let (first, second) = ("org.example.first", "org.example.second");
    alice.put(path, &[&alice.id, first]).json(json!({ first: "x".repeat(40_000) })).await.ok();
    let answer = alice.put(path, &[&alice.id, second]).json(json!({ second: "x".repeat(40_000) })).await;
    answer.error(400, "M_PROFILE_TOO_LARGE");
    alice.get(path, &[&alice.id, second]).await.status(404);
    alice
        .put(path, &[&alice.id, first])
        .json(json!({ second: 1 }))
        .await
        .error_in(400, &["M_MISSING_PARAM", "M_BAD_JSON"]);
}

#[tokio::test]
async fn a_name_an_avatar_and_a_time_zone_are_text() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/profile/{userId}/{keyName}";
    let set =
        async |field: &str, value: Value| alice.put(path, &[&alice.id, field]).json(json!({ field: value })).await;
    set("displayname", json!("Alice")).await.ok();
    for value in [json!(null), json!(7)] {
        set("displayname", value).await.error_in(400, &["M_BAD_JSON", "M_INVALID_PARAM"]);
    }
    assert_eq!(alice.get(path, &[&alice.id, "displayname"]).await.ok()["displayname"], "Alice");
    set("avatar_url", json!(null)).await.error_in(400, &["M_BAD_JSON", "M_INVALID_PARAM"]);
    let zone = set("m.tz", json!(5)).await;
    differs(
        "client-server-api#put_matrixclientv3profileuseridkeyname",
        || zone.clone().error(400, "M_BAD_JSON"),
        || zone.clone().ok(),
    );
    set("m.tz", json!("Europe/Berlin")).await.ok();
    let profile = alice.get("/_matrix/client/v3/profile/{userId}", &[&alice.id]).await.ok();
    assert_eq!((&profile["displayname"], &profile["m.tz"]), (&json!("Alice"), &json!("Europe/Berlin")));
}

#[tokio::test]
async fn of_two_names_at_once_one_is_in_all_rooms() {
    let alice = shared().user("alice").await;
    let mut rooms = Vec::new();
    for _ in 0..5 {
        rooms.push(alice.public_room().await);
    }
    let rename = async |name: &str| alice.put(NAME, &[&alice.id]).json(json!({ "displayname": name })).await.ok();
    tokio::join!(rename("one"), rename("other"));
    let name = alice.get(NAME, &[&alice.id]).await.ok()["displayname"].clone();
    if target() == Target::Depesche {
        for room in &rooms {
            assert_eq!(alice.state(room, "m.room.member", &alice.id).await["displayname"], name);
        }
    }
}

#[tokio::test]
async fn what_is_no_field_or_of_another_is_not_deleted() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let path = "/_matrix/client/v3/profile/{userId}/{keyName}";
    let field = "org.example.kept";
    alice.put(path, &[&alice.id, field]).json(json!({ field: 1 })).await.ok();
    for name in ["Not A Name", "UPPER", "org.example/x"] {
        alice.delete(path, &[&alice.id, name]).await.error(400, "M_INVALID_PARAM");
    }
    let long = format!("org.{}", "x".repeat(252));
    alice.delete(path, &[&alice.id, &long]).await.error(400, "M_KEY_TOO_LARGE");
    alice.delete(path, &["nonsense", "displayname"]).await.error(400, "M_INVALID_PARAM");
    for name in ["displayname", field] {
        let answer = bob.delete(path, &[&alice.id, name]).await;
        differs(
            "client-server-api#delete_matrixclientv3profileuseridkeyname",
            || drop(answer.clone().error(403, "M_FORBIDDEN")),
            || drop(answer.clone().error(400, "M_FORBIDDEN")),
        );
    }
    let profile = alice.get("/_matrix/client/v3/profile/{userId}", &[&alice.id]).await.ok();
    assert_eq!((&profile["displayname"], &profile[field]), (&json!(alice.localpart()), &json!(1)));
}
