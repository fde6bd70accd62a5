use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering};

use depesche_rules::bounds::{MAX_TO_DEVICE_BYTES, MAX_TO_DEVICE_PER_SYNC, MAX_TO_DEVICE_RECIPIENTS};
use depesche_store::{Position, faults::Fault as EngineFault};
use ruma::{UserId, api::client::to_device::send_event_to_device::v3::Request, serde::Raw, user_id};
use serde_json::{Value, json};

use super::{Page, SendError, ToDevice};
use crate::{
    expiry,
    keys::{
        bounds::{MAX_QUEUE, MAX_QUEUE_BYTES, TRANSACTION_MEMORY_MS},
        tests::{Home, alice, bob},
    },
    keyspace::{TO_DEVICE, TO_DEVICE_TXN},
    records::keys::Message,
    table::Record,
    topic,
};

fn request(txn: &str, messages: Value) -> Request {
    let messages: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_value(messages).unwrap();
    let messages = messages.into_iter().map(|(user, devices)| {
        let devices = devices.into_iter().map(|(device, content)| {
            (device.as_str().try_into().unwrap(), Raw::new(&content).unwrap().cast_unchecked())
        });
        (user.try_into().unwrap(), devices.collect())
    });
    Request::new_raw("m.test".into(), txn.into(), messages.collect())
}

async fn home() -> (Home, ToDevice) {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    home.device(&alice(), "TABLET").await;
    home.device(&bob(), "DESK").await;
    let to_device = ToDevice::new(Arc::clone(&home.base), Arc::clone(&home.devices));
    (home, to_device)
}

impl ToDevice {
    async fn sent(&self, txn: &str, messages: Value) {
        self.send(&bob(), Some("DESK".into()), &request(txn, messages)).await.unwrap();
    }

    async fn page(&self, user: &UserId, device: &str, since: Position, limit: usize) -> Page {
        self.read(&self.base.view(), user, device.into(), since, limit).await.unwrap()
    }

