//! Receipts, read markers, typing and presence: what is refused, and what a client may leave out.

use serde_json::{Value, json};

use super::{Home, Person, refused};

async fn room(home: &Home, creator: &Person) -> (String, String) {
    let answer = home.send_as(creator, "POST /_matrix/client/v3/createRoom", json!({})).await;
    let path = format!("/_matrix/client/v3/rooms/{}", answer.body["room_id"].as_str().unwrap());
    let said = home.send_as(creator, &format!("PUT {path}/send/org.example.x/1"), json!({ "body": "x" })).await;
    (path, said.body["event_id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn receipts() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let (path, said) = room(&home, &alice).await;
    let post = async |person: &Person, rest: String, body: Value| {
        home.send_as(person, &format!("POST {path}/receipt/{rest}"), body).await
    };
    for (rest, body, expected) in [
        (format!("m.read/{said}"), json!({}), (200, "none")),
        (format!("m.read/{said}"), json!({ "thread_id": "main" }), (200, "none")),
        (format!("m.read.private/{said}"), json!({ "unknown": 1 }), (200, "none")),
        (format!("m.fully_read/{said}"), json!({}), (200, "none")),
        (format!("m.fully_read/{said}"), json!({ "thread_id": "main" }), (400, "M_INVALID_PARAM")),
        (format!("m.seen/{said}"), json!({}), (400, "M_INVALID_PARAM")),
        (format!("m.read/{said}"), json!({ "thread_id": "" }), (400, "M_INVALID_PARAM")),
        (format!("m.read/{said}"), json!({ "thread_id": 1 }), (400, "M_INVALID_PARAM")),
        (format!("m.read/{said}"), json!({ "thread_id": null }), (400, "M_INVALID_PARAM")),
        (format!("m.read/{said}"), json!({ "thread_id": "$other" }), (400, "M_INVALID_PARAM")),
        ("m.read/said".to_owned(), json!({}), (400, "M_INVALID_PARAM")),
        ("m.read/$unknown".to_owned(), json!({}), (404, "M_NOT_FOUND")),
        ("m.fully_read/$unknown".to_owned(), json!({}), (404, "M_NOT_FOUND")),
    ] {
        let answer = post(&alice, rest.clone(), body.clone()).await;
        assert_eq!(refused(&answer), expected, "{rest} {body}: {}", answer.body);
    }
    assert_eq!(refused(&post(&bob, format!("m.read/{said}"), json!({})).await), (403, "M_FORBIDDEN"));
    let elsewhere = format!("POST /_matrix/client/v3/rooms/!none:test/receipt/m.read/{said}");
    assert_eq!(refused(&home.send_as(&alice, &elsewhere, json!({})).await), (403, "M_FORBIDDEN"));
    // Clients leave the body out.
    assert_eq!(home.ask_as(&alice, &format!("POST {path}/receipt/m.read/{said}"), "").await.status, 200);
}

#[tokio::test]
async fn read_markers() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let (path, said) = room(&home, &alice).await;
    let line = format!("POST {path}/read_markers");
    let all = json!({ "m.fully_read": said, "m.read": said, "m.read.private": said });
    assert_eq!(refused(&home.send_as(&bob, &line, all.clone()).await), (403, "M_FORBIDDEN"));
    for (body, expected) in [
        (all, (200, "none")),
        (json!({}), (200, "none")),
        (json!({ "m.fully_read": 7 }), (400, "M_BAD_JSON")),
        (json!({ "m.read": said, "m.fully_read": "$unknown" }), (404, "M_NOT_FOUND")),
    ] {
        assert_eq!(refused(&home.send_as(&alice, &line, body.clone()).await), expected, "{body}");
    }
}

#[tokio::test]
async fn typing() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let (path, _) = room(&home, &alice).await;
    let line = format!("PUT {path}/typing/{}", alice.id);
    for (body, expected) in [
        (json!({ "typing": true, "timeout": 1000 }), (200, "none")),
        (json!({ "typing": true }), (200, "none")),
        (json!({ "typing": false }), (200, "none")),
        (json!({ "typing": "yes" }), (400, "M_BAD_JSON")),
        (json!({ "typing": true, "timeout": "long" }), (400, "M_BAD_JSON")),
        (json!({ "timeout": 1000 }), (400, "M_BAD_JSON")),
    ] {
        assert_eq!(refused(&home.send_as(&alice, &line, body.clone()).await), expected, "{body}");
    }
    let body = json!({ "typing": true, "timeout": 1000 });
    assert_eq!(refused(&home.send_as(&bob, &line, body.clone()).await), (403, "M_FORBIDDEN"));
    let line = format!("PUT {path}/typing/{}", bob.id);
    assert_eq!(refused(&home.send_as(&bob, &line, body).await), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn presence() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let line = |person: &Person| format!("/_matrix/client/v3/presence/{}/status", person.id);
    for (body, expected) in [
        (json!({ "presence": "online", "status_msg": "x".repeat(1024) }), (200, "none")),
        (json!({ "presence": "online", "status_msg": "x".repeat(1025) }), (400, "M_INVALID_PARAM")),
        (json!({ "presence": "asleep" }), (400, "M_INVALID_PARAM")),
        (json!({ "presence": 1 }), (400, "M_BAD_JSON")),
        (json!({}), (400, "M_BAD_JSON")),
        (json!({ "presence": "unavailable" }), (200, "none")),
    ] {
        assert_eq!(refused(&home.send_as(&alice, &format!("PUT {}", line(&alice)), body).await), expected);
    }
    let online = json!({ "presence": "online" });
    assert_eq!(refused(&home.send_as(&alice, &format!("PUT {}", line(&bob)), online).await), (403, "M_FORBIDDEN"));
    let get = async |person: &Person, of: &Person| home.ask_as(person, &format!("GET {}", line(of)), "").await;
    assert_eq!(get(&alice, &alice).await.body["presence"], "unavailable");
    assert_eq!(refused(&get(&bob, &alice).await), (403, "M_FORBIDDEN"));
}
