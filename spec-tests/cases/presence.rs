//! Presence. Client-server API, "Presence". On servers of their own, for it wakes everybody else.

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;

fn server() -> Server {
    Server::start(Options { presence: true, ..Options::default() })
}

/// Two users in a room.
async fn pair(server: &Server) -> (User, User) {
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    (alice, bob)
}

async fn set(user: &User, body: Value) {
    user.put("/_matrix/client/v3/presence/{userId}/status", &[&user.id]).json(body).await.ok();
}

async fn get(user: &User, of: &User) -> Value {
    user.get("/_matrix/client/v3/presence/{userId}/status", &[&of.id]).await.ok()
}

/// What an answer says of a user's presence last.
fn told<'a>(sync: &'a Value, user: &User) -> Option<&'a Value> {
    let events = sync["presence"]["events"].as_array()?;
    Some(&events.iter().rfind(|event| event["sender"] == user.id.as_str())?["content"])
}

/// A device that does not say whether its user is there.
fn unseen(user: &User) -> Syncer {
    user.syncer().param("set_presence", "offline")
}

#[tokio::test]
async fn those_who_share_a_room_learn_of_a_change() {
    let server = server();
    let (alice, bob) = pair(&server).await;
    let mut syncer = unseen(&alice);
    syncer.next().await;
    set(&bob, json!({ "presence": "online", "status_msg": "at my desk" })).await;
    let sync = syncer.until(|sync| told(sync, &bob).is_some_and(|told| told["presence"] == "online")).await;
    let content = told(&sync, &bob).expect("it was there");
    assert_eq!((&content["status_msg"], &content["currently_active"]), (&json!("at my desk"), &json!(true)));
    assert!(content["last_active_ago"].is_u64());
    set(&bob, json!({ "presence": "unavailable" })).await;
    syncer.until(|sync| told(sync, &bob).is_some_and(|told| told["presence"] == "unavailable")).await;
    set(&bob, json!({ "presence": "offline" })).await;
    syncer.until(|sync| told(sync, &bob).is_some_and(|told| told["presence"] == "offline")).await;
}

#[tokio::test]
async fn ones_own_is_told_as_well() {
    let server = server();
    let (alice, _) = pair(&server).await;
    let mut syncer = unseen(&alice);
    syncer.next().await;
    set(&alice, json!({ "presence": "unavailable", "status_msg": "at lunch" })).await;
    let sync = syncer.until(|sync| told(sync, &alice).is_some_and(|told| told["presence"] == "unavailable")).await;
    assert_eq!(told(&sync, &alice).expect("it was there")["status_msg"], "at lunch");
}

#[tokio::test]
async fn a_new_name_is_told_with_the_presence() {
    let server = server();
    let (alice, bob) = pair(&server).await;
    set(&bob, json!({ "presence": "online" })).await;
    let mut syncer = unseen(&alice);
    syncer.next().await;
    let path = "/_matrix/client/v3/profile/{userId}/{keyName}";
    bob.put(path, &[&bob.id, "displayname"]).json(json!({ "displayname": "Bobby" })).await.ok();
    bob.put(path, &[&bob.id, "avatar_url"]).json(json!({ "avatar_url": "mxc://depesche.test/abc" })).await.ok();
    set(&bob, json!({ "presence": "unavailable" })).await;
    let sync = syncer.until(|sync| told(sync, &bob).is_some_and(|told| told["presence"] == "unavailable")).await;
    let content = told(&sync, &bob).expect("it was there").clone();
    differs(
        "client-server-api#events-on-change-of-profile-information",
        || {
            assert_eq!(content["displayname"], "Bobby");
            assert_eq!(content["avatar_url"], "mxc://depesche.test/abc");
        },
        || assert!(content.get("displayname").is_none()),
    );
    // The new name alone is told as well.
    bob.put(path, &[&bob.id, "displayname"]).json(json!({ "displayname": "Rob" })).await.ok();
    if target() == Target::Depesche {
        syncer.until(|sync| told(sync, &bob).is_some_and(|told| told["displayname"] == "Rob")).await;
    }
}

#[tokio::test]
async fn a_presence_can_be_asked_for() {
    let server = server();
    let (alice, bob) = pair(&server).await;
    assert_eq!(get(&alice, &bob).await["presence"], "offline");
    set(&bob, json!({ "presence": "online", "status_msg": "here" })).await;
    let content = get(&alice, &bob).await;
    assert_eq!((&content["presence"], &content["status_msg"]), (&json!("online"), &json!("here")));
    assert_eq!(content["currently_active"], true);
    assert!(content["last_active_ago"].as_u64().is_some_and(|ago| ago < 60_000), "{content}");
    assert_eq!(get(&bob, &bob).await["presence"], "online");
}

