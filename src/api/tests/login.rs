//! `/login`, `/refresh`, `/logout`.

use std::sync::atomic::Ordering;

use depesche_server::accounts::AdminError;
use ruma::user_id;
use serde_json::{Value, json};

use super::{CONFIG, Home, ask, refused};

const LOGIN: &str = "POST /_matrix/client/v3/login";
const WHOAMI: &str = "GET /_matrix/client/v3/account/whoami";

fn by_password(user: &str, password: &str) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": user });
    json!({ "type": "m.login.password", "identifier": identifier, "password": password })
}

#[tokio::test]
async fn the_flows_are_those_that_the_operator_allows() {
    let home = Home::open().await;
    let flows = home.ask("GET /_matrix/client/v3/login", "").await.body;
    let token = json!({ "type": "m.login.token", "get_login_token": true });
    assert_eq!(flows, json!({ "flows": [{ "type": "m.login.password" }, &token] }));
    let home = Home::with("[server]\nname = \"test\"\n[accounts]\npassword_login = false\ntoken_login = true\n").await;
    assert_eq!(home.ask("GET /_matrix/client/v3/login", "").await.body, json!({ "flows": [token] }));
    assert_eq!(refused(&home.send(LOGIN, by_password("alice", "pass-word")).await), (400, "M_UNKNOWN"));
}

