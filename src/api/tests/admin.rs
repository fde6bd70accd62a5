//! `/_depesche/admin/`: the operator's requests.

use axum::Router;
use serde_json::{Value, json};

use super::{Answer, Home, ask, refused};
use crate::admin;

async fn office() -> (Home, Router) {
    let home = Home::open().await;
    let router = admin::router(&home.app);
    (home, router)
}

async fn say(router: &Router, line: &str, body: Value) -> Answer {
    ask(router, None, line, body.to_string()).await
}

#[tokio::test]
async fn an_account_is_made_shown_and_listed() {
    let (_home, router) = office().await;
    let new = json!({ "user": "alice", "password": "pass-word", "admin": true, "display_name": "Alice A" });
    let made = say(&router, "POST /_depesche/admin/users", new.clone()).await;
    assert_eq!((made.status, &made.body["user_id"]), (200, &json!("@alice:test")));
    let again = say(&router, "POST /_depesche/admin/users", new).await;
    assert_eq!(refused(&again), (400, "M_USER_IN_USE"));

    let shown = ask(&router, None, "GET /_depesche/admin/users/%40alice%3Atest", "").await;
    assert_eq!(shown.body["display_name"], "Alice A");
    assert_eq!((&shown.body["admin"], &shown.body["deactivated"]), (&json!(true), &json!(false)));
    assert_eq!((&shown.body["created_ms"], &shown.body["devices"]), (&json!(1_700_000_000_000_u64), &json!([])));

    for user in ["@bob:test", "carol"] {
        assert_eq!(say(&router, "POST /_depesche/admin/users", json!({ "user": user })).await.status, 200);
    }
    let first = ask(&router, None, "GET /_depesche/admin/users?limit=2", "").await;
    assert_eq!(first.body["next"], "@bob:test");
    let rest = ask(&router, None, "GET /_depesche/admin/users?limit=2&after=%40bob%3Atest", "").await;
    assert_eq!(rest.body["users"][0]["user_id"], "@carol:test");
    assert_eq!(rest.body["next"], Value::Null);
}

#[tokio::test]
async fn what_cannot_be_made_or_found_is_refused_with_the_reason() {
    let (_home, router) = office().await;
    for (new, wanted) in [
        (json!({ "user": "Al ice" }), "M_INVALID_USERNAME"),
        (json!({ "user": "alice", "password": "short" }), "M_WEAK_PASSWORD"),
        (json!({ "user": "@alice:elsewhere" }), "M_NOT_FOUND"),
        (json!({ "name": "alice" }), "M_BAD_JSON"),
    ] {
        let answer = say(&router, "POST /_depesche/admin/users", new).await;
        assert_eq!(refused(&answer).1, wanted);
        assert!(answer.body["error"].as_str().is_some_and(|error| error.len() > 10), "{}", answer.body);
    }
    for line in [
        "GET /_depesche/admin/users/nobody",
        "PUT /_depesche/admin/users/nobody/admin",
        "PUT /_depesche/admin/users/nobody/password",
        "POST /_depesche/admin/users/nobody/deactivate",
    ] {
        let body = json!({ "admin": true, "password": "pass-word" });
        assert_eq!(refused(&say(&router, line, body).await), (404, "M_NOT_FOUND"), "{line}");
    }
}

#[tokio::test]
async fn a_new_password_logs_out_and_a_deactivation_ends_all() {
    let (home, router) = office().await;
    let alice = home.user("alice").await;
    let shown = ask(&router, None, "GET /_depesche/admin/users/alice", "").await;
    assert_eq!(shown.body["devices"][0]["device_id"], "PHONE");

    let new = json!({ "password": "another-word", "logout_devices": true });
    assert_eq!(say(&router, "PUT /_depesche/admin/users/alice/password", new).await.status, 200);
    let answer = home.ask_as(&alice, "GET /_matrix/client/v3/capabilities", "").await;
    assert_eq!(refused(&answer), (401, "M_UNKNOWN_TOKEN"));

    assert_eq!(say(&router, "PUT /_depesche/admin/users/alice/admin", json!({ "admin": true })).await.status, 200);
    assert_eq!(say(&router, "POST /_depesche/admin/users/alice/deactivate", json!({})).await.status, 200);
    let shown = ask(&router, None, "GET /_depesche/admin/users/alice", "").await;
    assert_eq!((&shown.body["deactivated"], &shown.body["admin"]), (&json!(true), &json!(false)));
    let answer = say(&router, "PUT /_depesche/admin/users/alice/admin", json!({ "admin": true })).await;
    assert_eq!(refused(&answer), (400, "M_USER_DEACTIVATED"));
}

#[tokio::test]
async fn tokens_are_made_listed_and_deleted() {
    let (_home, router) = office().await;
    let new = json!({ "token": "welcome", "uses_allowed": 3, "valid_for_ms": 1000 });
    let made = say(&router, "POST /_depesche/admin/registration_tokens", new.clone()).await;
    let wanted = json!({
        "token": "welcome", "uses_allowed": 3, "completed": 0, "pending": 0, "expires_ms": 1_700_000_001_000_u64,
    });
    assert_eq!((made.status, &made.body), (200, &wanted));
    assert_eq!(say(&router, "POST /_depesche/admin/registration_tokens", new).await.status, 400);
    let chosen = say(&router, "POST /_depesche/admin/registration_tokens", json!({})).await;
    assert!(chosen.body["token"].as_str().is_some_and(|token| token.len() >= 12), "{}", chosen.body);

    let list = ask(&router, None, "GET /_depesche/admin/registration_tokens", "").await;
    assert_eq!(list.body["registration_tokens"].as_array().map(Vec::len), Some(2));
    let gone = ask(&router, None, "DELETE /_depesche/admin/registration_tokens/welcome", "").await;
    assert_eq!(gone.status, 200);
    let again = ask(&router, None, "DELETE /_depesche/admin/registration_tokens/welcome", "").await;
    assert_eq!(refused(&again), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn clients_do_not_reach_it() {
    let home = Home::open().await;
    assert_eq!(refused(&home.ask("GET /_depesche/admin/users", "").await), (404, "M_UNRECOGNIZED"));
}

#[tokio::test]
async fn accounts_are_suspended_and_locked_administrators_too() {
    let (home, router) = office().await;
    home.user("alice").await;
    let shown = async || ask(&router, None, "GET /_depesche/admin/users/alice", "").await.body;
    say(&router, "PUT /_depesche/admin/users/alice/admin", json!({ "admin": true })).await;
    for value in [true, false] {
        for flag in ["suspended", "locked"] {
            let line = format!("PUT /_depesche/admin/users/alice/{flag}");
            assert_eq!(say(&router, &line, json!({ flag: value })).await.status, 200, "{line}");
            assert_eq!(shown().await[flag], value, "{line}");
            let line = format!("PUT /_depesche/admin/users/nobody/{flag}");
            assert_eq!(refused(&say(&router, &line, json!({ flag: value })).await), (404, "M_NOT_FOUND"), "{line}");
        }
    }
}

#[tokio::test]
async fn the_version_of_what_runs_is_told() {
    let (_home, router) = office().await;
    let answer = ask(&router, None, "GET /_depesche/admin/version", "").await;
    assert_eq!(answer.body, json!({ "name": "depesche", "version": env!("CARGO_PKG_VERSION") }));
}
