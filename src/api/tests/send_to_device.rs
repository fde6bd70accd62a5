//! `/sendToDevice`.

use serde_json::json;

use super::{Home, refused};

const SEND: &str = "PUT /_matrix/client/v3/sendToDevice/m.test/1";

#[tokio::test]
async fn a_message_waits_for_its_device_once() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let body = json!({ "messages": { &bob.id: { "PHONE": { "a": 1 } } } });
    for _ in 0..2 {
        assert_eq!(home.send_as(&alice, SEND, body.clone()).await.body, json!({}));
    }
    let sync = home.ask_as(&bob, "GET /_matrix/client/v3/sync", "").await.body;
    let event = json!({ "type": "m.test", "sender": &alice.id, "content": { "a": 1 } });
    assert_eq!(sync["to_device"]["events"], json!([event]));
}

#[tokio::test]
async fn a_message_that_is_no_object_is_refused() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let body = json!({ "messages": { "@bob:test": { "*": "text" } } });
    assert_eq!(refused(&home.send_as(&alice, SEND, body).await), (400, "M_BAD_JSON"));
    assert_eq!(refused(&home.send_as(&alice, SEND, json!({})).await), (400, "M_BAD_JSON"));
    assert_eq!(refused(&home.send(SEND, json!({})).await), (401, "M_MISSING_TOKEN"));
}
