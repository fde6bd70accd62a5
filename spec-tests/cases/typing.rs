//! Typing. Client-server API, "Typing notifications".

use depesche_spec_tests::prelude::*;

async fn pair() -> (User, User, String) {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    (alice, bob, room)
}

async fn types(user: &User, room: &str, body: Value) {
    user.put("/_matrix/client/v3/rooms/{roomId}/typing/{userId}", &[room, &user.id]).json(body).await.ok();
}

/// Who types, if the answer says so.
fn typists(sync: &Value, room: &str) -> Option<Vec<String>> {
    let mut events = RoomSync::joined(sync, room).events("ephemeral").iter();
    let event = events.find(|event| event["type"] == "m.typing")?;
    let users = event["content"]["user_ids"].as_array().expect("a list");
    Some(users.iter().map(|user| user.as_str().expect("a user id").to_owned()).collect())
}

async fn next_typists(syncer: &mut Syncer, room: &str) -> Vec<String> {
    typists(&syncer.until(|sync| typists(sync, room).is_some()).await, room).expect("it was there")
}

#[tokio::test]
async fn others_see_somebody_type_and_stop() {
    let (alice, bob, room) = pair().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    types(&bob, &room, json!({ "typing": true, "timeout": 30000 })).await;
    assert_eq!(next_typists(&mut syncer, &room).await, [bob.id.as_str()]);
    assert_eq!(typists(&alice.syncer().next().await, &room), Some(vec![bob.id.clone()]), "a first answer says so too");
    alice.say(&room, "something else").await;
    let sync = syncer.until(|sync| !RoomSync::joined(sync, &room).timeline().is_empty()).await;
    assert_eq!(typists(&sync, &room), None, "said once");
    types(&bob, &room, json!({ "typing": false })).await;
    assert_eq!(next_typists(&mut syncer, &room).await, [""; 0]);
}

#[tokio::test]
async fn typing_ends_by_itself() {
    let (alice, bob, room) = pair().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    types(&bob, &room, json!({ "typing": true, "timeout": 500 })).await;
    assert_eq!(next_typists(&mut syncer, &room).await, [bob.id.as_str()]);
    assert_eq!(next_typists(&mut syncer, &room).await, [""; 0]);
}

#[tokio::test]
async fn a_timeout_may_be_left_out() {
    let (alice, bob, room) = pair().await;
    types(&bob, &room, json!({ "typing": true })).await;
    assert_eq!(typists(&alice.syncer().next().await, &room), Some(vec![bob.id.clone()]));
}

#[tokio::test]
async fn who_types_says_themselves_when_they_stop() {
    let (alice, bob, room) = pair().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    types(&bob, &room, json!({ "typing": true, "timeout": 30000 })).await;
    next_typists(&mut syncer, &room).await;
    bob.say(&room, "said").await;
    assert_eq!(typists(&alice.syncer().next().await, &room), Some(vec![bob.id.clone()]), "a message is no such word");
    types(&bob, &room, json!({ "typing": false })).await;
    assert_eq!(next_typists(&mut syncer, &room).await, [""; 0]);
}

#[tokio::test]
async fn several_type_at_a_time() {
    let (alice, bob, room) = pair().await;
    let carol = shared().user("carol").await;
    carol.join(&room).await;
    for user in [&bob, &carol] {
        types(user, &room, json!({ "typing": true, "timeout": 30000 })).await;
    }
    let mut both = typists(&alice.syncer().next().await, &room).expect("they type");
    both.sort_unstable();
    assert_eq!(both, [bob.id.as_str(), carol.id.as_str()]);
}

#[tokio::test]
async fn one_types_for_oneself_in_rooms_one_is_in() {
    let (alice, bob, room) = pair().await;
    let stranger = shared().user("stranger").await;
    let path = "/_matrix/client/v3/rooms/{roomId}/typing/{userId}";
    let body = json!({ "typing": true, "timeout": 30000 });
    stranger.put(path, &[&room, &stranger.id]).json(body.clone()).await.error(403, "M_FORBIDDEN");
    let answer = bob.put(path, &[&room, &alice.id]).json(body.clone()).await;
    assert!([400, 403].contains(&answer.status) && answer.body["errcode"] == "M_FORBIDDEN", "{answer}");
    alice.without_token().put(path, &[&room, &alice.id]).json(body).await.error(401, "M_MISSING_TOKEN");
    assert_eq!(typists(&alice.syncer().next().await, &room), None);
}

#[tokio::test]
async fn a_filter_leaves_typing_out() {
    let (alice, bob, room) = pair().await;
    types(&bob, &room, json!({ "typing": true, "timeout": 30000 })).await;
    for ephemeral in
        [json!({ "not_types": ["m.typing"] }), json!({ "types": ["m.receipt"] }), json!({ "not_rooms": [room] })]
    {
        let sync = alice.syncer().filter(&json!({ "room": { "ephemeral": ephemeral } })).next().await;
        assert_eq!(typists(&sync, &room), None, "{ephemeral}");
    }
}
