//! Input that is wrong: the right status and code, nothing written, the connection kept. Client-server API, "API
//! Standards"; "Size limits"; appendices, "Canonical JSON".

use depesche_spec_tests::client::encode;
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::txn;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const SEND: &str = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";

async fn send_raw(user: &User, room: &str, body: &str) -> Answer {
    let request = user.put(SEND, &[room, "org.example.x", &txn()]);
    request.raw("application/json", body.as_bytes().to_vec()).await
}

/// The number of events in a room's history.
async fn count(user: &User, room: &str) -> usize {
    let query = [("dir", "b"), ("limit", "100")];
    let page = user.get("/_matrix/client/v3/rooms/{roomId}/messages", &[room]).query(&query).await.ok();
    page["chunk"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn what_is_no_json_is_not_json() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let before = count(&alice, &room).await;
    for body in ["{", "{\"a\":}", "{\"a\":1}}", "nonsense", "{'a': 1}", "{\"a\":1,}", "\"open"] {
        send_raw(&alice, &room, body).await.error(400, "M_NOT_JSON");
    }
    assert_eq!(count(&alice, &room).await, before);
}

#[tokio::test]
async fn a_body_that_is_empty_is_not_json() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for request in [
        alice.without_token().post("/_matrix/client/v3/login", &[]),
        alice.post("/_matrix/client/v3/rooms/{roomId}/report", &[&room]),
        alice.post("/_matrix/client/v3/pushers/set", &[]),
        alice.post("/_matrix/client/v3/keys/claim", &[]),
    ] {
        request.raw("application/json", Vec::new()).await.error(400, "M_NOT_JSON");
    }
}

#[tokio::test]
async fn json_that_is_no_object_is_bad() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for body in ["[]", "7", "null", "\"text\""] {
        send_raw(&alice, &room, body).await.error(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let before = count(&alice, &room).await;
    for bytes in [&b"{\"body\":\"\xff\xfe\"}"[..], b"\xc3\x28", b"{\"\xed\xa0\x80\":1}"] {
        let request = alice.put(SEND, &[&room, "m.room.message", &txn()]);
        request.raw("application/json", bytes.to_vec()).await.error(400, "M_NOT_JSON");
    }
    assert_eq!(count(&alice, &room).await, before);
}

#[tokio::test]
async fn numbers_outside_canonical_json_are_not_sent() {
    let alice = shared().user("alice").await;
    for version in ["6", "11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let before = count(&alice, &room).await;
        for number in ["1.5", "9007199254740992", "-9007199254740992", "123456789012345678901234567890"] {
            let answer = send_raw(&alice, &room, &format!("{{\"body\":\"x\",\"n\":{number}}}")).await;
            answer.error(400, "M_BAD_JSON");
        }
        assert_eq!(count(&alice, &room).await, before, "version {version}");
        for number in ["9007199254740991", "-9007199254740991", "0"] {
            send_raw(&alice, &room, &format!("{{\"body\":\"x\",\"n\":{number}}}")).await.ok();
        }
    }
}

#[tokio::test]
async fn a_whole_number_written_with_a_point_is_no_integer() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for number in ["1.0", "1e3"] {
        let answer = send_raw(&alice, &room, &format!("{{\"body\":\"x\",\"n\":{number}}}")).await;
        answer.error(400, "M_BAD_JSON");
    }
}

#[tokio::test]
async fn a_number_beyond_all_floats_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let answer = send_raw(&alice, &room, "{\"body\":\"x\",\"n\":1e400}").await;
    differs(
        "appendices#canonical-json",
        || drop(answer.clone().error(400, "M_NOT_JSON")),
        || drop(answer.clone().error(500, "M_UNKNOWN")),
    );
}

#[tokio::test]
async fn deep_nesting_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for depth in [5_000, 30_000] {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let answer = send_raw(&alice, &room, &body).await;
        differs(
            "client-server-api#standard-error-response",
            || drop(answer.clone().error(400, "M_BAD_JSON")),
            || drop(answer.clone().error(400, "M_NOT_JSON")),
        );
    }
    alice.say(&room, "still there").await;
}

