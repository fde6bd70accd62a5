//! `/_depesche/admin`: the operator's requests.

use axum::Router;
use serde_json::{Value, json};

use super::{Answer, Home, ask, refused};
use crate::admin;

async fn send(router: &Router, line: &str, body: Value) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    ask(router, None, &format!("{method} /_depesche/admin/{path}"), body).await
}

#[tokio::test]
async fn an_account_is_made_shown_and_closed() {
    let home = Home::open().await;
    let router = admin::router(&home.app);
    let body = json!({ "user": "alice", "password": "pass-word", "admin": true, "display_name": "Alice" });
    assert_eq!(send(&router, "POST users", body.clone()).await.body, json!({ "user_id": "@alice:test" }));
    assert_eq!(refused(&send(&router, "POST users", body).await), (400, "M_USER_IN_USE"));
    let alice = home.device("alice", "PHONE").await;

    let shown = send(&router, "GET users/alice", Value::Null).await.body;
    assert_eq!(shown, send(&router, "GET users/@alice:test", Value::Null).await.body);
    assert_eq!((&shown["display_name"], &shown["admin"]), (&json!("Alice"), &json!(true)));
    assert_eq!((&shown["created_ms"], &shown["deactivated"]), (&json!(1_700_000_000_000_u64), &json!(false)));
    assert_eq!(shown["devices"][0]["device_id"], "PHONE");

    assert_eq!(send(&router, "PUT users/alice/admin", json!({ "admin": false })).await.status, 200);
    assert_eq!(send(&router, "GET users/alice", Value::Null).await.body["admin"], false);
    assert_eq!(send(&router, "POST users/alice/deactivate", json!({ "erase": false })).await.body, json!({}));
    assert_eq!(send(&router, "GET users/alice", Value::Null).await.body["deactivated"], true);
    let whoami = home.ask_as(&alice, "GET /_matrix/client/v3/account/whoami", "").await;
    assert_eq!(refused(&whoami), (401, "M_UNKNOWN_TOKEN"));
    let again = send(&router, "PUT users/alice/admin", json!({ "admin": true })).await;
    assert_eq!(refused(&again), (403, "M_USER_DEACTIVATED"));
}

#[tokio::test]
async fn a_new_password_logs_out_unless_told_not_to() {
    let home = Home::open().await;
    let router = admin::router(&home.app);
    let alice = home.user("alice").await;
    let whoami = async || home.ask_as(&alice, "GET /_matrix/client/v3/account/whoami", "").await.status;
    let body = json!({ "password": "another-one", "logout_devices": false });
    assert_eq!(send(&router, "PUT users/alice/password", body).await.body, json!({}));
    assert_eq!(whoami().await, 200);
    send(&router, "PUT users/alice/password", json!({ "password": "a-third-one" })).await;
    assert_eq!(whoami().await, 401);
    let short = send(&router, "PUT users/alice/password", json!({ "password": "x" })).await;
    assert_eq!(refused(&short), (400, "M_WEAK_PASSWORD"));
}

#[tokio::test]
async fn accounts_are_listed_in_pages() {
    let home = Home::open().await;
    let router = admin::router(&home.app);
    for name in ["a", "b", "c"] {
        send(&router, "POST users", json!({ "user": format!("@{name}:test") })).await;
    }
    let page = send(&router, "GET users?limit=2", Value::Null).await.body;
    assert_eq!((page["users"].as_array().unwrap().len(), &page["next"]), (2, &json!("@b:test")));
    let rest = send(&router, "GET users?limit=2&after=%40b%3Atest", Value::Null).await.body;
    assert_eq!((&rest["users"][0]["user_id"], &rest["next"]), (&json!("@c:test"), &Value::Null));
}

#[tokio::test]
async fn users_that_cannot_be_are_told_so() {
    let home = Home::open().await;
    let router = admin::router(&home.app);
    for (line, expected) in [
        ("GET users/nobody", (404, "M_NOT_FOUND")),
        ("GET users/@alice:elsewhere", (400, "M_INVALID_PARAM")),
        ("GET users?limit=many", (400, "M_INVALID_PARAM")),
        ("GET nothing", (404, "M_UNRECOGNIZED")),
    ] {
        assert_eq!(refused(&send(&router, line, Value::Null).await), expected, "{line}");
    }
    let name = send(&router, "POST users", json!({ "user": "al ice", "password": "pass-word" })).await;
    assert_eq!(refused(&name), (400, "M_INVALID_USERNAME"));
    assert_eq!(refused(&send(&router, "POST users", json!({})).await), (400, "M_BAD_JSON"));
    let nobody = send(&router, "POST users/nobody/deactivate", json!({})).await;
    assert_eq!(refused(&nobody), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn registration_tokens_are_made_listed_and_deleted() {
    let home = Home::open().await;
    let router = admin::router(&home.app);
    let body = json!({ "token": "welcome", "uses_allowed": 2, "valid_for_ms": 1000 });
    let made = send(&router, "POST registration_tokens", body.clone()).await.body;
    assert_eq!((&made["token"], &made["expires_ms"]), (&json!("welcome"), &json!(1_700_000_001_000_u64)));
    assert_eq!(send(&router, "POST registration_tokens", body).await.status, 409);
    let chosen = send(&router, "POST registration_tokens", json!({ "token": null })).await.body;
    let list = send(&router, "GET registration_tokens", Value::Null).await.body;
    assert_eq!(list, json!({ "registration_tokens": [chosen, made] }));
    assert_eq!(send(&router, "DELETE registration_tokens/welcome", Value::Null).await.body, json!({}));
    let gone = send(&router, "DELETE registration_tokens/welcome", Value::Null).await;
    assert_eq!(refused(&gone), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn the_program_says_what_it_is() {
    let home = Home::open().await;
    let answer = send(&admin::router(&home.app), "GET version", Value::Null).await.body;
    assert_eq!(answer["name"], "depesche");
}