    /// What waits for a device: the field `n` of each message.
    async fn waiting(&self, user: &UserId, device: &str) -> Vec<u64> {
        let page = self.page(user, device, Position(0), 100).await;
        page.events
            .iter()
            .map(|event| event.get_field::<Value>("content").unwrap().unwrap()["n"].as_u64().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn messages_reach_the_devices_named() {
    let (home, to_device) = home().await;
    let mut watch = home.base.topics().watch();
    watch.add(topic::device(&alice(), "PHONE".into()));
    let before = home.base.view().position();
    to_device
        .sent(
            "1",
            json!({
                "@alice:a.example": { "*": { "n": 1 }, "TABLET": { "n": 2 }, "NONE": { "n": 3 } },
                "@bob:a.example": { "DESK": { "n": 4 } },
                "@carol:a.example": { "*": { "n": 5 } },
                "@dave:other.example": { "*": { "n": 6 }, "PHONE": { "n": 7 } },
            }),
        )
        .await;
    assert_eq!(watch.changed_since(before).len(), 1);
    assert_eq!(to_device.waiting(&alice(), "PHONE").await, [1]);
    assert_eq!(to_device.waiting(&alice(), "TABLET").await, [2], "one message a device, the one sent by name");
    assert_eq!(to_device.waiting(&bob(), "DESK").await, [4]);
    assert_eq!(to_device.waiting(&alice(), "NONE").await, [0u64; 0]);
    let page = to_device.page(&alice(), "PHONE", Position(0), 100).await;
    let event: Value = serde_json::from_str(page.events[0].json().get()).unwrap();
    assert_eq!(event, json!({ "content": { "n": 1 }, "sender": "@bob:a.example", "type": "m.test" }));
}

#[tokio::test]
async fn a_repeated_request_sends_nothing_for_a_day() {
    let (home, to_device) = home().await;
    let messages = json!({ "@alice:a.example": { "PHONE": { "n": 1 } } });
    to_device.sent("1", messages.clone()).await;
    to_device.sent("1", messages.clone()).await;
    assert_eq!(to_device.waiting(&alice(), "PHONE").await, [1]);
    // The scope is the device and the event type.
    let mut other = request("1", messages.clone());
    to_device.send(&bob(), Some("OTHER".into()), &other).await.unwrap();
    other.event_type = "m.other".into();
    to_device.send(&bob(), Some("DESK".into()), &other).await.unwrap();
    assert_eq!(to_device.waiting(&alice(), "PHONE").await, [1, 1, 1]);

    home.hand.fetch_add(TRANSACTION_MEMORY_MS, Ordering::Relaxed);
    to_device.sent("2", messages).await;
    expiry::sweep(&home.base, 0).await.unwrap();
    let desk = (bob(), "DESK".into());
    let view = home.base.view();
    assert_eq!(view.scan(&TO_DEVICE_TXN, TO_DEVICE_TXN.under(&desk), 10).await.unwrap().len(), 1, "old ones ended");
}

#[tokio::test]
async fn a_request_whose_outcome_was_unknown_is_sent_once() {
    let (home, to_device) = home().await;
    let messages = json!({ "@alice:a.example": { "PHONE": { "n": 1 } } });
    for fault in [EngineFault::UnknownApplied, EngineFault::UnknownLost] {
        home.faults.next([fault]);
        let txn = format!("{fault:?}");
        let lost = to_device.send(&bob(), Some("DESK".into()), &request(&txn, messages.clone())).await;
        assert!(matches!(lost, Err(SendError::Fault(_))));
        to_device.sent(&txn, messages.clone()).await;
    }
    assert_eq!(to_device.waiting(&alice(), "PHONE").await, [1, 1]);
}

#[tokio::test]
async fn messages_come_in_order_page_by_page_until_acknowledged() {
    let (_home, to_device) = home().await;
    for n in 0..5 {
        to_device.sent(&n.to_string(), json!({ "@alice:a.example": { "*": { "n": n } } })).await;
    }
    let first = to_device.page(&alice(), "PHONE", Position(0), 2).await;
    assert_eq!((first.events.len(), first.more), (2, true));
    let again = to_device.page(&alice(), "PHONE", Position(0), 2).await;
    assert_eq!(again.last, first.last, "what was not acknowledged comes again");
    to_device.acknowledge(&alice(), "PHONE".into(), first.last).await.unwrap();
    assert_eq!(to_device.waiting(&alice(), "PHONE").await, [2, 3, 4]);
    assert_eq!(to_device.waiting(&alice(), "TABLET").await, [0, 1, 2, 3, 4]);
    let rest = to_device.page(&alice(), "PHONE", first.last, 100).await;
    assert_eq!((rest.events.len(), rest.more), (3, false));
    let none = to_device.page(&alice(), "PHONE", rest.last, 100).await;
    assert_eq!((none.events.len(), none.last, none.more), (0, rest.last, false));
    to_device.acknowledge(&alice(), "PHONE".into(), rest.last).await.unwrap();
    let before = to_device.base.view().position();
    to_device.acknowledge(&alice(), "PHONE".into(), rest.last).await.unwrap();
    assert_eq!(to_device.base.view().position(), before, "nothing left to delete");
}

#[tokio::test]
async fn what_is_no_message_is_refused_as_a_whole() {
    let (_home, to_device) = home().await;
    let long = "x".repeat(65_536);
    for (messages, large) in [
        (json!({ "@alice:a.example": { "PHONE": { "n": 1 }, "TABLET": [] } }), false),
        (json!({ "@alice:a.example": { "PHONE": { "n": 1 }, "TABLET": { "n": long } } }), true),
    ] {
        let refused = to_device.send(&bob(), None, &request("1", messages)).await;
        assert_eq!(matches!(refused, Err(SendError::TooLarge(_))), large);
        assert_eq!(matches!(refused, Err(SendError::Malformed)), !large);
    }
    assert_eq!(to_device.waiting(&alice(), "PHONE").await, [0u64; 0]);
}

#[tokio::test]
async fn a_request_has_so_many_recipients_and_no_more() {
    let (_home, to_device) = home().await;
    let send = async |count: usize| {
        let devices: serde_json::Map<_, _> = (0..count).map(|no| (format!("D{no}"), json!({ "n": 1 }))).collect();
        to_device.send(&bob(), None, &request("1", json!({ "@alice:a.example": devices }))).await
    };
    send(MAX_TO_DEVICE_RECIPIENTS).await.unwrap();
    assert!(matches!(send(MAX_TO_DEVICE_RECIPIENTS + 1).await, Err(SendError::TooLarge(_))));
}

#[tokio::test]
async fn an_answer_has_so_many_messages_and_no_more() {
    let (home, to_device) = home().await;
    let message = Message { sender: alice(), kind: "m.test".to_owned(), content: r#"{"n":0}"#.to_owned() };
    let row = |no: usize| (alice(), "PHONE".into(), Position(no as u64));
    home.write(|tx| (1..=MAX_TO_DEVICE_PER_SYNC + 1).for_each(|no| tx.put(&TO_DEVICE, &row(no), &message))).await;
    let first = to_device.page(&alice(), "PHONE", Position(0), usize::MAX).await;
    assert_eq!((first.events.len(), first.last), (MAX_TO_DEVICE_PER_SYNC, Position(MAX_TO_DEVICE_PER_SYNC as u64)));
    assert_eq!(to_device.page(&alice(), "PHONE", first.last, usize::MAX).await.events.len(), 1);
}

#[tokio::test]
async fn a_message_may_be_as_large_as_an_event() {
    let (_home, to_device) = home().await;
    let content = |letters: usize| json!({ "n": "x".repeat(letters) });
    let stored = |letters: usize| {
        let content = content(letters).to_string();
        Message { sender: bob(), kind: "m.test".to_owned(), content }.encode().len()
    };
    let most = MAX_TO_DEVICE_BYTES - stored(60_000) + 60_000;
    assert_eq!(stored(most), MAX_TO_DEVICE_BYTES);
    let send = async |txn: &str, letters: usize| {
        let messages = json!({ "@alice:a.example": { "PHONE": content(letters) } });
        to_device.send(&bob(), None, &request(txn, messages)).await
    };
    send("1", most).await.unwrap();
    assert!(matches!(send("2", most + 1).await, Err(SendError::TooLarge(_))));
}

#[tokio::test]
async fn a_request_that_does_not_fit_into_a_batch_is_refused() {
    let (home, to_device) = home().await;
    for no in 0..100 {
        home.device(&alice(), &format!("D{no}")).await;
    }
    let messages = json!({ "@alice:a.example": { "*": { "n": 1, "x": "x".repeat(60_000) } } });
    let refused = to_device.send(&bob(), None, &request("1", messages)).await;
    assert!(matches!(refused, Err(SendError::TooLarge("the request"))));
    assert_eq!(to_device.waiting(&alice(), "PHONE").await, [0u64; 0]);
}

#[tokio::test]
async fn a_full_queue_takes_no_more_and_harms_nobody_else() {
    let (home, to_device) = home().await;
    let message = Message { sender: alice(), kind: "m.test".to_owned(), content: r#"{"n":0}"#.to_owned() };
    for page in 0..MAX_QUEUE as u64 / 1000 {
        let row = |no| (alice(), "PHONE".into(), Position(page * 1000 + no + 1));
        home.write(|tx| (0..1000).for_each(|no| tx.put(&TO_DEVICE, &row(no), &message))).await;
    }
    // So that what comes lies behind them.
    while home.base.view().position() <= Position(MAX_QUEUE as u64) {
        home.write(|tx| (0..1).for_each(|_| tx.topic(topic::room(1)))).await;
    }
    let both = json!({ "@alice:a.example": { "*": { "n": 1 } } });
    let full = Position(MAX_QUEUE as u64);
    to_device.sent("1", both.clone()).await;
    assert_eq!(to_device.page(&alice(), "PHONE", full, 10).await.events.len(), 0);
    assert_eq!(to_device.waiting(&alice(), "TABLET").await, [1]);
    to_device.acknowledge(&alice(), "PHONE".into(), Position(1)).await.unwrap();
    to_device.sent("2", both.clone()).await;
    to_device.sent("3", both).await;
    assert_eq!(to_device.page(&alice(), "PHONE", full, 10).await.events.len(), 1, "room for one");
    assert_eq!(to_device.waiting(&alice(), "TABLET").await, [1, 1, 1]);
}

#[tokio::test]
async fn a_full_queue_is_told_once_a_minute_by_any_clock() {
    let (_, to_device) = home().await;
    let day = 86_400_000;
    let told = [day, day + 59_999, day + 60_000, day + 60_001, 5, 6, 60_005].map(|now_ms| to_device.may_tell(now_ms));
    assert_eq!(told, [true, false, true, false, true, false, true], "the clock is set back by a day in between");
}

/// How many messages of `sender`, each with a content of so many bytes, are put into the queue of Alice's phone.
async fn fill(home: &Home, from: u64, sender: &UserId, messages: u64, bytes: usize) {
    let content = format!(r#"{{"n":0,"x":"{}"}}"#, "x".repeat(bytes));
    let message = Message { sender: sender.to_owned(), kind: "m.test".to_owned(), content };
    for no in 0..messages {
        let row = (alice(), "PHONE".into(), Position(from + no + 1));
        home.write(|tx| tx.put(&TO_DEVICE, &row, &message)).await;
    }
}

#[tokio::test]
async fn one_sender_cannot_fill_a_queue_for_the_others() {
    for (messages, bytes) in [(MAX_QUEUE as u64 / 3 + 10, 1), (MAX_QUEUE_BYTES as u64 / 3 / 60_000 + 10, 60_000)] {
        let (home, to_device) = home().await;
        fill(&home, 0, &bob(), messages, bytes).await;
        let length = async || home.base.view().scan(&TO_DEVICE, TO_DEVICE.under(&()), 10_000).await.unwrap().len();
        let before = length().await;
        let send = async |sender: &UserId, txn: &str| {
            let body = request(txn, json!({ "@alice:a.example": { "PHONE": { "n": 1 } } }));
            to_device.send(sender, Some("DESK".into()), &body).await.unwrap();
        };
        for txn in ["1", "2", "3"] {
            send(&bob(), txn).await;
        }
        assert_eq!(length().await, before, "it has its share");
        for txn in ["1", "2", "3"] {
            send(user_id!("@carol:a.example"), txn).await;
            send(&alice(), txn).await;
        }
        assert_eq!(length().await, before + 6);
        // When some have been read there is room again.
        to_device.acknowledge(&alice(), "PHONE".into(), Position(100)).await.unwrap();
        let before = length().await;
        send(&bob(), "4").await;
        assert_eq!(length().await, before + 1);
    }
}

#[tokio::test]
async fn a_device_that_ends_leaves_no_messages() {
    let (home, to_device) = home().await;
    to_device.sent("1", json!({ "@alice:a.example": { "*": { "n": 1 } } })).await;
    home.no_device(&alice(), "PHONE").await;
    to_device.sent("2", json!({ "@alice:a.example": { "*": { "n": 2 }, "PHONE": { "n": 2 } } })).await;
    home.device(&alice(), "PHONE").await;
    assert_eq!(to_device.waiting(&alice(), "PHONE").await, [0u64; 0]);
    assert_eq!(to_device.waiting(&alice(), "TABLET").await, [1, 2]);
}

#[tokio::test]
async fn futures_can_be_sent() {
    fn sent<T: Send>(future: T) {
        drop(future);
    }
    let (home, to_device) = home().await;
    let (view, alice) = (home.base.view(), alice());
    sent(to_device.send(&alice, None, &request("1", json!({}))));
    sent(to_device.read(&view, &alice, "PHONE".into(), Position(0), 1));
    sent(to_device.acknowledge(&alice, "PHONE".into(), Position(0)));
}
