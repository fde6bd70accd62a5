//! Login, refresh and logout. Client-server API, "Login", "Refreshing access tokens", "Logout".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::PASSWORD;

fn by_password(user: &str, password: &str) -> Value {
    json!({
        "type": "m.login.password", "password": password,
        "identifier": { "type": "m.id.user", "user": user }
    })
}

#[tokio::test]
async fn login_flows_offer_the_password() {
    let flows = shared().client().get("/_matrix/client/v3/login", &[]).await.ok();
    let types: Vec<&str> =
        flows["flows"].as_array().expect("flows").iter().filter_map(|f| f["type"].as_str()).collect();
    assert!(types.contains(&"m.login.password"), "{types:?}");
}

#[tokio::test]
async fn login_by_user_id_and_by_localpart_gives_a_token_and_a_device() {
    let alice = shared().user("alice").await;
    for name in [alice.id.as_str(), alice.localpart()] {
        let body = by_password(name, PASSWORD);
        let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.ok();
        assert_eq!(answer["user_id"], alice.id);
        assert_ne!(answer["device_id"], alice.device);
        let again = User::from_answer(&shared().client(), &answer);
        let whoami = again.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
        assert_eq!((&whoami["user_id"], &whoami["device_id"]), (&answer["user_id"], &answer["device_id"]));
    }
}

#[tokio::test]
async fn login_takes_the_deprecated_user_field() {
    let alice = shared().user("alice").await;
    let body = json!({ "type": "m.login.password", "user": alice.id, "password": PASSWORD });
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.ok();
    assert_eq!(answer["user_id"], alice.id);
}