/// The event is one level around its content.
#[tokio::test]
async fn an_event_nested_as_deep_as_may_be_can_be_redacted() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    let deepest = alice.put(SEND, &[&room, "org.example.x", &txn()]).json(nested(99)).await.ok();
    let deepest = deepest["event_id"].as_str().expect("an event");
    let event = "/_matrix/client/v3/rooms/{roomId}/event/{eventId}";
    assert_eq!(alice.get(event, &[&room, deepest]).await.ok()["content"], nested(99));
    let redact = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    alice.put(redact, &[&room, deepest, &txn()]).json(json!({})).await.ok();
    assert_eq!(alice.get(event, &[&room, deepest]).await.ok()["content"], json!({}));
    let answer = alice.put(SEND, &[&room, "org.example.x", &txn()]).json(nested(100)).await;
    differs(
        "client-server-api#standard-error-response",
        || drop(answer.clone().error(400, "M_BAD_JSON")),
        || drop(answer.clone().ok()),
    );
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let before = count(&alice, &room).await;
    let body = json!({ "body": "x".repeat(65_536) });
    let answer = alice.put(SEND, &[&room, "org.example.x", &txn()]).json(body).await;
    answer.error(413, "M_TOO_LARGE");
    assert_eq!(count(&alice, &room).await, before);
    let body = json!({ "body": "x".repeat(60_000) });
    alice.put(SEND, &[&room, "org.example.x", &txn()]).json(body).await.ok();
}

#[tokio::test]
async fn event_type_and_state_key_have_at_most_255_bytes() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    let (fits, too_long) = ("k".repeat(255), "k".repeat(256));
    alice.put(path, &[&room, "org.example.x", &fits]).json(json!({})).await.ok();
    alice.put(path, &[&room, &fits, ""]).json(json!({})).await.ok();
    for (kind, key) in [("org.example.x", too_long.as_str()), (too_long.as_str(), "")] {
        alice.put(path, &[&room, kind, key]).json(json!({})).await.error(413, "M_TOO_LARGE");
    }
    // Bytes, not characters.
    let answer = alice.put(path, &[&room, "org.example.x", &"ü".repeat(128)]).json(json!({})).await;
    answer.error(413, "M_TOO_LARGE");
}

#[tokio::test]
async fn a_huge_body_is_refused_and_nothing_is_written() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    let body = json!({ "x": "x".repeat(80_000_000) });
    let answer = alice.put(path, &[&alice.id, "org.example.huge"]).json(body).await;
    // The server may close the connection while the client still writes: then there is no answer to read.
    assert!([0, 413].contains(&answer.status), "{answer}");
    alice.get(path, &[&alice.id, "org.example.huge"]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_body_a_little_too_large_is_refused_and_the_connection_goes_on() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let before = count(&alice, &room).await;
    let mut stream = TcpStream::connect(alice.address()).await.expect("a connection");
    let token = alice.token();
    let body = format!("{{\"x\":\"{}\"}}", "x".repeat((1 << 20) + 1 - 8));
    let path = format!("/_matrix/client/v3/rooms/{}/send/org.example.x/{}", encode(&room), txn());
    let head = format!("Host: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n", body.len());
    let answer = exchange(&mut stream, format!("PUT {path} HTTP/1.1\r\n{head}\r\n{body}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("M_TOO_LARGE"), "{answer}");
    let next =
        format!("GET /_matrix/client/v3/account/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let answer = exchange(&mut stream, next.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&alice.id), "{answer}");
    assert_eq!(count(&alice, &room).await, before);
}

#[tokio::test]
async fn unknown_endpoints_are_unrecognized() {
    let alice = shared().user("alice").await;
    for path in
        ["/_matrix/client/v3/nothing", "/_matrix/client/v99/sync", "/_matrix/nothing", "/_matrix/client/v3/rooms"]
    {
        alice.get(path, &[]).await.error(404, "M_UNRECOGNIZED");
        alice.without_token().post(path, &[]).json(json!({})).await.error(404, "M_UNRECOGNIZED");
    }
}

#[tokio::test]
async fn unknown_methods_are_unrecognized() {
    let alice = shared().user("alice").await;
    alice.delete("/_matrix/client/v3/sync", &[]).await.error(405, "M_UNRECOGNIZED");
    alice.get("/_matrix/client/v3/createRoom", &[]).await.error(405, "M_UNRECOGNIZED");
    alice.put("/_matrix/client/v3/account/whoami", &[]).json(json!({})).await.error(405, "M_UNRECOGNIZED");
    alice.without_token().put("/_matrix/client/v3/login", &[]).json(json!({})).await.error(405, "M_UNRECOGNIZED");
}

#[tokio::test]
async fn ids_that_are_none_are_refused() {
    let alice = shared().user("alice").await;
    let message = json!({ "msgtype": "m.text", "body": "x" });
    for room in ["nonsense", "!", "#alias:depesche.test", "@user:depesche.test"] {
        for answer in [
            alice.put(SEND, &[room, "m.room.message", &txn()]).json(message.clone()).await,
            alice.get("/_matrix/client/v3/rooms/{roomId}/state", &[room]).await,
            alice.get("/_matrix/client/v3/rooms/{roomId}/members", &[room]).await,
        ] {
            // An id of rooms since version 12 may be anything behind the sigil: it is that of no room.
            let (status, code) = if room == "!" { (403, "M_FORBIDDEN") } else { (400, "M_INVALID_PARAM") };
            differs(
                "appendices#room-ids",
                || drop(answer.clone().error(status, code)),
                || drop(answer.clone().error(403, "M_FORBIDDEN")),
            );
        }
    }
    let room = alice.public_room().await;
    let answer = alice.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, "nonsense"]).await;
    differs(
        "appendices#event-ids",
        || drop(answer.clone().error(400, "M_INVALID_PARAM")),
        || drop(answer.clone().error(404, "M_NOT_FOUND")),
    );
    for user in ["nonsense", "@", "@x"] {
        alice.get("/_matrix/client/v3/profile/{userId}", &[user]).await.error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn fields_of_the_wrong_type_are_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let before = count(&alice, &room).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    for (kind, content) in [
        ("m.room.power_levels", json!({ "users": [] })),
        ("m.room.power_levels", json!({ "ban": "fifty" })),
        ("m.room.member", json!({ "membership": 7 })),
    ] {
        let key = if kind == "m.room.member" { alice.id.as_str() } else { "" };
        let answer = alice.put(path, &[&room, kind, key]).json(content).await;
        let theirs = if kind == "m.room.member" { "M_UNKNOWN" } else { "M_BAD_JSON" };
        differs(
            "client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey",
            || drop(answer.clone().error(400, "M_BAD_JSON")),
            || drop(answer.clone().error(400, theirs)),
        );
    }
    assert_eq!(count(&alice, &room).await, before);
}

#[tokio::test]
async fn a_body_needs_no_content_type() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let request = alice.put(SEND, &[&room, "m.room.message", &txn()]);
    request.raw("text/plain", b"{\"msgtype\":\"m.text\",\"body\":\"x\"}".to_vec()).await.ok();
}

/// Writes a request on an open connection and reads the answer, whose body has a length or comes in chunks.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.expect("the connection is open");
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:").map(str::to_owned));
            let complete = match length {
                Some(length) => body.len() >= length.trim().parse().expect("a length"),
                None => body.ends_with("0\r\n\r\n"),
            };
            if complete {
                return text;
            }
        }
        let read = stream.read_buf(&mut answer).await.expect("the connection is open");
        assert_ne!(read, 0, "the server closed the connection after {text:?}");
    }
}

