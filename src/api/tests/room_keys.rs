//! `/room_keys`.

use serde_json::{Value, json};

use super::{Home, refused};

const VERSION: &str = "/_matrix/client/v3/room_keys/version";
const KEYS: &str = "/_matrix/client/v3/room_keys/keys";
const ROOM: &str = "!room:test";

fn description(text: &str) -> Value {
    json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": text } })
}

fn key(index: u64) -> Value {
    json!({ "first_message_index": index, "forwarded_count": 0, "is_verified": false, "session_data": { "a": "b" } })
}

#[tokio::test]
async fn versions_are_made_shown_changed_and_deleted() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    assert_eq!(refused(&home.ask_as(&alice, &format!("GET {VERSION}"), "").await), (404, "M_NOT_FOUND"));
    let made = home.send_as(&alice, &format!("POST {VERSION}"), description("a")).await.body;
    let version = made["version"].as_str().unwrap();
    let mut shown = description("a");
    shown["version"] = json!(version);
    shown["count"] = json!(0);
    shown["etag"] = json!("0");
    for line in [format!("GET {VERSION}"), format!("GET {VERSION}/{version}")] {
        assert_eq!(home.ask_as(&alice, &line, "").await.body, shown, "{line}");
    }
    let put = format!("PUT {VERSION}/{version}");
    assert_eq!(home.send_as(&alice, &put, description("b")).await.body, json!({}));
    let mut other = description("b");
    other["version"] = json!("99");
    assert_eq!(refused(&home.send_as(&alice, &put, other).await), (400, "M_INVALID_PARAM"));
    assert_eq!(refused(&home.send_as(&alice, &put, json!({ "algorithm": "a" })).await), (400, "M_BAD_JSON"));
    for line in [format!("GET {VERSION}/99"), format!("DELETE {VERSION}/99")] {
        assert_eq!(refused(&home.ask_as(&alice, &line, "").await), (404, "M_NOT_FOUND"), "{line}");
    }
    let missing = home.send_as(&alice, &format!("PUT {VERSION}/99"), description("b")).await;
    assert_eq!(refused(&missing), (404, "M_NOT_FOUND"));
    assert_eq!(home.ask_as(&alice, &format!("DELETE {VERSION}/{version}"), "").await.body, json!({}));
    assert_eq!(refused(&home.ask_as(&alice, &format!("GET {VERSION}"), "").await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn keys_are_stored_read_and_deleted_whole_by_room_and_by_session() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    home.send_as(&alice, &format!("POST {VERSION}"), description("a")).await;
    let whole = json!({ "rooms": { ROOM: { "sessions": { "a": key(1) } } } });
    let put = async |path: &str, body| home.send_as(&alice, &format!("PUT {KEYS}{path}?version=1"), body).await;
    assert_eq!(put("", whole.clone()).await.body, json!({ "etag": "1", "count": 1 }));
    assert_eq!(put(&format!("/{ROOM}"), json!({ "sessions": { "b": key(1) } })).await.body["count"], 2);
    assert_eq!(put(&format!("/{ROOM}/c"), key(1)).await.body["count"], 3);

    let get = async |path: &str| home.ask_as(&alice, &format!("GET {KEYS}{path}?version=1"), "").await;
    let sessions = json!({ "sessions": { "a": key(1), "b": key(1), "c": key(1) } });
    assert_eq!(get("").await.body, json!({ "rooms": { ROOM: sessions } }));
    assert_eq!(get(&format!("/{ROOM}")).await.body, sessions);
    assert_eq!(get(&format!("/{ROOM}/c")).await.body, key(1));
    assert_eq!(get("/!other:test").await.body, json!({ "sessions": {} }));
    assert_eq!(refused(&get(&format!("/{ROOM}/d")).await), (404, "M_NOT_FOUND"));

    let delete = async |path: &str| home.ask_as(&alice, &format!("DELETE {KEYS}{path}?version=1"), "").await.body;
    assert_eq!(delete(&format!("/{ROOM}/c")).await["count"], 2);
    assert_eq!(delete(&format!("/{ROOM}")).await["count"], 0);
    put("", whole).await;
    assert_eq!(delete("").await["count"], 0);
}

#[tokio::test]
async fn many_keys_come_in_one_answer() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    home.send_as(&alice, &format!("POST {VERSION}"), description("a")).await;
    let get = async |path: &str| home.ask_as(&alice, &format!("GET {KEYS}{path}?version=1"), "").await;
    assert_eq!(get("").await.body, json!({ "rooms": {} }));
    let sessions = |count: u64| (0..count).map(|n| (format!("\"{n}"), key(n))).collect::<serde_json::Map<_, _>>();
    let rooms = json!({
        "!a:test": { "sessions": sessions(230) },
        "!b:test": { "sessions": sessions(1) },
        "!c:test": { "sessions": sessions(69) },
    });
    let whole = json!({ "rooms": rooms });
    home.send_as(&alice, &format!("PUT {KEYS}?version=1"), whole.clone()).await;
    let answer = get("").await;
    assert_eq!(answer.body, whole);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(get("/!a:test").await.body, rooms["!a:test"]);
}

#[tokio::test]
async fn keys_go_into_the_current_version_only() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let put = async |version: &str| {
        let body = json!({ "sessions": { "a": key(1) } });
        home.send_as(&alice, &format!("PUT {KEYS}/{ROOM}?version={version}"), body).await
    };
    assert_eq!(refused(&put("1").await), (404, "M_NOT_FOUND"));
    for _ in 0..2 {
        home.send_as(&alice, &format!("POST {VERSION}"), description("a")).await;
    }
    let wrong = put("1").await;
    assert_eq!(refused(&wrong), (403, "M_WRONG_ROOM_KEYS_VERSION"));
    assert_eq!(wrong.body["current_version"], "2");
    assert_eq!(put("2").await.status, 200);
    assert_eq!(refused(&home.ask_as(&alice, &format!("GET {KEYS}"), "").await), (400, "M_MISSING_PARAM"));
    assert_eq!(refused(&home.ask_as(&alice, &format!("GET {KEYS}?version=9"), "").await), (404, "M_NOT_FOUND"));
}
