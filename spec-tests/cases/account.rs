//! Who am I, password change, deactivation. Client-server API, "Account management" and "Current account information".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::PASSWORD;

fn password_stage(user: &User, session: &Value, password: &str) -> Value {
    json!({
        "type": "m.login.password", "session": session, "password": password,
        "identifier": { "type": "m.id.user", "user": user.id }
    })
}

async fn login(user: &User, password: &str) -> Answer {
    let body = json!({
        "type": "m.login.password", "password": password,
        "identifier": { "type": "m.id.user", "user": user.id }
    });
    user.without_token().post("/_matrix/client/v3/login", &[]).json(body).await
}

#[tokio::test]
async fn whoami_tells_user_and_device() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
    assert_eq!((&answer["user_id"], &answer["device_id"]), (&json!(alice.id), &json!(alice.device)));
    assert_ne!(answer["is_guest"], true);
}

#[tokio::test]
async fn a_password_change_asks_for_the_password() {
    let alice = shared().user("alice").await;
    let body = json!({ "new_password": "another long password" });
    let answer = alice.post("/_matrix/client/v3/account/password", &[]).json(body).await.status(401);
    assert!(answer["session"].is_string(), "{answer}");
    let flows = answer["flows"].as_array().expect("flows");
    assert!(flows.iter().any(|flow| flow["stages"] == json!(["m.login.password"])), "{answer}");
    login(&alice, PASSWORD).await.ok();
}

#[tokio::test]
async fn a_password_change_with_a_wrong_password_changes_nothing() {
    let alice = shared().user("alice").await;
    let mut body = json!({ "new_password": "another long password" });
    let first = alice.post("/_matrix/client/v3/account/password", &[]).json(body.clone()).await.status(401);
    body["auth"] = password_stage(&alice, &first["session"], "wrong");
    let answer = alice.post("/_matrix/client/v3/account/password", &[]).json(body).await.error(401, "M_FORBIDDEN");
    assert!(answer["flows"].is_array(), "the client may try again: {answer}");
    login(&alice, PASSWORD).await.ok();
}

#[tokio::test]
async fn a_password_of_an_address_that_nobody_has_is_forbidden() {
    let alice = shared().user("alice").await;
    let mut body = json!({ "new_password": "another long password" });
    let first = alice.post("/_matrix/client/v3/account/password", &[]).json(body.clone()).await.status(401);
    body["auth"] = json!({
        "type": "m.login.password", "session": first["session"], "password": PASSWORD,
        "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "nobody@example.org" }
    });
    let answer = alice.post("/_matrix/client/v3/account/password", &[]).json(body).await;
    differs(
        "client-server-api#password-based",
        || drop(answer.clone().status(403)),
        || drop(answer.clone().status(401)),
    );
    login(&alice, PASSWORD).await.ok();
}

#[tokio::test]
async fn a_password_change_replaces_the_password_and_ends_other_devices() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let mut body = json!({ "new_password": "another long password" });
    let first = alice.post("/_matrix/client/v3/account/password", &[]).json(body.clone()).await.status(401);
    body["auth"] = password_stage(&alice, &first["session"], PASSWORD);
    alice.post("/_matrix/client/v3/account/password", &[]).json(body).await.ok();
    login(&alice, PASSWORD).await.error(403, "M_FORBIDDEN");
    login(&alice, "another long password").await.ok();
    alice.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
    other.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_password_may_name_its_user_in_the_older_field() {
    let alice = shared().user("alice").await;
    let mut body = json!({ "new_password": "another long password" });
    let first = alice.post("/_matrix/client/v3/account/password", &[]).json(body.clone()).await.status(401);
    body["auth"] = json!({
        "type": "m.login.password", "session": first["session"], "password": PASSWORD, "user": alice.id
    });
    alice.post("/_matrix/client/v3/account/password", &[]).json(body).await.ok();
    login(&alice, "another long password").await.ok();
}

#[tokio::test]
async fn a_password_change_can_leave_the_other_devices() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let mut body = json!({ "new_password": "another long password", "logout_devices": false });
    let first = alice.post("/_matrix/client/v3/account/password", &[]).json(body.clone()).await.status(401);
    body["auth"] = password_stage(&alice, &first["session"], PASSWORD);
    alice.post("/_matrix/client/v3/account/password", &[]).json(body).await.ok();
    other.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
}

#[tokio::test]
async fn the_password_of_another_user_does_not_pass_the_stage() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let mut body = json!({ "new_password": "another long password" });
    let first = alice.post("/_matrix/client/v3/account/password", &[]).json(body.clone()).await.status(401);
    body["auth"] = password_stage(&bob, &first["session"], PASSWORD);
    let answer = alice.post("/_matrix/client/v3/account/password", &[]).json(body).await;
    assert!([401, 403].contains(&answer.status), "{answer}");
    login(&alice, PASSWORD).await.ok();
    login(&bob, PASSWORD).await.ok();
}

#[tokio::test]
async fn a_session_of_one_action_does_not_serve_another() {
    let alice = shared().user("alice").await;
    let body = json!({ "new_password": "another long password" });
    let first = alice.post("/_matrix/client/v3/account/password", &[]).json(body).await.status(401);
    let body = json!({ "auth": password_stage(&alice, &first["session"], PASSWORD) });
    let answer = alice.post("/_matrix/client/v3/account/deactivate", &[]).json(body).await;
    assert!([400, 401, 403].contains(&answer.status), "{answer}");
    alice.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
}

