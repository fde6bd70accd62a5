//! The server on the engine that it runs on, with the options that the program sets: what sends cost the disk.

use std::{fmt::Debug, path::Path};

use depesche_server::{
    rooms::{
        lane::Transaction,
        membership::{Action, Change},
        send::Message,
        view::RoomView,
    },
    workflows::create::{Creation, Preset},
};
use futures::future::join_all;
use serde_json::json;

use super::*;

/// Those who send at once.
const SENDERS: usize = 50;
/// The synced writes that their messages may cost together.
const WRITES: u64 = 4;

async fn node(folder: &Path) -> Node {
    let data = folder.join("data");
    let config = format!("[server]\nname = \"agency.test\"\ndata_dir = {data:?}\nlisten = \"127.0.0.1:0\"\n");
    let config = Arc::new(Config::parse(&config).expect("a valid configuration"));
    assert!(rocksdb_options(&config).sync, "what is answered is on the disk");
    let data = DataDir::open(&data).unwrap_or_else(|why| panic!("{why:?}"));
    Node::open(&config, data, Purpose::GoOn).await.unwrap_or_else(|why| panic!("{why:?}"))
}

/// One of those who are in the room.
fn person<T: TryFrom<String, Error: Debug>>(n: usize) -> T {
    format!("@person{n}:agency.test").try_into().expect("a user id")
}

fn syncs(node: &Node) -> u64 {
    let figures = node.figures();
    figures.iter().find(|(name, _)| name == "rocksdb.wal.synced").expect("the figure").1
}

#[tokio::test]
async fn fifty_people_who_send_at_once_in_one_room_cost_few_synced_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = node(folder.path()).await;
    let rooms = &node.app.server.rooms;
    let creation = Creation {
        creator: person(0),
        version: None,
        preset: Preset::PublicChat,
        published: false,
        alias: None,
        name: None,
        topic: None,
        invite: Vec::new(),
        creation_content: serde_json::from_value(json!({})).expect("an object"),
        initial_state: Vec::new(),
        power_levels: serde_json::from_value(json!({})).expect("an object"),
    };
    let room = &rooms.create(creation).await.expect("a plain room can be created");
    for n in 1..SENDERS {
        let content = serde_json::from_value(json!({})).expect("an object");
        let (actor, target) = (person(n), person(n));
        rooms.submit(room, Change { actor, target, action: Action::Join, content }).await.expect("a public room");
    }

    let before = syncs(&node);
    let sends = (0..SENDERS).map(|n| {
        let transaction =
            Transaction { user: person(n), device: "PHONE".into(), scope: format!("send {room}"), id: "1".to_owned() };
        let content = serde_json::from_value(json!({ "msgtype": "m.text", "body": "now" })).expect("an object");
        let (sender, kind) = (person(n), "m.room.message".into());
        rooms.submit(room, Message { sender, kind, content, transaction: Some(transaction) })
    });
    let sent: Vec<_> = join_all(sends).await.into_iter().map(|sent| sent.expect("a member says it").event_id).collect();
    let cost = syncs(&node) - before;
    assert!((1..=WRITES).contains(&cost), "{cost} synced writes for {SENDERS} sends");

    let view = rooms.find(room).await.expect("read").expect("the room");
    let rows = view.timeline_before(RoomView::place_after(view.view.position()), SENDERS).await.expect("read");
    let numbers: Vec<_> = rows.iter().rev().map(|(_, no)| *no).collect();
    let events = view.events(&numbers).await.expect("read");
    let said: Vec<_> = events.iter().map(|event| event.pdu.event_id().clone()).collect();
    assert_eq!(said, sent, "first come, first served");
    node.stop().await;
}