#[tokio::test]
async fn who_logs_in_has_been_seen() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let mut body = by_password("alice", "pass-word");
    body["device_id"] = json!("TABLET");
    // The second of the same id as well, though the first was there a moment ago.
    for _ in 0..2 {
        assert_eq!(home.send(LOGIN, body.clone()).await.status, 200);
        let device = home.ask_as(&alice, "GET /_matrix/client/v3/devices/TABLET", "").await.body;
        assert_eq!(device["last_seen_ts"], 1_700_000_000_000_u64, "{device}");
        let server = &home.app.server;
        server.devices.log_out(user_id!("@alice:test"), "TABLET".into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_login_gives_a_session_and_where_the_server_is() {
    let home = Home::open().await;
    home.user("alice").await;
    let mut body = by_password("alice", "pass-word");
    body["device_id"] = json!("TABLET");
    body["initial_device_display_name"] = json!("Tablet");
    let answer = home.send(LOGIN, body).await;
    assert_eq!((answer.status, &answer.body["user_id"]), (200, &json!("@alice:test")));
    assert_eq!(answer.body["device_id"], "TABLET");
    assert_eq!(answer.body["well_known"]["m.homeserver"]["base_url"], "https://matrix.test");
    assert!(answer.body.get("refresh_token").is_none() && answer.body.get("expires_in_ms").is_none());
    let whoami = ask(&home.router, answer.body["access_token"].as_str(), WHOAMI, "").await;
    assert_eq!(whoami.body, json!({ "user_id": "@alice:test", "device_id": "TABLET" }));
}

#[tokio::test]
async fn a_login_that_fails_has_the_right_code() {
    let home = Home::open().await;
    home.user("alice").await;
    let unknown = json!({ "type": "org.example.unknown" });
    let service = json!({ "type": "m.login.application_service", "identifier": { "type": "m.id.user", "user": "a" } });
    let mail = json!({ "type": "m.id.thirdparty", "medium": "email", "address": "alice@example.org" });
    let mail = json!({ "type": "m.login.password", "identifier": mail, "password": "pass-word" });
    let untyped = json!({ "medium": "email", "address": "alice@example.org" });
    let untyped = json!({ "type": "m.login.password", "identifier": untyped, "password": "pass-word" });
    let nothing = json!({ "type": "m.login.password", "identifier": { "user": "alice" }, "password": "pass-word" });
    for (body, expected) in [
        (by_password("alice", "wrong"), (403, "M_FORBIDDEN")),
        (by_password("nobody", "pass-word"), (403, "M_FORBIDDEN")),
        (mail, (403, "M_FORBIDDEN")),
        (untyped, (403, "M_FORBIDDEN")),
        (nothing, (400, "M_BAD_JSON")),
        (json!({ "type": "m.login.token", "token": "nothing" }), (403, "M_FORBIDDEN")),
        (unknown, (400, "M_UNKNOWN")),
        (service.clone(), (401, "M_MISSING_TOKEN")),
        (json!({ "type": 7 }), (400, "M_BAD_JSON")),
        // ruma's reader would panic.
        (json!({}), (400, "M_BAD_JSON")),
    ] {
        assert_eq!(refused(&home.send(LOGIN, body.clone()).await), expected, "{body}");
    }
    let with_token = ask(&home.router, Some("no service's"), LOGIN, service.to_string()).await;
    assert_eq!(refused(&with_token), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn who_guesses_has_to_wait() {
    let home = Home::open().await;
    home.user("alice").await;
    // Some failures are free.
    for _ in 0..10 {
        home.send(LOGIN, by_password("alice", "wrong")).await;
    }
    let answer = home.send(LOGIN, by_password("alice", "pass-word")).await;
    assert_eq!(refused(&answer), (429, "M_LIMIT_EXCEEDED"));
    assert!(answer.body["retry_after_ms"].is_u64() && answer.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn accounts_that_may_not_log_in() -> Result<(), AdminError> {
    let home = Home::open().await;
    home.user("alice").await;
    home.app.server.accounts.set_locked(user_id!("@alice:test"), true).await?;
    let answer = home.send(LOGIN, by_password("alice", "pass-word")).await;
    assert_eq!((refused(&answer), &answer.body["soft_logout"]), ((401, "M_USER_LOCKED"), &json!(true)));
    home.app.server.accounts.set_locked(user_id!("@alice:test"), false).await?;
    home.app.server.deactivate(user_id!("@alice:test"), false).await.unwrap();
    assert_eq!(refused(&home.send(LOGIN, by_password("alice", "pass-word")).await), (403, "M_USER_DEACTIVATED"));
    Ok(())
}

#[tokio::test]
async fn a_token_of_one_client_logs_in_another_once() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let line = "POST /_matrix/client/v1/login/get_token";
    let issued = home.confirm_as(&alice, line, json!({})).await;
    assert_eq!((issued.status, &issued.body["expires_in_ms"]), (200, &json!(120_000)));
    let body = json!({ "type": "m.login.token", "token": issued.body["login_token"] });
    assert_eq!(home.send(LOGIN, body.clone()).await.body["user_id"], "@alice:test");
    assert_eq!(refused(&home.send(LOGIN, body).await), (403, "M_FORBIDDEN"));
    let closed = Home::with(&CONFIG.replace("token_login = true", "token_login = false")).await;
    let bob = closed.user("bob").await;
    assert_eq!(refused(&closed.send_as(&bob, line, json!({})).await), (400, "M_UNKNOWN"));
}

#[tokio::test]
async fn an_access_token_expires_and_is_refreshed() {
    let home = Home::open().await;
    home.user("alice").await;
    let mut body = by_password("alice", "pass-word");
    body["refresh_token"] = json!(true);
    let first = home.send(LOGIN, body).await.body;
    let lifetime_ms = first["expires_in_ms"].as_u64().unwrap();
    home.hand.fetch_add(lifetime_ms, Ordering::Relaxed);
    let expired = ask(&home.router, first["access_token"].as_str(), WHOAMI, "").await;
    assert_eq!((refused(&expired), &expired.body["soft_logout"]), ((401, "M_UNKNOWN_TOKEN"), &json!(true)));
    let refresh = "POST /_matrix/client/v3/refresh";
    let second = home.send(refresh, json!({ "refresh_token": first["refresh_token"] })).await;
    assert_eq!((second.status, &second.body["expires_in_ms"]), (200, &json!(lifetime_ms)));
    assert_eq!(ask(&home.router, second.body["access_token"].as_str(), WHOAMI, "").await.status, 200);
    let replaced = home.send(refresh, json!({ "refresh_token": first["refresh_token"] })).await;
    assert_eq!((refused(&replaced), &replaced.body["soft_logout"]), ((401, "M_UNKNOWN_TOKEN"), &json!(true)));
    assert_eq!(refused(&home.send(refresh, json!({})).await), (400, "M_BAD_JSON"));
}

#[tokio::test]
async fn a_logout_takes_an_expired_token_and_ends_the_refresh_token_for_good() {
    let home = Home::open().await;
    home.user("alice").await;
    let mut body = by_password("alice", "pass-word");
    body["refresh_token"] = json!(true);
    let session = home.send(LOGIN, body).await.body;
    let token = session["access_token"].as_str();
    home.hand.fetch_add(session["expires_in_ms"].as_u64().unwrap(), Ordering::Relaxed);
    assert_eq!(refused(&ask(&home.router, token, WHOAMI, "").await), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(ask(&home.router, token, "POST /_matrix/client/v3/logout", "").await.status, 200);
    let body = json!({ "refresh_token": session["refresh_token"] });
    let ended = home.send("POST /_matrix/client/v3/refresh", body).await;
    assert_eq!((refused(&ended), ended.body["soft_logout"] == true), ((401, "M_UNKNOWN_TOKEN"), false));
}

#[tokio::test]
async fn a_logout_ends_one_session_or_all() {
    let home = Home::open().await;
    let (phone, tablet, laptop) =
        (home.user("alice").await, home.device("alice", "TABLET").await, home.device("alice", "LAPTOP").await);
    assert_eq!(home.ask_as(&phone, "POST /_matrix/client/v3/logout", "").await.body, json!({}));
    assert_eq!(refused(&home.ask_as(&phone, WHOAMI, "").await), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(home.ask_as(&tablet, WHOAMI, "").await.status, 200);
    // Also where the account is locked.
    home.app.server.accounts.set_locked(user_id!("@alice:test"), true).await.unwrap();
    assert_eq!(home.ask_as(&tablet, "POST /_matrix/client/v3/logout/all", "").await.body, json!({}));
    assert_eq!(refused(&home.ask_as(&laptop, WHOAMI, "").await), (401, "M_UNKNOWN_TOKEN"));
}
