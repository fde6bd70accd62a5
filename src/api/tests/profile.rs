//! `/profile`.

use ruma::user_id;
use serde_json::{Value, json};

use super::{Home, refused};

const ALICE: &str = "/_matrix/client/v3/profile/@alice:test";

#[tokio::test]
async fn a_profile_is_shown_to_everybody() {
    let home = Home::open().await;
    home.user("alice").await;
    assert_eq!(home.ask(&format!("GET {ALICE}"), "").await.body, json!({ "displayname": "alice" }));
    let field = async |field: &str| home.ask(&format!("GET {ALICE}/{field}"), "").await;
    assert_eq!(field("displayname").await.body, json!({ "displayname": "alice" }));
    assert_eq!(refused(&field("avatar_url").await), (404, "M_NOT_FOUND"));
    let nobody = "GET /_matrix/client/v3/profile/@nobody:test";
    assert_eq!(refused(&home.ask(nobody, "").await), (404, "M_NOT_FOUND"));
    assert_eq!(refused(&home.ask(&format!("{nobody}/displayname"), "").await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn fields_are_set_and_removed() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let wanted = json!({
        "displayname": "Alice", "avatar_url": "mxc://test/a", "m.tz": "Europe/Berlin", "org.example.x": { "a": null }
    });
    for (field, value) in wanted.as_object().unwrap() {
        let answer = home.send_as(&alice, &format!("PUT {ALICE}/{field}"), json!({ field: value })).await;
        assert_eq!((answer.status, answer.body), (200, json!({})), "{field}");
        assert_eq!(home.ask(&format!("GET {ALICE}/{field}"), "").await.body, json!({ field: value }));
    }
    assert_eq!(home.ask(&format!("GET {ALICE}"), "").await.body, wanted);
    for field in ["displayname", "org.example.x", "org.example.never"] {
        assert_eq!(home.ask_as(&alice, &format!("DELETE {ALICE}/{field}"), "").await.body, json!({}));
    }
    let left = json!({ "avatar_url": "mxc://test/a", "m.tz": "Europe/Berlin" });
    assert_eq!(home.ask(&format!("GET {ALICE}"), "").await.body, left);
    // An empty one is none.
    home.send_as(&alice, &format!("PUT {ALICE}/avatar_url"), json!({ "avatar_url": "" })).await;
    assert_eq!(refused(&home.ask(&format!("GET {ALICE}/avatar_url"), "").await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn what_cannot_be_set_has_the_right_code() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let long = format!("org.{}", "x".repeat(300));
    let large = json!({ "org.example.x": "x".repeat(65_536) });
    for (field, body, expected) in [
        ("displayname", json!({ "displayname": 7 }), (400, "M_BAD_JSON")),
        ("displayname", json!({ "displayname": null }), (400, "M_BAD_JSON")),
        ("avatar_url", json!({ "avatar_url": null }), (400, "M_BAD_JSON")),
        ("m.tz", json!({ "m.tz": 5 }), (400, "M_BAD_JSON")),
        ("m.tz", json!({ "m.tz": null }), (400, "M_BAD_JSON")),
        ("displayname", json!({}), (400, "M_MISSING_PARAM")),
        ("displayname", json!({ "avatar_url": "mxc://test/a" }), (400, "M_MISSING_PARAM")),
        ("avatar_url", json!({ "avatar_url": "https://test/a" }), (400, "M_BAD_JSON")),
        ("Org.Example", json!({ "Org.Example": 1 }), (400, "M_INVALID_PARAM")),
        (&long, json!({ &long: 1 }), (400, "M_KEY_TOO_LARGE")),
        ("org.example.x", large, (400, "M_PROFILE_TOO_LARGE")),
    ] {
        let answer = home.send_as(&alice, &format!("PUT {ALICE}/{field}"), body).await;
        assert_eq!(refused(&answer), expected, "{field}: {}", answer.body);
    }
    let name = format!("PUT {ALICE}/displayname");
    let answer = home.send_as(&bob, &name, json!({ "displayname": "Eve" })).await;
    assert_eq!(refused(&answer), (403, "M_FORBIDDEN"));
    assert_eq!(refused(&home.ask_as(&bob, &format!("DELETE {ALICE}/displayname"), "").await), (403, "M_FORBIDDEN"));
    assert_eq!(refused(&home.ask_as(&alice, &format!("DELETE {ALICE}/1st"), "").await), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn a_suspended_user_keeps_the_profile() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    home.app.server.accounts.set_suspended(user_id!("@alice:test"), true).await.unwrap();
    let answer = home.send_as(&alice, &format!("PUT {ALICE}/displayname"), json!({ "displayname": "x" })).await;
    assert_eq!(refused(&answer), (403, "M_USER_SUSPENDED"));
    assert_eq!(home.ask_as(&alice, &format!("GET {ALICE}"), "").await.body["displayname"], Value::from("alice"));
}
