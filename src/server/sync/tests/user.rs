//! What is the user's or the device's own: account data, to-device messages.

use std::collections::BTreeMap;

use ruma::{api::client::to_device::send_event_to_device::v3 as send, serde::Raw};
use serde_json::value::to_raw_value;

use super::*;
use crate::{
    account_data::GLOBAL,
    keyspace::{DEVICE, TO_DEVICE},
    records::accounts::Device,
};

async fn set(server: &Server, user: &UserId, room: u64, kind: &str, content: Value) {
    let content = to_raw_value(&content).unwrap();
    server.account_data.set(user, room, kind, &content).await.unwrap();
}

#[tokio::test]
async fn account_data_comes_first_whole_then_as_it_changes() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let no = server.rooms.rooms.find(&room).await.unwrap().unwrap().no;
    set(&server, &alice, GLOBAL, "m.one", json!({ "n": 1 })).await;
    set(&server, &alice, no, "m.tag", json!({ "tags": {} })).await;
    let mut client = server.client_with(&alice, json!({ "account_data": { "not_types": ["m.unwanted"] } }));
    let answer = client.sync().await;
    assert_eq!(sorted(brief(&answer["account_data"])), ["m.one", "m.push_rules"]);
    assert_eq!(brief(&answer["rooms"]["join"][room.as_str()]["account_data"]), ["m.tag"]);
    set(&server, &alice, GLOBAL, "m.unwanted", json!({})).await;
    assert_eq!(client.sync().await.get("account_data"), None);
    set(&server, &alice, GLOBAL, "m.one", json!({ "n": 2 })).await;
    set(&server, &alice, no, "m.mark", json!({})).await;
    let answer = client.sync().await;
    assert_eq!(answer["account_data"]["events"], json!([{ "type": "m.one", "content": { "n": 2 } }]));
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(brief(&joined["account_data"]), ["m.mark"]);
    assert_eq!(brief(&joined["timeline"]), [""; 0]);
    let answer = client.sync().await;
    assert_eq!((answer.get("account_data"), answer.get("rooms")), (None, None));
}

#[tokio::test]
async fn account_data_of_a_room_joined_since_is_whole() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    let no = server.rooms.rooms.find(&room).await.unwrap().unwrap().no;
    set(&server, &bob, no, "m.tag", json!({ "tags": {} })).await;
    let mut client = server.client(&bob);
    client.sync().await;
    server.rooms.join(&room, &bob).await;
    let answer = client.sync().await;
    assert_eq!(brief(&answer["rooms"]["join"][room.as_str()]["account_data"]), ["m.tag"]);
}

async fn send_to(server: &Server, from: &UserId, to: &UserId, n: usize) {
    let content = Raw::from_json(to_raw_value(&json!({ "body": n.to_string() })).unwrap());
    let messages = BTreeMap::from([(to.to_owned(), BTreeMap::from([("PHONE".parse().unwrap(), content)]))]);
    let request = send::Request::new_raw("m.test".into(), format!("t{n}").into(), messages);
    server.to_device.send(from, Some("PHONE".into()), &request).await.unwrap();
}

#[tokio::test]
async fn messages_to_a_device_stay_until_acknowledged() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let tx = server.rooms.base.tx();
    let device = Device { display_name: None, created_ms: 0 };
    tx.put(&DEVICE, &(alice.clone(), "PHONE".into()), &device);
    server.rooms.base.commit(&tx).await.unwrap();
    let mut client = server.client(&alice);
    client.sync().await;
    for n in 0..150 {
        send_to(&server, &bob, &alice, n).await;
    }
    let waiting = async || {
        let rows = server.rooms.base.view().scan(&TO_DEVICE, TO_DEVICE.under(&(alice.clone(),)), 1000).await;
        rows.unwrap().len()
    };
    let numbers = |from: usize, to: usize| (from..to).map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(brief(&client.ask().await.unwrap()["to_device"]), numbers(0, 100));
    let answer = client.sync().await;
    assert_eq!(brief(&answer["to_device"]), numbers(0, 100), "an answer that did not arrive loses nothing");
    assert_eq!(answer["to_device"]["events"][0]["sender"], bob.as_str());
    assert_eq!(waiting().await, 150);
    assert_eq!(brief(&client.ask().await.unwrap()["to_device"]), numbers(100, 150));
    assert_eq!(waiting().await, 50, "the token said that a hundred had arrived");
    assert_eq!(brief(&client.sync().await["to_device"]), numbers(100, 150));
    assert_eq!(client.sync().await.get("to_device"), None);
    assert_eq!(waiting().await, 0);
}
