//! What is damaged in one room takes nothing else from anybody.

use std::sync::Arc;

use bytes::Bytes;
use depesche_store::Engine;
use ruma::{OwnedEventId, RoomId};

use super::{CONFIG, account, memory, open_with, public_room, say, set, sync, view};
use crate::{
    Server,
    directory::Query,
    keyspace::{EVENT_NO, HEAD, META, RoomNo},
    tx::Tx,
};

/// A server that keeps no events in memory: what is damaged is read.
async fn start(engine: &Arc<dyn Engine>) -> Arc<Server> {
    open_with(Arc::clone(engine), &format!("{CONFIG}\n[store]\nevent_cache_mb = 0")).await.unwrap()
}

async fn damage(server: &Server, key: Bytes) {
    let tx: Tx = server.base.tx();
    tx.put_stored(key, "nonsense".into());
    server.base.commit(&tx).await.unwrap();
}

async fn no(server: &Server, room: &RoomId) -> RoomNo {
    view(server, room).await.no
}

#[tokio::test]
async fn a_damaged_room_is_left_out_of_every_sync() {
    let engine = memory();
    let server = start(&engine).await;
    let alice = &account(&server, "alice").await;
    let whole = public_room(&server, alice, "whole").await;
    let headless = public_room(&server, alice, "headless").await;
    let torn = public_room(&server, alice, "torn").await;
    let since = sync(&server, alice, None).await.next_batch;
    for room in [&whole, &headless, &torn] {
        say(&server, room, alice, "hello").await.unwrap();
        set(&server, room, alice, "m.room.topic".into(), "", serde_json::json!({ "topic": "t" })).await;
    }
    damage(&server, HEAD.key(&(no(&server, &headless).await,))).await;
    let last = view(&server, &torn).await.head.next_event - 1;
    damage(&server, META.key(&(no(&server, &torn).await, last))).await;
    // As the running server has it, as one that knows no device, and as one that begins.
    for (server, since) in [(&server, Some(since.clone())), (&start(&engine).await, Some(since)), (&server, None)] {
        let answer = sync(server, alice, since.clone()).await;
        assert_eq!(answer.rooms.join.keys().collect::<Vec<_>>(), [&whole], "{since:?}");
        let next = sync(server, alice, Some(answer.next_batch)).await;
        assert!(next.rooms.join.is_empty(), "{since:?}");
    }
}

#[tokio::test]
async fn a_damaged_room_is_left_out_of_the_directory() {
    let engine = memory();
    let server = start(&engine).await;
    let alice = &account(&server, "alice").await;
    let mut rooms = Vec::new();
    for name in ["whole", "headless", "torn", "torn later"] {
        rooms.push(public_room(&server, alice, name).await);
    }
    damage(&server, HEAD.key(&(no(&server, &rooms[1]).await,))).await;
    let named = async |room: &RoomId| {
        let id: OwnedEventId = {
            let room = view(&server, room).await;
            room.state_event(room.root(), "m.room.name", "").await.unwrap().unwrap().pdu.event_id().to_owned()
        };
        server.base.view().get(&EVENT_NO, &(id,)).await.unwrap().unwrap()
    };
    damage(&server, META.key(&named(&rooms[2]).await)).await;
    let found = async || {
        let page = server.directory.page(&Query::default()).await.unwrap();
        page.rooms.into_iter().map(|room| room.room_id).collect::<Vec<_>>()
    };
    assert_eq!(found().await, [rooms[0].clone(), rooms[3].clone()]);
    damage(&server, META.key(&named(&rooms[3]).await)).await;
    assert_eq!(found().await, [rooms[0].clone()]);
}
