//! To-device messages. Client-server API, "Send-to-Device messaging".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::txn;

const SEND: &str = "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}";

async fn send(from: &User, to: &User, device: &str, n: u64) {
    let body = json!({ "messages": { to.id.clone(): { device: { "n": n } } } });
    from.put("/_matrix/client/v3/sendToDevice/{eventType}/{txnId}", &["org.example.x", &txn()]).json(body).await.ok();
}

fn numbers(sync: &Value) -> Vec<u64> {
    let events = sync["to_device"]["events"].as_array().cloned().unwrap_or_default();
    events.iter().filter_map(|event| event["content"]["n"].as_u64()).collect()
}

#[tokio::test]
async fn a_message_reaches_its_device_only() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let other = bob.another_device().await;
    send(&alice, &bob, &bob.device, 1).await;
    let sync = bob.syncer().until(|sync| !numbers(sync).is_empty()).await;
    let event = &sync["to_device"]["events"][0];
    assert_eq!((&event["type"], &event["sender"]), (&json!("org.example.x"), &json!(alice.id)));
    assert_eq!(event["content"], json!({ "n": 1 }));
    assert!(numbers(&other.syncer().next().await).is_empty());
}

#[tokio::test]
async fn a_star_reaches_every_device() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let other = bob.another_device().await;
    send(&alice, &bob, "*", 7).await;
    for device in [&bob, &other] {
        assert_eq!(numbers(&device.syncer().until(|sync| !numbers(sync).is_empty()).await), [7]);
    }
}

#[tokio::test]
async fn messages_come_in_order() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    for n in 0..20 {
        send(&alice, &bob, &bob.device, n).await;
    }
    let sync = bob.syncer().until(|sync| numbers(sync).len() == 20).await;
    assert_eq!(numbers(&sync), (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_comes_again_until_the_next_token_proves_it_received() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let mut syncer = bob.syncer();
    syncer.next().await;
    send(&alice, &bob, &bob.device, 1).await;
    let mut first = syncer.clone();
    assert_eq!(numbers(&first.until(|sync| !numbers(sync).is_empty()).await), [1]);
    // The answer was lost: the client asks again with the old token.
    assert_eq!(numbers(&syncer.next().await), [1]);
    assert!(numbers(&syncer.next().await).is_empty());
    send(&alice, &bob, &bob.device, 2).await;
    assert_eq!(numbers(&syncer.until(|sync| !numbers(sync).is_empty()).await), [2]);
}

#[tokio::test]
async fn many_messages_come_in_portions_without_a_loss() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    for n in 0..130 {
        send(&alice, &bob, &bob.device, n).await;
    }
    let mut syncer = bob.syncer();
    let mut seen = Vec::new();
    while seen.len() < 130 {
        let part = numbers(&syncer.next().await);
        assert!(!part.is_empty() && part.len() <= 100, "{} after {}", part.len(), seen.len());
        seen.extend(part);
    }
    assert_eq!(seen, (0..130).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_transaction_sends_once() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let id = txn();
    let body = json!({ "messages": { bob.id.clone(): { bob.device.clone(): { "n": 1 } } } });
    for _ in 0..2 {
        alice.put(SEND, &["org.example.x", &id]).json(body.clone()).await.ok();
    }
    send(&alice, &bob, &bob.device, 2).await;
    let sync = bob.syncer().until(|sync| numbers(sync).contains(&2)).await;
    assert_eq!(numbers(&sync), [1, 2]);
}

#[tokio::test]
async fn a_long_poll_wakes_for_a_message() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let mut syncer = bob.syncer();
    syncer.next().await;
    let wait = syncer.request(30_000).into_future();
    let (answer, ()) = tokio::join!(wait, send(&alice, &bob, &bob.device, 3));
    let sync = answer.ok();
    assert_eq!(numbers(&sync), [3], "{sync}");
}

#[tokio::test]
async fn messages_to_unknown_devices_and_users_are_dropped() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    send(&alice, &bob, "NOTHING", 1).await;
    let body = json!({ "messages": { "@nobody-at-all:depesche.test": { "*": { "n": 1 } } } });
    alice.put(SEND, &["org.example.x", &txn()]).json(body).await.ok();
    assert!(numbers(&bob.syncer().next().await).is_empty());
}

#[tokio::test]
async fn messages_of_the_wrong_shape_are_refused() {
    let alice = shared().user("alice").await;
    let answer = alice.put(SEND, &["org.example.x", &txn()]).json(json!({})).await;
    assert_eq!(answer.status, 400, "{answer}");
    let answer = alice.put(SEND, &["org.example.x", &txn()]).json(json!({ "messages": "all" })).await;
    differs(
        "client-server-api#put_matrixclientv3sendtodeviceeventtypetxnid",
        || assert_eq!(answer.status, 400, "{answer}"),
        || assert_eq!(answer.status, 500, "{answer}"),
    );
}