#[tokio::test]
async fn deactivation_asks_for_the_password() {
    let alice = shared().user("alice").await;
    let answer = alice.post("/_matrix/client/v3/account/deactivate", &[]).json(json!({})).await.status(401);
    assert!(answer["flows"].is_array() && answer["session"].is_string(), "{answer}");
    alice.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
}

async fn deactivate(alice: &User) {
    end(alice, json!({})).await;
}

/// Deactivates an account, with what else is to be said of it.
async fn end(alice: &User, mut body: Value) {
    let first = alice.post("/_matrix/client/v3/account/deactivate", &[]).json(body.clone()).await.status(401);
    body["auth"] = password_stage(alice, &first["session"], PASSWORD);
    let answer = alice.post("/_matrix/client/v3/account/deactivate", &[]).json(body).await.ok();
    assert!(["success", "no-support"].contains(&answer["id_server_unbind_result"].as_str().unwrap_or_default()));
}

#[tokio::test]
async fn deactivation_ends_every_session_and_the_password() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    deactivate(&alice).await;
    for device in [&alice, &other] {
        device.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
    }
    let answer = login(&alice, PASSWORD).await;
    answer.error_in(403, &["M_USER_DEACTIVATED", "M_FORBIDDEN"]);
}

#[tokio::test]
async fn the_name_of_a_deactivated_user_is_not_given_again() {
    let alice = shared().user("alice").await;
    deactivate(&alice).await;
    let body = json!({
        "username": alice.localpart(), "password": PASSWORD, "auth": { "type": "m.login.dummy" }
    });
    let answer = alice.without_token().post("/_matrix/client/v3/register", &[]).json(body).await;
    answer.error(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn a_deactivated_user_leaves_its_rooms() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    deactivate(&bob).await;
    let left = |sync: &Value| {
        let view = RoomSync::joined(sync, &room);
        view.find("timeline", "m.room.member", &bob.id).is_some_and(|event| event["content"]["membership"] == "leave")
    };
    syncer.until(left).await;
}

#[tokio::test]
async fn what_an_erased_user_said_is_whole_only_for_who_could_read_it_before() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (carol, dave) = (shared().user("carol").await, shared().user("dave").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let said = bob.say(&room, "secret").await;
    let answered = alice.say(&room, "and what?").await;
    let edit = json!({
        "msgtype": "m.text", "body": "* secret", "m.new_content": { "msgtype": "m.text", "body": "more secret" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": said }
    });
    bob.send(&room, "m.room.message", edit).await;
    carol.join(&room).await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    end(&bob, json!({ "erase": true })).await;
    let left = |sync: &Value| {
        let event = RoomSync::joined(sync, &room).find("timeline", "m.room.member", &bob.id).cloned();
        event.is_some_and(|event| event["content"]["membership"] == "leave")
    };
    syncer.until(left).await;
    dave.join(&room).await;
    let event =
        async |user: &User| user.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, &said]).await.ok();
    assert_eq!(event(&alice).await["content"]["body"], "secret");
    let for_carol = event(&carol).await;
    differs(
        "client-server-api#post_matrixclientv3accountdeactivate",
        || assert_eq!(for_carol["content"]["body"], "secret", "she could read it before"),
        || assert_eq!(for_carol["content"], json!({})),
    );
    assert_eq!(event(&dave).await["content"], json!({}));
    let page = dave.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&[("dir", "b")]).await.ok();
    let context = dave.get("/_matrix/client/v3/rooms/{roomId}/context/{eventId}", &[&room, &answered]).await.ok();
    for answer in [&page, &context] {
        assert!(answer.to_string().contains("and what?") && !answer.to_string().contains("secret"), "{answer}");
    }
    let first = dave.syncer().filter(&json!({ "room": { "timeline": { "limit": 50 } } })).next().await.to_string();
    assert!(first.contains("and what?") && !first.contains("secret"), "{first}");
    let term = json!({ "search_categories": { "room_events": { "search_term": "secret" } } });
    let found = async |user: &User| {
        let answer = user.post("/_matrix/client/v3/search", &[]).json(term.clone()).await.ok();
        answer["search_categories"]["room_events"]["results"].as_array().map(Vec::len)
    };
    let (by_alice, by_dave) = (found(&alice).await, found(&dave).await);
    differs(
        "client-server-api#post_matrixclientv3accountdeactivate",
        || assert!(by_alice > Some(0) && by_dave == Some(0), "{by_alice:?} {by_dave:?}"),
        || assert!(by_alice >= by_dave),
    );
}

#[tokio::test]
async fn a_password_that_is_too_short_is_refused() {
    let client = shared().client();
    let body = json!({
        "username": depesche_spec_tests::server::unique("weak"), "password": "short",
        "auth": { "type": "m.login.dummy" }
    });
    let registered = client.post("/_matrix/client/v3/register", &[]).json(body).await;
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/account/password";
    let asked = alice.post(path, &[]).json(json!({ "new_password": "a long enough one" })).await.status(401);
    let stage = password_stage(&alice, &asked["session"], PASSWORD);
    let changed = alice.post(path, &[]).json(json!({ "new_password": "short", "auth": stage })).await;
    let refused = |code: &str| {
        registered.clone().error(400, code);
        changed.clone().error(400, code);
    };
    differs(
        "client-server-api#post_matrixclientv3accountpassword",
        || refused("M_WEAK_PASSWORD"),
        || refused("M_PASSWORD_TOO_SHORT"),
    );
    // The old one is still good.
    alice.another_device().await;
}
