//! What a poll reads does not grow with what the user or the room has besides.

use std::collections::BTreeSet;

use depesche_store::{
    Options,
    counting::{Counting, Counts},
};

use super::*;
use crate::{
    keyspace::KEY_NO,
    rooms::receipts::Read,
    testing::{engine, user},
};

/// What one later answer reads when one of so many rooms has a new message, and how many rooms it goes through one by
/// one.
async fn with_rooms(count: usize) -> (Counts, usize) {
    let engine = Counting::new(engine(Options::default()));
    let counted = engine.count();
    let server = Server::on(Arc::new(engine));
    let (alice, bob, _) = users();
    let busy = server.rooms.public_room(&alice).await;
    server.rooms.join(&busy, &bob).await;
    for _ in 1..count {
        let room = server.rooms.public_room(&alice).await;
        server.rooms.join(&room, &bob).await;
    }
    let mut client = server.client_with(&bob, json!({ "room": { "state": { "lazy_load_members": true } } }));
    client.sync().await;
    server.rooms.say(&busy, &alice, "first").await;
    client.sync().await;
    server.rooms.say(&busy, &alice, "second").await;
    let walked = || server.syncs.sessions.walked(&(bob.clone(), "PHONE".into()));
    let (before, walked_before) = (counted.snapshot(), walked());
    assert!(walked_before >= count, "the session began with all rooms");
    let answer = client.sync().await;
    let read = counted.snapshot() - before;
    assert_eq!(brief(&answer["rooms"]["join"][busy.as_str()]["timeline"]), ["second"]);
    (read, walked() - walked_before)
}

/// What the answer reads that says of one of so many rooms that its user has read it.
async fn with_marker(count: usize) -> Counts {
    let engine = Counting::new(engine(Options::default()));
    let counted = engine.count();
    let server = Server::on(Arc::new(engine));
    let (alice, ..) = users();
    let mut rooms = Vec::new();
    for _ in 0..count {
        rooms.push(server.rooms.room(&alice).await);
    }
    let mut client = server.client(&alice);
    let first = server.rooms.say(&rooms[0], &alice, "first").await;
    let second = server.rooms.say(&rooms[0], &alice, "second").await;
    client.sync().await;
    let mut read = Counts::default();
    // The second time, all that is kept between two polls is there.
    for event in [first, second] {
        let marker = Read { public: Some(event.clone()), fully: Some(event.clone()), ..Read::default() };
        server.receipts.read(&alice, &rooms[0], &marker).await.unwrap();
        let before = counted.snapshot();
        let answer = client.sync().await;
        read = counted.snapshot() - before;
        let data = &answer["rooms"]["join"][rooms[0].as_str()]["account_data"]["events"];
        assert_eq!(*data, json!([{ "type": "m.fully_read", "content": { "event_id": event } }]));
    }
    read
}

#[tokio::test]
async fn a_marker_that_moves_costs_its_room_and_not_all_of_its_users() {
    let (few, many) = (with_marker(10).await, with_marker(200).await);
    assert_eq!((few.rows_read, few.gets, few.scans), (many.rows_read, many.gets, many.scans));
}

/// What one later answer reads in a room of so many members.
async fn with_members(count: usize) -> Counts {
    let engine = Counting::new(engine(Options::default()));
    let counted = engine.count();
    let server = Server::on(Arc::new(engine));
    let (alice, ..) = users();
    let room = server.rooms.public_room(&alice).await;
    for n in 0..count {
        server.rooms.join(&room, &user(&format!("member{n}"))).await;
    }
    let mut client = server.client_with(&alice, json!({ "room": { "state": { "lazy_load_members": true } } }));
    client.sync().await;
    server.rooms.say(&room, &user("member0"), "new").await;
    let before = counted.snapshot();
    client.sync().await;
    counted.snapshot() - before
}

#[tokio::test]
async fn what_the_filter_leaves_out_is_not_read_row_by_row() {
    let engine = Counting::new(engine(Options::default()));
    let counted = engine.count();
    let server = Server::on(Arc::new(engine));
    let (alice, ..) = users();
    let room = server.rooms.public_room(&alice).await;
    let mut client = server.client_with(&alice, json!({ "room": { "timeline": { "limit": 2, "types": ["rare"] } } }));
    client.sync().await;
    for _ in 0..2 {
        server.rooms.send(&room, &alice, "rare", json!({})).await;
    }
    for n in 0..100 {
        server.rooms.say(&room, &alice, &n.to_string()).await;
    }
    let before = counted.snapshot();
    let answer = client.sync().await;
    let read = counted.snapshot() - before;
    assert_eq!(brief(&answer["rooms"]["join"][room.as_str()]["timeline"]), ["rare", "rare"]);
    assert!(read.scans < 30, "{read:?}");
}

#[tokio::test]
async fn one_changed_room_costs_the_same_among_ten_and_a_thousand() {
    let (few, walked) = with_rooms(10).await;
    assert_eq!(walked, 0);
    assert!(few.rows_read < 60, "{few:?}");
    // The timeline, who is named, what was read: neither the room's older states nor the members of its senders.
    assert!(few.scans <= 3, "{few:?}");
    assert_eq!(few.commits, 0);
    let (many, walked) = with_rooms(1000).await;
    assert_eq!((few.rows_read, few.gets, few.scans), (many.rows_read, many.gets, many.scans));
    assert_eq!(walked, 0, "nor does it go through the rooms in memory");
}