#[tokio::test]
async fn login_to_a_known_device_takes_it_over() {
    let alice = shared().user("alice").await;
    let mut body = by_password(&alice.id, PASSWORD);
    body["device_id"] = json!(alice.device);
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.ok();
    assert_eq!(answer["device_id"], alice.device);
    let old = alice.get("/_matrix/client/v3/account/whoami", &[]).await;
    differs(
        "client-server-api#relationship-between-access-tokens-and-devices",
        || old.clone().error(401, "M_UNKNOWN_TOKEN"),
        || old.clone().ok(),
    );
    let devices = alice.with_token(answer["access_token"].as_str().expect("a token"));
    let devices = devices.get("/_matrix/client/v3/devices", &[]).await.ok();
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn login_keeps_the_name_of_a_known_device() {
    let alice = shared().user("alice").await;
    let mut body = by_password(&alice.id, PASSWORD);
    body["device_id"] = json!(alice.device);
    body["initial_device_display_name"] = json!("second");
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.ok();
    let alice = User::from_answer(&shared().client(), &answer);
    let device = alice.get("/_matrix/client/v3/devices/{deviceId}", &[&alice.device]).await.ok();
    assert_eq!(device["display_name"], "first");
}

#[tokio::test]
async fn login_with_a_wrong_password_is_forbidden() {
    let alice = shared().user("alice").await;
    let body = by_password(&alice.id, "wrong");
    shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn login_of_an_unknown_user_does_not_tell_that_it_is_unknown() {
    let body = by_password("nobody-at-all", PASSWORD);
    shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn login_of_a_user_of_another_server_is_refused() {
    let body = by_password("@alice:elsewhere.test", PASSWORD);
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await;
    answer.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn login_with_an_unknown_type_is_refused() {
    let body = json!({ "type": "org.example.unknown" });
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await;
    answer.error_in(400, &["M_UNKNOWN", "M_INVALID_PARAM"]);
}

#[tokio::test]
async fn login_as_an_application_service_needs_its_token() {
    let alice = shared().user("alice").await;
    let identifier = json!({ "type": "m.id.user", "user": alice.localpart() });
    let body = json!({ "type": "m.login.application_service", "identifier": identifier });
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body.clone()).await;
    answer.error(401, "M_MISSING_TOKEN");
    let answer = alice.post("/_matrix/client/v3/login", &[]).json(body).await;
    differs(
        "client-server-api#appservice-login",
        || drop(answer.clone().error(403, "M_FORBIDDEN")),
        || drop(answer.clone().error(401, "M_UNKNOWN_TOKEN")),
    );
}

#[tokio::test]
async fn login_without_a_password_is_refused() {
    let body = json!({ "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "alice" } });
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await;
    answer.error_in(400, &["M_BAD_JSON", "M_MISSING_PARAM", "M_INVALID_PARAM"]);
}

#[tokio::test]
async fn login_without_a_type_is_refused() {
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(json!({})).await;
    answer.error_in(400, &["M_BAD_JSON", "M_MISSING_PARAM", "M_UNKNOWN"]);
}

#[tokio::test]
async fn a_token_login_with_a_token_that_does_not_exist_is_forbidden() {
    let body = json!({ "type": "m.login.token", "token": "nothing" });
    shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_login_without_refresh_gets_no_refresh_token() {
    let alice = shared().user("alice").await;
    let body = by_password(&alice.id, PASSWORD);
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.ok();
    assert!(answer.get("refresh_token").is_none(), "{answer}");
}

async fn refreshable(alice: &User) -> Value {
    let mut body = by_password(&alice.id, PASSWORD);
    body["refresh_token"] = json!(true);
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.ok();
    assert!(answer["refresh_token"].is_string(), "{answer}");
    assert!(answer["expires_in_ms"].as_u64().expect("a lifetime") > 0, "{answer}");
    answer
}

#[tokio::test]
async fn a_refresh_gives_a_new_pair_of_tokens() {
    let alice = shared().user("alice").await;
    let first = refreshable(&alice).await;
    let body = json!({ "refresh_token": first["refresh_token"] });
    let second = shared().client().post("/_matrix/client/v3/refresh", &[]).json(body).await.ok();
    assert_ne!(second["access_token"], first["access_token"]);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let again = alice.with_token(second["access_token"].as_str().expect("a token"));
    let whoami = again.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
    assert_eq!(whoami["device_id"], first["device_id"]);
}

#[tokio::test]
async fn a_refresh_may_be_repeated_until_the_new_token_is_used() {
    let alice = shared().user("alice").await;
    let first = refreshable(&alice).await;
    let body = json!({ "refresh_token": first["refresh_token"] });
    shared().client().post("/_matrix/client/v3/refresh", &[]).json(body.clone()).await.ok();
    let second = shared().client().post("/_matrix/client/v3/refresh", &[]).json(body.clone()).await.ok();
    let again = alice.with_token(second["access_token"].as_str().expect("a token"));
    again.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
    let third = shared().client().post("/_matrix/client/v3/refresh", &[]).json(body).await;
    differs(
        "client-server-api#refreshing-access-tokens",
        || third.clone().error(401, "M_UNKNOWN_TOKEN"),
        || third.clone().error(403, "M_FORBIDDEN"),
    );
}

#[tokio::test]
async fn a_refresh_with_an_unknown_token_is_refused() {
    let body = json!({ "refresh_token": "nothing" });
    let answer = shared().client().post("/_matrix/client/v3/refresh", &[]).json(body).await;
    answer.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_token_in_the_query_is_no_longer_read() {
    let alice = shared().user("alice").await;
    let query = [("access_token", alice.token())];
    let answer = alice.without_token().get("/_matrix/client/v3/account/whoami", &[]).query(&query).await;
    differs(
        "client-server-api#using-access-tokens",
        || answer.clone().error(401, "M_MISSING_TOKEN"),
        || answer.clone().ok(),
    );
}

#[tokio::test]
async fn an_unknown_token_is_told_from_a_missing_one() {
    let client = shared().client();
    client.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_MISSING_TOKEN");
    client.with_token("nothing").get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn logout_ends_this_device_only() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    alice.post("/_matrix/client/v3/logout", &[]).json(json!({})).await.ok();
    let answer = alice.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
    assert_ne!(answer["soft_logout"], true);
    let devices = other.get("/_matrix/client/v3/devices", &[]).await.ok();
    let ids: Vec<_> = devices["devices"].as_array().expect("devices").iter().map(|d| d["device_id"].clone()).collect();
    assert_eq!(ids, [json!(other.device)]);
}

#[tokio::test]
async fn logout_everywhere_ends_every_device() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    alice.post("/_matrix/client/v3/logout/all", &[]).json(json!({})).await.ok();
    for device in [&alice, &other] {
        device.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
    }
    let back = alice.another_device().await;
    let devices = back.get("/_matrix/client/v3/devices", &[]).await.ok();
    assert_eq!(devices["devices"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn logout_takes_no_body() {
    let alice = shared().user("alice").await;
    alice.post("/_matrix/client/v3/logout", &[]).await.ok();
}

#[tokio::test]
async fn logout_needs_a_token() {
    shared().client().post("/_matrix/client/v3/logout", &[]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
    shared().client().post("/_matrix/client/v3/logout/all", &[]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_logout_ends_the_refresh_token_too() {
    let alice = shared().user("alice").await;
    let first = refreshable(&alice).await;
    let device = alice.with_token(first["access_token"].as_str().expect("a token"));
    device.post("/_matrix/client/v3/logout", &[]).json(json!({})).await.ok();
    let body = json!({ "refresh_token": first["refresh_token"] });
    let answer = shared().client().post("/_matrix/client/v3/refresh", &[]).json(body).await;
    let ended = answer.error(401, "M_UNKNOWN_TOKEN");
    assert_ne!(ended["soft_logout"], true, "the session is gone, not only the token");
}

#[tokio::test]
async fn a_login_token_logs_in_one_more_device_once() {
    let alice = shared().user("alice").await;
    let first = alice.post("/_matrix/client/v1/login/get_token", &[]).json(json!({})).await.status(401);
    let mut auth = by_password(&alice.id, PASSWORD);
    auth["session"] = first["session"].clone();
    let answer = alice.post("/_matrix/client/v1/login/get_token", &[]).json(json!({ "auth": auth })).await.ok();
    assert!(answer["expires_in_ms"].as_u64().is_some_and(|ms| ms > 0), "{answer}");
    let body = json!({ "type": "m.login.token", "token": answer["login_token"] });
    let login = alice.without_token().post("/_matrix/client/v3/login", &[]).json(body.clone()).await.ok();
    assert_eq!(login["user_id"], json!(alice.id));
    assert_ne!(login["device_id"], json!(alice.device));
    alice.without_token().post("/_matrix/client/v3/login", &[]).json(body).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn login_with_an_unknown_type_of_identifier_is_refused() {
    let client = shared().client();
    let body = json!({
        "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "org.example.nothing", "user": "somebody" }
    });
    client.post("/_matrix/client/v3/login", &[]).json(body).await.error(400, "M_UNKNOWN");
}

#[tokio::test]
async fn login_of_nobody_is_refused() {
    let body = json!({ "type": "m.login.password", "password": PASSWORD });
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await;
    answer.error_in(400, &["M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM"]);
}

#[tokio::test]
async fn login_by_an_address_that_nobody_has_is_forbidden() {
    let body = json!({
        "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.thirdparty", "medium": "email", "address": "nobody@example.org" }
    });
    shared().client().post("/_matrix/client/v3/login", &[]).json(body).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn login_by_an_address_needs_no_type_of_identifier() {
    // As the specification's own example has it.
    let identifier = json!({ "medium": "email", "address": "nobody@example.org" });
    let body = json!({ "type": "m.login.password", "identifier": identifier, "password": PASSWORD });
    let answer = shared().client().post("/_matrix/client/v3/login", &[]).json(body).await;
    differs(
        "client-server-api#legacy-login",
        || drop(answer.clone().error(403, "M_FORBIDDEN")),
        || drop(answer.clone().status(400)),
    );
}
