//! `pushrules`, `pushers` and `notifications`: what is refused, and with which code. What notifies whom is tested in
//! the rules and the server.

use serde_json::{Value, json};

use super::{Home, refused};

const RULES: &str = "/_matrix/client/v3/pushrules";
const GLOBAL: &str = "/_matrix/client/v3/pushrules/global";

#[tokio::test]
async fn pushrules_are_read() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let get = async |path: &str| home.ask_as(&alice, &format!("GET {path}"), "").await;
    let all = get(&format!("{RULES}/")).await.body;
    assert_eq!(all["global"], get(&format!("{GLOBAL}/")).await.body);
    let master = get(&format!("{GLOBAL}/override/.m.rule.master")).await.body;
    assert_eq!(master, all["global"]["override"][0]);
    assert_eq!(master["enabled"], false);
    let of_master = async |what: &str| get(&format!("{GLOBAL}/override/.m.rule.master/{what}")).await.body;
    assert_eq!(of_master("enabled").await, json!({ "enabled": false }));
    assert_eq!(of_master("actions").await, json!({ "actions": [] }));
    for rest in ["override/none", "override/none/enabled", "override/none/actions", "content/.m.rule.master"] {
        assert_eq!(refused(&get(&format!("{GLOBAL}/{rest}")).await), (404, "M_NOT_FOUND"), "{rest}");
    }
    assert_eq!(refused(&get(&format!("{GLOBAL}/unheard/none")).await), (400, "M_INVALID_PARAM"));
    for path in [format!("{RULES}/"), format!("{GLOBAL}/"), format!("{GLOBAL}/override/.m.rule.master")] {
        assert_eq!(refused(&home.ask(&format!("GET {path}"), "").await), (401, "M_MISSING_TOKEN"));
    }
}

#[tokio::test]
async fn pushrules_are_put_and_deleted() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let put = async |rest: &str, body: Value| home.send_as(&alice, &format!("PUT {GLOBAL}/{rest}"), body).await;
    let plain = json!({ "actions": ["notify"] });
    let cake = json!({ "actions": [], "pattern": "cake" });
    for (rest, body, expected) in [
        ("content/cake", cake.clone(), (200, "none")),
        ("override/one", plain.clone(), (200, "none")),
        ("override/two?after=one", plain.clone(), (200, "none")),
        ("room/!room:test", plain.clone(), (200, "none")),
        ("sender/@bob:test", plain.clone(), (200, "none")),
        ("underride/x", json!({ "actions": [{ "set_tweak": "sound", "value": "x" }] }), (200, "none")),
        ("underride/x", json!({ "actions": [{ "set_tweak": "sound", "value": 1 }] }), (400, "M_BAD_JSON")),
        ("content/none", plain.clone(), (400, "M_BAD_JSON")),
        ("content/none", json!({ "pattern": "x" }), (400, "M_BAD_JSON")),
        ("override/none", json!({ "actions": "notify" }), (400, "M_BAD_JSON")),
        ("override/none", json!({ "actions": [], "conditions": [{}] }), (400, "M_BAD_JSON")),
        ("override/.own", plain.clone(), (400, "M_INVALID_PARAM")),
        ("override/.m.rule.master", plain.clone(), (400, "M_INVALID_PARAM")),
        ("override/a%5Cb", plain.clone(), (400, "M_INVALID_PARAM")),
        ("override/a%2Fb", plain.clone(), (400, "M_INVALID_PARAM")),
        ("override/x?before=none", plain.clone(), (400, "M_UNKNOWN")),
        ("override/x?after=.m.rule.master", plain.clone(), (400, "M_UNKNOWN")),
        ("room/room", plain.clone(), (400, "M_INVALID_PARAM")),
        ("sender/bob", plain.clone(), (400, "M_INVALID_PARAM")),
    ] {
        let answer = put(rest, body).await;
        assert_eq!(refused(&answer), expected, "{rest}: {}", answer.body);
    }
    for (rest, body, expected) in [
        ("override/one/enabled", json!({ "enabled": false }), (200, "none")),
        ("override/one/enabled", json!(true), (200, "none")),
        ("override/one/enabled", json!("true"), (400, "M_BAD_JSON")),
        ("override/one/actions", json!(true), (400, "M_BAD_JSON")),
        ("override/one/enabled", json!({ "enabled": "no" }), (400, "M_BAD_JSON")),
        ("override/one/enabled", json!({}), (400, "M_BAD_JSON")),
        ("override/none/enabled", json!({ "enabled": true }), (404, "M_NOT_FOUND")),
        ("override/.m.rule.master/actions", json!({ "actions": [] }), (200, "none")),
        ("override/one/actions", json!({}), (400, "M_BAD_JSON")),
        ("override/none/actions", plain, (404, "M_NOT_FOUND")),
    ] {
        let answer = put(rest, body).await;
        assert_eq!(refused(&answer), expected, "{rest}: {}", answer.body);
    }
    let delete = async |rest: &str| home.ask_as(&alice, &format!("DELETE {GLOBAL}/{rest}"), "").await;
    assert_eq!(refused(&delete("override/.m.rule.master").await), (400, "M_INVALID_PARAM"));
    assert_eq!(delete("content/cake").await.body, json!({}));
    assert_eq!(refused(&delete("content/cake").await), (404, "M_NOT_FOUND"));
    assert_eq!(refused(&home.send(&format!("PUT {GLOBAL}/content/cake"), cake).await), (401, "M_MISSING_TOKEN"));
}