#[tokio::test]
async fn the_connection_survives_wrong_requests() {
    let alice = shared().user("alice").await;
    let mut stream = TcpStream::connect(alice.address()).await.expect("a connection");
    let head = format!("Host: x\r\nAuthorization: Bearer {}\r\n", alice.token());
    let broken = "{broken";
    for (request, status) in [
        (format!("POST /_matrix/client/v3/createRoom HTTP/1.1\r\n{head}Content-Length: 7\r\n\r\n{broken}"), "400"),
        (format!("GET /_matrix/client/v3/nothing HTTP/1.1\r\n{head}\r\n"), "404"),
        (format!("DELETE /_matrix/client/v3/sync HTTP/1.1\r\n{head}\r\n"), "405"),
        ("GET /_matrix/client/v3/account/whoami HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "401"),
        (format!("GET /_matrix/client/v3/account/whoami HTTP/1.1\r\n{head}\r\n"), "200"),
    ] {
        let answer = exchange(&mut stream, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
    }
}

#[tokio::test]
async fn no_body_is_no_json() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let before = count(&alice, &room).await;
    alice.put(SEND, &[&room, "org.example.x", &txn()]).await.error(400, "M_NOT_JSON");
    let state = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    alice.put(state, &[&room, "org.example.x", ""]).await.error(400, "M_NOT_JSON");
    let data = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    alice.put(data, &[&alice.id, "org.example.x"]).await.error(400, "M_NOT_JSON");
    assert_eq!(count(&alice, &room).await, before);
    alice.get(data, &[&alice.id, "org.example.x"]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn power_levels_that_are_none_are_refused_as_malformed() {
    let alice = shared().user("alice").await;
    for version in ["11", "12"] {
        let room = alice.create_room(json!({ "room_version": version })).await;
        let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
        let mut contents = vec![
            json!({ "users": { "nobody": 1, alice.id.clone(): 100 } }),
            json!({ "users": { "@nobody:depesche.test": "many", alice.id.clone(): 100 } }),
            json!({ "users": { alice.id.clone(): 100 }, "ban": "many" }),
        ];
        if version == "12" {
            for content in &mut contents {
                content["users"].as_object_mut().expect("users").remove(&alice.id);
            }
            contents.push(json!({ "users": { alice.id.clone(): 100 } }));
        }
        for content in contents {
            let answer = alice.put(path, &[&room, "m.room.power_levels", ""]).json(content).await;
            answer.error_in(400, &["M_BAD_JSON", "M_UNKNOWN"]);
        }
    }
}