#[tokio::test]
async fn members_of_the_room_cost_at_most_the_depth_of_the_tree() {
    let (few, many) = (with_members(10).await, with_members(1000).await);
    assert!(many.rows_read <= few.rows_read + 12, "{few:?} {many:?}");
}

#[tokio::test]
async fn whose_keys_changed_does_not_cost_the_rooms_they_are_in() {
    let engine = Counting::new(engine(Options::default()));
    let counted = engine.count();
    let server = Server::on(Arc::new(engine));
    let (alice, bob, _) = users();
    let shared = server.rooms.public_room(&alice).await;
    server.rooms.join(&shared, &bob).await;
    for _ in 0..200 {
        server.rooms.public_room(&bob).await;
    }
    let mut client = server.client(&alice);
    client.sync().await;
    let whose = &bob;
    let touched = server.rooms.base.transact(|tx| async move { crate::keys::touch(&tx, whose).await });
    touched.await.unwrap();
    let before = counted.snapshot();
    let answer = client.sync().await;
    let read = counted.snapshot() - before;
    assert_eq!(answer["device_lists"]["changed"], json!([bob]));
    assert!(read.rows_read < 60, "{read:?}");
}

/// What `/keys/changes` since an old token reads, where so many others changed their keys, how many rows of it list
/// members of rooms, and what it says.
async fn key_changes(strangers: usize, members: usize) -> (Counts, u64, BTreeSet<OwnedUserId>) {
    let engine = Counting::new(engine(Options::default()));
    let counted = engine.count();
    let server = Server::on(Arc::new(engine));
    let (alice, ..) = users();
    let room = server.rooms.public_room(&alice).await;
    for n in 0..members {
        server.rooms.join(&room, &user(&format!("member{n}"))).await;
    }
    let mut client = server.client(&alice);
    client.sync().await;
    let since = client.request.since.clone().unwrap();
    let touched = (0..strangers).map(|n| user(&format!("stranger{n}")));
    for whose in touched.chain((0..members).step_by(2).map(|n| user(&format!("member{n}")))) {
        let whose = &whose;
        let touched = server.rooms.base.transact(|tx| async move { crate::keys::touch(&tx, whose).await });
        touched.await.unwrap();
    }
    counted.reset();
    let lists = server.syncs.key_changes(&alice, &since, &since).await.unwrap();
    let listed = counted.by_first_byte().get(&KEY_NO.number).map_or(0, |rows| rows.read);
    (counted.snapshot(), listed, lists.changed)
}

fn every_second_of(members: usize) -> BTreeSet<OwnedUserId> {
    (0..members).step_by(2).map(|n| user(&format!("member{n}"))).collect()
}

#[tokio::test]
async fn an_old_token_costs_those_who_share_rooms_and_not_the_key_changes_of_the_server() {
    let ((few, listed, said), (many, _, also_said)) = (key_changes(100, 4).await, key_changes(2000, 4).await);
    assert_eq!((said, also_said), (every_second_of(4), every_second_of(4)));
    assert_eq!(listed, 5);
    assert_eq!((few.rows_read, few.gets, few.scans), (many.rows_read, many.gets, many.scans));
    assert!(many.rows_read < 200, "{many:?}");
}

#[tokio::test]
async fn a_short_log_of_key_changes_costs_less_than_a_large_room() {
    let (read, listed, said) = key_changes(100, 300).await;
    assert_eq!(said, every_second_of(300));
    assert_eq!(listed, 0, "the room's members are not gone through: {read:?}");
}

#[tokio::test]
async fn whose_keys_changed_is_the_same_by_the_log_and_by_the_rooms() {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let (shared, other) = (server.rooms.public_room(&alice).await, server.rooms.public_room(&bob).await);
    for who in [&bob, &carol] {
        server.rooms.join(&shared, who).await;
    }
    let gone = user("gone");
    server.rooms.join(&shared, &gone).await;
    server.rooms.change(&shared, &gone, &gone, crate::rooms::membership::Action::Leave).await.unwrap();
    server.rooms.join(&other, &user("elsewhere")).await;
    let mut client = server.client(&alice);
    client.sync().await;
    let since = client.request.since.clone().unwrap();
    let touch = async |whose: &UserId| {
        let touched = server.rooms.base.transact(|tx| async move { crate::keys::touch(&tx, whose).await });
        touched.await.unwrap();
    };
    for whose in [&alice, &bob, &gone, &user("elsewhere")] {
        touch(whose).await;
    }
    let changed = async || server.syncs.key_changes(&alice, &since, &since).await.unwrap().changed;
    assert_eq!(changed().await, [alice.clone(), bob.clone()].into());
    for n in 0..100 {
        touch(&user(&format!("stranger{n}"))).await;
    }
    assert_eq!(changed().await, [alice.clone(), bob.clone()].into());
}