fn pusher() -> Value {
    json!({
        "kind": "http", "app_id": "org.example", "pushkey": "key", "app_display_name": "App",
        "device_display_name": "Phone", "lang": "en", "data": { "url": "https://push.test/_matrix/push/v1/notify" },
    })
}

#[tokio::test]
async fn pushers_are_set() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let set = async |body: Value| home.send_as(&alice, "POST /_matrix/client/v3/pushers/set", body).await;
    let list = async || home.ask_as(&alice, "GET /_matrix/client/v3/pushers", "").await.body;
    assert_eq!(set(pusher()).await.body, json!({}));
    assert_eq!(list().await, json!({ "pushers": [pusher()] }));
    for missing in ["kind", "app_id", "pushkey", "app_display_name", "device_display_name", "lang", "data"] {
        let mut body = pusher();
        body.as_object_mut().unwrap().remove(missing);
        assert_eq!(refused(&set(body).await), (400, "M_MISSING_PARAM"), "{missing}");
    }
    for (field, value, code) in [
        ("pushkey", json!("x".repeat(513)), "M_INVALID_PARAM"),
        ("app_id", json!("x".repeat(65)), "M_INVALID_PARAM"),
        ("kind", json!("email"), "M_INVALID_PARAM"),
        ("kind", json!(1), "M_BAD_JSON"),
        ("data", json!({}), "M_MISSING_PARAM"),
        ("data", json!({ "url": "http://push.test/_matrix/push/v1/notify" }), "M_INVALID_PARAM"),
        ("data", json!({ "url": "https://push.test/elsewhere" }), "M_INVALID_PARAM"),
    ] {
        let mut body = pusher();
        body[field] = value;
        assert_eq!(refused(&set(body.clone()).await), (400, code), "{body}");
    }
    let gone = json!({ "kind": null, "app_id": "org.example", "pushkey": "key" });
    // One that is gone already is no error.
    for _ in 0..2 {
        assert_eq!(set(gone.clone()).await.body, json!({}));
        assert_eq!(list().await, json!({ "pushers": [] }));
    }
    assert_eq!(refused(&home.ask("GET /_matrix/client/v3/pushers", "").await), (401, "M_MISSING_TOKEN"));
    let answer = home.send("POST /_matrix/client/v3/pushers/set", pusher()).await;
    assert_eq!(refused(&answer), (401, "M_MISSING_TOKEN"));
}

#[tokio::test]
async fn notifications_are_listed() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let get = async |rest: &str| home.ask_as(&alice, &format!("GET /_matrix/client/v3/notifications{rest}"), "").await;
    for rest in ["", "?limit=5", "?only=highlight"] {
        assert_eq!(get(rest).await.body, json!({ "notifications": [] }), "{rest}");
    }
    for rest in ["?limit=x", "?from=x"] {
        assert_eq!(refused(&get(rest).await), (400, "M_INVALID_PARAM"), "{rest}");
    }
    assert_eq!(refused(&home.ask("GET /_matrix/client/v3/notifications", "").await), (401, "M_MISSING_TOKEN"));
}
