//! What a push gateway is told. Client-server API, "Push notifications"; push gateway API.

use depesche_spec_tests::gateway::Gateway;
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{Options, unique};

/// Sets a pusher at the gateway and gives its pushkey.
async fn phone(user: &User, gateway: &Gateway, data: Value) -> String {
    let pushkey = unique("key");
    let mut all = json!({ "url": gateway.url() });
    all.as_object_mut().expect("an object").extend(data.as_object().expect("an object").clone());
    let pusher = json!({
        "kind": "http", "app_id": "org.example.app", "pushkey": pushkey, "app_display_name": "App",
        "device_display_name": "Phone", "lang": "de", "data": all,
    });
    user.post("/_matrix/client/v3/pushers/set", &[]).json(pusher).await.ok();
    pushkey
}

/// Alice and bob in a room of their own.
async fn pair(server: &Server) -> (User, User, String) {
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.create_room(json!({ "preset": "public_chat", "name": "Office" })).await;
    bob.join(&room).await;
    (alice, bob, room)
}

#[tokio::test]
async fn a_message_is_pushed() {
    let (alice, bob, room) = pair(shared()).await;
    let mut gateway = Gateway::start().await;
    let pushkey = phone(&bob, &gateway, json!({ "brand": "x" })).await;
    let id = alice.say(&room, "hello").await;
    let told = gateway.of_event(&id).await;
    assert_eq!((&told["room_id"], &told["type"]), (&json!(room), &json!("m.room.message")), "{told}");
    assert_eq!((&told["sender"], &told["room_name"]), (&json!(alice.id), &json!("Office")));
    assert_eq!(told["sender_display_name"], alice.localpart());
    assert_eq!(told["content"]["body"], "hello");
    assert_eq!(told["counts"]["unread"], 1);
    assert_eq!(told["prio"], "high");
    let device = &told["devices"][0];
    assert_eq!((&device["app_id"], &device["pushkey"]), (&json!("org.example.app"), &json!(pushkey)));
    assert_eq!(device["tweaks"]["sound"], "default", "a room of two");
    assert_eq!(device["data"]["brand"], "x");
    assert!(device["data"].get("url").is_none(), "{device}");
    assert!(device["pushkey_ts"].is_u64(), "{device}");
    let id = alice.say(&room, "again").await;
    let told = gateway.of_event(&id).await;
    differs(
        "push-gateway-api#post_matrixpushv1notify",
        || assert_eq!(told["counts"]["unread"], 2, "messages, unless the operator has rooms counted"),
        || assert!(told["counts"]["unread"].is_u64(), "{told}"),
    );
}

#[tokio::test]
async fn event_id_only_has_no_content() {
    let (alice, bob, room) = pair(shared()).await;
    let mut gateway = Gateway::start().await;
    let pushkey = phone(&bob, &gateway, json!({ "format": "event_id_only" })).await;
    let id = alice.say(&room, "secret").await;
    let told = gateway.of_event(&id).await;
    assert_eq!((&told["room_id"], &told["counts"]["unread"]), (&json!(room), &json!(1)));
    assert_eq!(told["devices"][0]["pushkey"], pushkey.as_str());
    assert_eq!(told["devices"][0]["data"]["format"], "event_id_only");
    for field in ["content", "sender", "sender_display_name", "type", "room_name", "room_alias"] {
        assert!(told.get(field).is_none(), "{field} in {told}");
    }
    assert!(!told.to_string().contains("secret"));
}

#[tokio::test]
async fn only_what_notifies_is_pushed() {
    let (alice, bob, room) = pair(shared()).await;
    let mut gateway = Gateway::start().await;
    phone(&bob, &gateway, json!({})).await;
    bob.say(&room, "my own").await;
    alice.send(&room, "m.room.message", json!({ "msgtype": "m.notice", "body": "from a bot" })).await;
    let rule = json!({ "actions": [] });
    bob.put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["sender", &alice.id]).json(rule).await.ok();
    let muted = alice.say(&room, "muted").await;
    bob.delete("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["sender", &alice.id]).await.ok();
    let rule = json!({ "pattern": "cake", "actions": ["notify", { "set_tweak": "sound", "value": "cake.wav" }] });
    bob.put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["content", "cake"]).json(rule).await.ok();
    let id = alice.say(&room, "There is Cake!").await;
    // Synapse has rules of the kind `sender` look for the sender in a field that no event has.
    let pushed = differs("client-server-api#push-rules", || vec![&id], || vec![&muted, &id]);
    let mut told = Value::Null;
    for wanted in pushed {
        told = gateway.next().await;
        assert_eq!(told["event_id"], wanted.as_str(), "the next that is pushed: {told}");
    }
    assert_eq!(told["devices"][0]["tweaks"]["sound"], "cake.wav");
}

#[tokio::test]
async fn an_invite_and_a_mention_are_pushed() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let mut gateway = Gateway::start().await;
    phone(&bob, &gateway, json!({})).await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    alice.invite(&room, &bob).await;
    let told = gateway.next().await;
    assert_eq!((&told["type"], &told["user_is_target"]), (&json!("m.room.member"), &json!(true)), "{told}");
    assert_eq!(told["room_id"], room.as_str());
    bob.join(&room).await;
    let content = json!({ "msgtype": "m.text", "body": "look", "m.mentions": { "user_ids": [bob.id] } });
    let id = alice.send(&room, "m.room.message", content).await;
    let told = gateway.of_event(&id).await;
    assert_eq!(told["devices"][0]["tweaks"]["highlight"], true, "{told}");
}

