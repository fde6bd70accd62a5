//! Account data and tags. Client-server API, "Client config" and "Room tagging".

use depesche_spec_tests::prelude::*;

#[tokio::test]
async fn account_data_is_kept_and_synced() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let mut syncer = other.syncer();
    syncer.next().await;
    let content = json!({ "key": ["value", 1, null] });
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    alice
        .put("/_matrix/client/v3/user/{userId}/account_data/{type}", &[&alice.id, "org.example.x"])
        .json(content.clone())
        .await
        .ok();
    assert_eq!(alice.get(path, &[&alice.id, "org.example.x"]).await.ok(), content);
    let has = |sync: &Value| {
        let events = sync["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.iter().any(|event| event["type"] == "org.example.x" && event["content"] == content)
    };
    syncer.until(has).await;
    assert!(has(&alice.syncer().next().await));
}

#[tokio::test]
async fn many_entries_are_set_at_once() {
    let alice = shared().user("alice").await;
    let set = (0..10).map(|n| {
        let alice = alice.clone();
        async move {
            let kind = format!("org.example.{n}");
            let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
            alice.put(path, &[&alice.id, &kind]).json(json!({ "n": n })).await.ok();
        }
    });
    set.collect::<tokio::task::JoinSet<_>>().join_all().await;
    let sync = alice.syncer().next().await;
    let events = sync["account_data"]["events"].as_array().cloned().unwrap_or_default();
    let own = |event: &&Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("org.example."));
    assert_eq!(events.iter().filter(own).count(), 10, "{sync}");
}

#[tokio::test]
async fn account_data_that_was_never_set_is_not_found() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    alice.get(path, &[&alice.id, "org.example.none"]).await.error(404, "M_NOT_FOUND");
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    alice.get(path, &[&alice.id, &room, "org.example.none"]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn account_data_is_private() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    alice.put(path, &[&alice.id, "org.example.x"]).json(json!({ "a": 1 })).await.ok();
    bob.get(path, &[&alice.id, "org.example.x"]).await.error(403, "M_FORBIDDEN");
    bob.put(path, &[&alice.id, "org.example.x"]).json(json!({ "a": 2 })).await.error(403, "M_FORBIDDEN");
    assert_eq!(alice.get(path, &[&alice.id, "org.example.x"]).await.ok()["a"], 1);
}

#[tokio::test]
async fn account_data_that_the_server_manages_is_not_set() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    let answer = alice.put(path, &[&alice.id, "m.push_rules"]).json(json!({ "global": {} })).await;
    answer.error(405, "M_BAD_JSON");
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    let answer = alice.put(path, &[&alice.id, &room, "m.fully_read"]).json(json!({ "event_id": "$x" })).await;
    answer.error(405, "M_BAD_JSON");
}

