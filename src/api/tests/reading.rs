//! Receipts, read markers, typing and presence: what is refused, and what a client may leave out.

use depesche_rules::bounds::MAX_STATUS_BYTES;
use serde_json::{Value, json};

use super::{CONFIG, Home, Person, refused};

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
        (json!({ "presence": "online", "status_msg": "x".repeat(MAX_STATUS_BYTES) }), (200, "none")),
        (json!({ "presence": "online", "status_msg": "x".repeat(MAX_STATUS_BYTES + 1) }), (400, "M_INVALID_PARAM")),
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

#[tokio::test]
async fn who_joins_a_new_room_learns_how_its_creator_is() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let status = format!("PUT /_matrix/client/v3/presence/{}/status", alice.id);
    assert_eq!(home.send_as(&alice, &status, json!({ "presence": "online" })).await.status, 200);
    let creation = json!({ "preset": "public_chat" });
    let created = home.send_as(&alice, "POST /_matrix/client/v3/createRoom", creation).await;
    let room = created.body["room_id"].as_str().unwrap();
    let path = format!("/_matrix/client/v3/rooms/{}", room.replace('!', "%21").replace(':', "%3A"));
    assert_eq!(home.send_as(&bob, &format!("POST {path}/join"), json!({})).await.status, 200);
    let mut since = String::new();
    // The rooms are told soon after, not before the answer.
    for _ in 0..20 {
        let line = format!("GET /_matrix/client/v3/sync?timeout=500{since}");
        let answer = home.ask_as(&bob, &line, "").await;
        let told = answer.body["presence"]["events"].as_array().cloned().unwrap_or_default();
        if told.iter().any(|event| event["sender"] == alice.id.as_str()) {
            return;
        }
        since = format!("&since={}", answer.body["next_batch"].as_str().unwrap());
    }
    panic!("Bob was not told of Alice");
}

/// All pages of a list: how many events each has.
async fn pages(home: &Home, person: &Person, path: &str, events: &str, next: &str) -> Vec<usize> {
    let (mut counts, mut from) = (Vec::new(), String::new());
    loop {
        let answer = home.ask_as(person, &format!("GET {path}{from}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        counts.push(answer.body[events].as_array().unwrap().len());
        match answer.body[next].as_str() {
            Some(token) => from = format!("&from={token}"),
            None => return counts,
        }
    }
}

#[tokio::test]
async fn a_page_of_large_events_is_short_and_the_next_one_goes_on() {
    let home = Home::with(&format!("{CONFIG}\n[rate_limits]\nenabled = false\n")).await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let (path, said) = room(&home, &alice).await;
    let invite = json!({ "user_id": bob.id });
    assert_eq!(home.send_as(&alice, &format!("POST {path}/invite"), invite).await.status, 200);
    assert_eq!(home.send_as(&bob, &format!("POST {path}/join"), json!({})).await.status, 200);
    for n in 0..90 {
        let relates = json!({ "rel_type": "m.reference", "event_id": said });
        let large = json!({ "msgtype": "m.text", "body": "x".repeat(60_000), "m.relates_to": relates });
        let answer = home.send_as(&alice, &format!("PUT {path}/send/m.room.message/large{n}"), large).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let v1 = path.replace("/v3/", "/v1/");
    for (list, events, next) in [
        (format!("{path}/messages?dir=b&limit=1000"), "chunk", "end"),
        (format!("{path}/messages?dir=f&limit=1000"), "chunk", "end"),
        (format!("{v1}/relations/{said}?limit=500"), "chunk", "next_batch"),
        ("/_matrix/client/v3/notifications?limit=500".to_owned(), "notifications", "next_token"),
    ] {
        let pages = pages(&home, &bob, &list, events, next).await;
        assert!(pages[0] > 60 && pages[0] < 85 && pages.iter().sum::<usize>() >= 90, "{list}: {pages:?}");
    }
    let filter = "%7B%22room%22:%7B%22timeline%22:%7B%22limit%22:500%7D%7D%7D";
    let answer = home.ask_as(&bob, &format!("GET /_matrix/client/v3/sync?filter={filter}"), "").await.body;
    let joined = answer["rooms"]["join"].as_object().unwrap().values().next().unwrap();
    let shown = joined["timeline"]["events"].as_array().unwrap().len();
    assert!(shown > 60 && shown < 85 && joined["timeline"]["limited"] == true, "{shown}");
    let before = joined["timeline"]["prev_batch"].as_str().unwrap();
    let rest = home.ask_as(&bob, &format!("GET {path}/messages?dir=b&limit=1000&from={before}"), "").await.body;
    let large = |events: &Value| events.as_array().unwrap().iter().filter(|e| e["type"] == "m.room.message").count();
    assert_eq!(large(&joined["timeline"]["events"]) + large(&rest["chunk"]), 90);
}