#[tokio::test]
async fn a_gateway_that_fails_is_asked_again() {
    let (alice, bob, room) = pair(shared()).await;
    let mut gateway = Gateway::start().await;
    phone(&bob, &gateway, json!({})).await;
    gateway.fail(true);
    let id = alice.say(&room, "hello").await;
    for _ in 0..2 {
        assert_eq!(gateway.next_failed().await["event_id"], id.as_str());
    }
    gateway.fail(false);
    assert_eq!(gateway.next().await["event_id"], id.as_str());
}

#[tokio::test]
async fn what_was_not_pushed_is_pushed_after_a_crash() {
    let mut server = Server::start(Options::default());
    let (alice, bob, room) = pair(&server).await;
    let mut gateway = Gateway::start().await;
    phone(&bob, &gateway, json!({})).await;
    gateway.fail(true);
    let id = alice.say(&room, "hello").await;
    gateway.next_failed().await;
    server.kill();
    gateway.fail(false);
    server.restart();
    assert_eq!(gateway.next().await["event_id"], id.as_str());
}

#[tokio::test]
async fn a_receipt_tells_the_count_by_itself() {
    let (alice, bob, room) = pair(shared()).await;
    let mut gateway = Gateway::start().await;
    let pushkey = phone(&bob, &gateway, json!({ "brand": "x" })).await;
    let id = alice.say(&room, "hello").await;
    assert_eq!(gateway.of_event(&id).await["counts"]["unread"], 1);
    let path = "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}";
    bob.post(path, &[&room, "m.read.private", &id]).json(json!({})).await.ok();
    let told = gateway.next().await;
    // "Counts whose value is zero should be omitted": but here it is all there is to say, and both say it.
    assert_eq!(told["counts"]["unread"], 0, "{told}");
    // Of an event it says nothing: some servers that with empty fields.
    for field in ["event_id", "room_id", "type", "sender"] {
        assert_eq!(told[field].as_str().unwrap_or_default(), "", "{field} in {told}");
    }
    assert!(told["content"].is_null(), "{told}");
    let device = &told["devices"][0];
    assert_eq!((&device["pushkey"], &device["data"]), (&json!(pushkey), &json!({ "brand": "x" })), "{told}");
}

#[tokio::test]
async fn of_many_messages_that_waited_the_newest_and_the_mentions_are_told() {
    let (alice, bob, room) = pair(shared()).await;
    let mut gateway = Gateway::start().await;
    phone(&bob, &gateway, json!({})).await;
    gateway.fail(true);
    let mut sent = Vec::new();
    for n in 0..16 {
        let mentions = if n == 7 { json!({ "user_ids": [bob.id] }) } else { json!({}) };
        let content = json!({ "msgtype": "m.text", "body": format!("message {n}"), "m.mentions": mentions });
        sent.push(alice.send(&room, "m.room.message", content).await);
    }
    gateway.next_failed().await;
    gateway.fail(false);
    let mut told = Vec::new();
    while told.last() != sent.last() {
        told.push(gateway.next().await["event_id"].as_str().expect("an event").to_owned());
    }
    assert!(told.contains(&sent[7]), "the mention is not among {told:?}");
    // Who was away is not rung up for each. The specification leaves it to the server; Synapse tells all.
    differs(
        "push-gateway-api#homeserver-behaviour",
        || assert!(told.len() < sent.len(), "each of them was told: {told:?}"),
        || assert_eq!(told, sent),
    );
}

#[tokio::test]
async fn a_gateway_that_fails_holds_up_no_other() {
    let (alice, bob, room) = pair(shared()).await;
    let (mut broken, mut sound) = (Gateway::start().await, Gateway::start().await);
    broken.fail(true);
    for gateway in [&broken, &sound] {
        phone(&bob, gateway, json!({})).await;
    }
    let first = alice.say(&room, "one").await;
    sound.of_event(&first).await;
    // After the third failure, the pause is one of seconds.
    for _ in 0..3 {
        assert_eq!(broken.next_failed().await["event_id"], first.as_str());
    }
    let second = alice.say(&room, "two").await;
    sound.of_event(&second).await;
    assert!(!broken.has_more(), "the one that failed waits, also when there is something new");
    broken.fail(false);
    assert_eq!(broken.next().await["event_id"], first.as_str());
    assert_eq!(broken.next().await["event_id"], second.as_str());
}

#[tokio::test]
async fn a_rejected_pushkey_loses_its_pusher() {
    let (alice, bob, room) = pair(shared()).await;
    let mut gateway = Gateway::start().await;
    let rejected = phone(&bob, &gateway, json!({})).await;
    let kept = phone(&bob, &gateway, json!({})).await;
    gateway.reject(&rejected);
    let id = alice.say(&room, "hello").await;
    gateway.of_event(&id).await;
    gateway.of_event(&id).await;
    let mut left = Vec::new();
    for _ in 0..100 {
        let answer = bob.get("/_matrix/client/v3/pushers", &[]).await.ok();
        left = answer["pushers"].as_array().expect("pushers").clone();
        if left.len() == 1 {
            break;
        }
        // Waits on the server for a moment: nothing is new.
        bob.syncer().step(0).await;
    }
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["pushkey"], kept.as_str());
}