#[tokio::test]
async fn strangers_learn_nothing() {
    let server = server();
    let (alice, bob) = pair(&server).await;
    let stranger = server.user("stranger").await;
    let mut syncer = unseen(&stranger);
    syncer.next().await;
    set(&bob, json!({ "presence": "online" })).await;
    let path = "/_matrix/client/v3/presence/{userId}/status";
    stranger.get(path, &[&bob.id]).await.error(403, "M_FORBIDDEN");
    // Nor who is there.
    stranger.get(path, &["@nobody:depesche.test"]).await.error(403, "M_FORBIDDEN");
    alice.without_token().get(path, &[&bob.id]).await.error(401, "M_MISSING_TOKEN");
    let room = alice.public_room().await;
    stranger.join(&room).await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    assert_eq!(told(&sync, &bob), None);
}

#[tokio::test]
async fn who_left_is_not_shown_to_those_who_come() {
    let server = server();
    let (alice, bob, stranger) = (server.user("alice").await, server.user("bob").await, server.user("stranger").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut syncer = unseen(&stranger);
    syncer.next().await;
    set(&bob, json!({ "presence": "online", "status_msg": "at my desk" })).await;
    bob.leave(&room).await;
    stranger.join(&room).await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    assert_eq!(told(&sync, &bob), None);
    assert_eq!(told(&unseen(&stranger).next().await, &bob), None);
}

#[tokio::test]
async fn one_sets_ones_own() {
    let server = server();
    let (alice, bob) = pair(&server).await;
    let path = "/_matrix/client/v3/presence/{userId}/status";
    let online = json!({ "presence": "online" });
    alice.put(path, &[&bob.id]).json(online.clone()).await.error(403, "M_FORBIDDEN");
    alice.without_token().put(path, &[&alice.id]).json(online).await.error(401, "M_MISSING_TOKEN");
    for body in [json!({ "presence": "asleep" }), json!({}), json!({ "presence": "online", "status_msg": 7 })] {
        let answer = alice.put(path, &[&alice.id]).json(body).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
    assert_eq!(get(&bob, &alice).await["presence"], "offline");
}

#[tokio::test]
async fn a_device_says_how_its_user_is_while_it_polls() {
    let server = server();
    let (alice, bob) = pair(&server).await;
    unseen(&bob).next().await;
    assert_eq!(get(&alice, &bob).await["presence"], "offline");
    let mut syncer = unseen(&alice);
    syncer.next().await;
    bob.syncer().param("set_presence", "unavailable").next().await;
    syncer.until(|sync| told(sync, &bob).is_some_and(|told| told["presence"] == "unavailable")).await;
    bob.syncer().next().await;
    syncer.until(|sync| told(sync, &bob).is_some_and(|told| told["presence"] == "online")).await;
    let sync = unseen(&alice).next().await;
    assert_eq!(told(&sync, &bob).expect("a first answer has who is there")["presence"], "online");
}

#[tokio::test]
async fn a_filter_leaves_presence_out() {
    let server = server();
    let (alice, bob) = pair(&server).await;
    set(&bob, json!({ "presence": "online" })).await;
    for (presence, wanted) in [
        (json!({}), true),
        (json!({ "types": ["m.presence"] }), true),
        (json!({ "types": [] }), false),
        (json!({ "not_types": ["m.presence"] }), false),
        (json!({ "not_senders": [bob.id] }), false),
        (json!({ "senders": [bob.id] }), true),
        (json!({ "senders": [alice.id] }), false),
    ] {
        let sync = unseen(&alice).filter(&json!({ "presence": presence })).next().await;
        assert_eq!(told(&sync, &bob).is_some(), wanted, "{presence}");
    }
    let sync = unseen(&alice).filter(&json!({ "presence": { "not_types": ["m.*"] } })).next().await;
    let is_there = told(&sync, &bob).is_some();
    differs("client-server-api#filtering", || assert!(!is_there), || assert!(is_there));
}

#[tokio::test]
async fn who_comes_into_a_room_sees_who_is_there() {
    let server = server();
    let (alice, bob, carol) = (server.user("alice").await, server.user("bob").await, server.user("carol").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    set(&bob, json!({ "presence": "online" })).await;
    let mut syncer = unseen(&carol);
    syncer.next().await;
    carol.join(&room).await;
    syncer.until(|sync| told(sync, &bob).is_some_and(|told| told["presence"] == "online")).await;
}

#[tokio::test]
async fn without_presence_everybody_is_offline() {
    let (alice, bob) = pair(shared()).await;
    set(&bob, json!({ "presence": "online", "status_msg": "here" })).await;
    bob.syncer().next().await;
    assert_eq!(get(&alice, &bob).await, json!({ "presence": "offline" }));
    assert_eq!(told(&alice.syncer().next().await, &bob), None);
}

#[tokio::test]
async fn a_sync_with_a_presence_that_is_none_is_refused() {
    let alice = shared().user("alice").await;
    let sync = alice.get("/_matrix/client/v3/sync", &[]).query(&[("set_presence", "elsewhere")]).await;
    sync.error(400, "M_INVALID_PARAM");
}