#[tokio::test]
async fn account_data_is_an_object() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    for body in [json!([]), json!("text")] {
        alice.put(path, &[&alice.id, "org.example.x"]).json(body).await.error(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn account_data_of_a_room_is_kept_and_synced() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    let content = json!({ "a": 1 });
    alice
        .put(
            "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
            &[&alice.id, &room, "org.example.x"],
        )
        .json(content.clone())
        .await
        .ok();
    assert_eq!(alice.get(path, &[&alice.id, &room, "org.example.x"]).await.ok(), content);
    let sync = syncer.until(|sync| !RoomSync::joined(sync, &room).events("account_data").is_empty()).await;
    let event = &RoomSync::joined(&sync, &room).events("account_data")[0];
    assert_eq!((&event["type"], &event["content"]), (&json!("org.example.x"), &content));
    assert!(RoomSync::joined(&sync, &room).timeline().is_empty(), "{sync}");
}

#[tokio::test]
async fn account_data_of_a_room_is_private_an_object_and_of_a_room() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    let content = json!({ "a": 1 });
    alice.put(path, &[&alice.id, &room, "org.example.x"]).json(content.clone()).await.ok();
    bob.get(path, &[&alice.id, &room, "org.example.x"]).await.error(403, "M_FORBIDDEN");
    bob.put(path, &[&alice.id, &room, "org.example.x"]).json(json!({})).await.error(403, "M_FORBIDDEN");
    for body in [json!([]), json!("text"), json!(7), json!(null)] {
        alice.put(path, &[&alice.id, &room, "org.example.x"]).json(body).await.error(400, "M_BAD_JSON");
    }
    assert_eq!(alice.get(path, &[&alice.id, &room, "org.example.x"]).await.ok(), content);
    for none in ["nonsense", "#alias:depesche.test", "@user:depesche.test"] {
        alice.get(path, &[&alice.id, none, "org.example.x"]).await.error(400, "M_INVALID_PARAM");
        let request = alice.put(path, &[&alice.id, none, "org.example.x"]);
        request.json(content.clone()).await.error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn account_data_of_others_does_not_come() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    alice.put(path, &[&alice.id, &room, "org.example.x"]).json(json!({ "a": 1 })).await.ok();
    let sync = bob.syncer().next().await;
    assert!(RoomSync::joined(&sync, &room).events("account_data").is_empty(), "{sync}");
}

#[tokio::test]
async fn tags_are_set_listed_and_taken_away() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";
    let mut syncer = alice.syncer();
    syncer.next().await;
    alice
        .put("/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}", &[&alice.id, &room, "m.favourite"])
        .json(json!({ "order": 0.25 }))
        .await
        .ok();
    alice.put(path, &[&alice.id, &room, "u.work"]).json(json!({})).await.ok();
    let tags = alice.get("/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags", &[&alice.id, &room]).await.ok();
    assert_eq!(tags["tags"], json!({ "m.favourite": { "order": 0.25 }, "u.work": {} }));
    let tagged = |sync: &Value, wanted: &Value| {
        let events = RoomSync::joined(sync, &room).events("account_data");
        events.iter().any(|event| event["type"] == "m.tag" && event["content"]["tags"] == *wanted)
    };
    syncer.until(|sync| tagged(sync, &tags["tags"])).await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";
    alice.delete(path, &[&alice.id, &room, "m.favourite"]).await.ok();
    syncer.until(|sync| tagged(sync, &json!({ "u.work": {} }))).await;
}

#[tokio::test]
async fn what_a_client_says_of_a_tag_is_kept() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let said = json!({ "order": 0.5, "org.example.colour": { "name": "red", "shades": [1, 2] } });
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";
    alice.put(path, &[&alice.id, &room, "u.work"]).json(said.clone()).await.ok();
    let tags = alice.get("/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags", &[&alice.id, &room]).await.ok();
    assert_eq!(tags["tags"]["u.work"], said);
    let sync = alice.syncer().next().await;
    let events = RoomSync::joined(&sync, &room).events("account_data");
    let tags = events.iter().find(|event| event["type"] == "m.tag").expect("the tags of the room");
    assert_eq!(tags["content"]["tags"]["u.work"], said);
}

#[tokio::test]
async fn the_order_of_a_tag_stays_as_it_was_written() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";
    // Element for iOS writes it as a string, and older clients count on beyond 1.
    for order in [json!("0.5"), json!(1.5)] {
        let said = json!({ "order": order });
        alice.put(path, &[&alice.id, &room, "m.favourite"]).json(said.clone()).await.ok();
        let tags = alice.get("/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags", &[&alice.id, &room]).await.ok();
        assert_eq!(tags["tags"]["m.favourite"], said);
    }
}

#[tokio::test]
async fn tags_are_private() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let tags = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags";
    bob.get(tags, &[&alice.id, &room]).await.error(403, "M_FORBIDDEN");
    let tag = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}";
    bob.put(tag, &[&alice.id, &room, "m.favourite"]).json(json!({})).await.error(403, "M_FORBIDDEN");
    bob.delete(tag, &[&alice.id, &room, "m.favourite"]).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_new_user_has_the_push_rules_of_the_specification() {
    let alice = shared().user("alice").await;
    let rules = alice.get("/_matrix/client/v3/pushrules/", &[]).await.ok();
    let ids = |kind: &str| {
        let list = rules["global"][kind].as_array().expect("a list").iter();
        list.filter_map(|rule| rule["rule_id"].as_str()).collect::<Vec<_>>()
    };
    assert_eq!(ids("override").first(), Some(&".m.rule.master"));
    assert!(ids("override").contains(&".m.rule.is_user_mention"), "{rules}");
    for rule in [".m.rule.message", ".m.rule.encrypted", ".m.rule.room_one_to_one"] {
        assert!(ids("underride").contains(&rule), "{rules}");
    }
}
