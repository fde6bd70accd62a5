//! What the check of the database finds, and that it finds nothing where nothing is wrong.

use std::{fs, path::Path};

use bytes::Bytes;
use depesche_rules::tree::Node;
use depesche_store::{Batch, Operation, Options, Position};
use ruma::{OwnedRoomId, events::room::member::MembershipState, owned_event_id};

use crate::{
    codec::Key,
    keyspace::{
        ALIAS, EVENT, EVENT_NO, HEAD, KEY, KEY_NO, MEMBER, META, NODE, PROFILE, RELATED, RELATION, REPLACEMENT, ROOM,
        ROOM_ALIAS, ROOM_NO, ROOT_AT, ROOT_BEFORE, RoomNo, THREAD, TIMELINE, UNREAD,
    },
    records::{
        events::Place,
        relations::{List, Listed, Related},
        rooms::{RootRecord, StateKey, Unread},
    },
    rooms::view::RoomView,
    table::{Record, Table},
    testing::{Fixture, engine, user},
    tx::Tx,
    verify::{Report, verify},
};

/// A server with one room of two members, some messages and an alias.
struct House {
    server: Fixture,
    room: OwnedRoomId,
    no: RoomNo,
}

impl House {
    async fn new() -> Self {
        let server = Fixture::on(engine(Options { refuse_peeked_writes: false, ..Options::default() }));
        let (alice, bob) = (user("alice"), user("bob"));
        let room = server.public_room(&alice).await;
        server.join(&room, &bob).await;
        for n in 0..30 {
            server.say(&room, &bob, &n.to_string()).await;
        }
        let alias = "#hall:agency.test".try_into().unwrap();
        server.rooms.create_alias(&alice, alias, &room).await.unwrap();
        let no = server.rooms.find(&room).await.unwrap().unwrap().no;
        Self { server, room, no }
    }

    async fn view(&self) -> RoomView {
        self.server.rooms.find(&self.room).await.unwrap().unwrap()
    }

    async fn check(&self) -> Report {
        verify(&self.server.base.view(), |_| ()).await.unwrap()
    }

    async fn change(&self, change: impl FnOnce(&Tx)) {
        let tx = self.server.base.tx();
        change(&tx);
        self.server.base.commit(&tx).await.unwrap();
    }
}

/// After this damage the check says all of this.
async fn finds(damage: impl AsyncFnOnce(&House), said: &[&str]) {
    let house = House::new().await;
    damage(&house).await;
    let report = house.check().await;
    for what in said {
        assert!(report.problems.iter().any(|problem| problem.contains(what)), "{what}: {report:#?}");
    }
}

fn put<K: Key, V: Record>(table: &Table<K, V>, key: K, value: V) -> impl AsyncFnOnce(&House) {
    async move |house: &House| house.change(|tx| tx.put(table, &key, &value)).await
}

fn delete<K: Key, V: Record>(table: &Table<K, V>, key: K) -> impl AsyncFnOnce(&House) {
    async move |house: &House| house.change(|tx| tx.delete(table, &key)).await
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    let house = House::new().await;
    let mut last = None;
    let report = verify(&house.server.base.view(), |progress| last = Some(progress)).await.unwrap();
    assert_eq!((&report.problems[..], report.more), (&[][..], 0));
    assert_eq!((report.checked.rooms, report.checked.events), (1, 37));
    assert_eq!(last, Some(report.checked), "the last word of progress is the whole");
}

#[tokio::test]
async fn a_relation_that_leads_nowhere_is_found() {
    let id = || owned_event_id!("$e");
    let child = Listed { no: 9, via: Vec::new() };
    finds(put(&RELATION, (1, id(), List::Direct, Place::START), child), &["at a place not its own"]).await;
    finds(put(&REPLACEMENT, (1, id(), user("bob"), 1, id()), 99), &["event 99 replaces another and is gone"]).await;
    let about = async |house: &House| house.view().await.event(9).await.unwrap().pdu.event_id().clone();
    let listed = async |house: &House| {
        let parent = about(house).await;
        house.change(|tx| tx.put(&THREAD, &(1, Place::START), &parent)).await;
    };
    finds(listed, &["a thread is listed"]).await;
    let counted = async |house: &House| {
        let (parent, two) = (about(house).await, Related { referring: 2, ..Related::default() });
        house.change(|tx| tx.put(&RELATED, &(1, parent, String::new()), &two)).await;
    };
    finds(counted, &["its facts do not say so", "are counted about an event"]).await;
    let unlisted = async |house: &House| {
        let parent = about(house).await;
        house.server.relate(&house.room, &user("bob"), "m.reference", &parent).await;
        house.change(|tx| tx.delete_range(RELATION.under(&(1, parent)))).await;
    };
    finds(unlisted, &["event 38 is about another and not in its list", "and Related { replacing: 0, referring: 0"])
        .await;
}

#[tokio::test]
async fn a_row_that_is_gone_is_missed() {
    // The first room has number 1; its events 1 to 6 make it, 7 is the join of bob.
    finds(delete(&EVENT, (1, 9)), &["event 10 follows event 8", "id"]).await;
    finds(delete(&EVENT, (1, 37)), &["the last event is 36", "event 37 has facts but no text"]).await;
    finds(delete(&META, (1, 9)), &["no facts of event 9"]).await;
    finds(delete(&ROOT_BEFORE, (1, 9)), &["no state before event 9"]).await;
    finds(delete(&KEY, (1, 3)), &["key 4 follows key 2"]).await;
    finds(delete(&KEY_NO, (1, "m.room.create".into(), String::new())), &["the pair of key 1 leads to None"]).await;
    finds(delete(&MEMBER, (user("bob"), 1)), &["has another row, or none", "1 more members than rows"]).await;
    finds(delete(&HEAD, (1,)), &["has no head"]).await;
    finds(delete(&ROOM, (1,)), &["table head has rows of room 1", "table event has rows of room 1"]).await;
    finds(delete(&ROOM_ALIAS, (1, "#hall:agency.test".try_into().unwrap())), &["not in the list of its room"]).await;
    finds(delete(&ALIAS, ("#hall:agency.test".try_into().unwrap(),)), &["does not exist"]).await;
    let no_id = async |house: &House| {
        let id = house.view().await.event(9).await.unwrap().pdu.event_id().clone();
        house.change(|tx| tx.delete(&EVENT_NO, &(id,))).await;
    };
    finds(no_id, &["the id of event 9 leads to None", "1 more events than ids"]).await;
    let unplaced = async |house: &House| {
        let place = house.view().await.event(9).await.unwrap().meta.place;
        house.change(|tx| tx.delete(&TIMELINE, &(1, place.anchor, place.sub, place.back))).await;
    };
    finds(unplaced, &["in the place of event 9 stands None"]).await;
    let no_room_id = async |house: &House| house.change(|tx| tx.delete(&ROOM_NO, &(house.room.clone(),))).await;
    finds(no_room_id, &["its id leads to None"]).await;
    let no_root = async |house: &House| {
        let number = house.view().await.root().node;
        house.change(|tx| tx.delete(&NODE, &(house.no, number))).await;
    };
    finds(no_root, &["of the state is not there"]).await;
}

#[tokio::test]
async fn a_row_that_says_something_else_is_found() {
    let bob = || user("bob");
    finds(put(&TIMELINE, (1, Position(1), 0, -3), 9), &["event 9 is in the timeline at a place not its own"]).await;
    finds(put(&ROOT_AT, (1, Position(u64::MAX)), RootRecord::default()), &["newest state kept is not the room's"])
        .await;
    finds(put(&ROOT_BEFORE, (1, 20), RootRecord::default()), &["event 19 to event 20 other state", "not its own"])
        .await;
    finds(put(&UNREAD, (bob(), 1), Unread { ordinal: 1000 }), &["ordinal 1000 is not one of room 1"]).await;
    finds(put(&UNREAD, (bob(), 2), Unread { ordinal: 0 }), &["not one of room 2"]).await;
    finds(put(&KEY_NO, (1, "m.tag".into(), String::new()), 3), &["pairs for"]).await;
    finds(
        put(&KEY, (2, 1), StateKey { kind: "m.tag".into(), state_key: "x".into() }),
        &["table key has rows of room 2"],
    )
    .await;
    let left = async |house: &House| {
        let mut member = house.view().await.membership(&user("bob")).await.unwrap().unwrap();
        member.state = MembershipState::Leave;
        house.change(|tx| tx.put(&MEMBER, &(user("bob"), 1), &member)).await;
    };
    finds(left, &["has another row, or none"]).await;
    let head = async |house: &House| {
        let mut head = (*house.view().await.head).clone();
        head.joined += 1;
        head.extremities = vec![36];
        house.change(|tx| tx.put(&HEAD, &(1,), &head)).await;
    };
    finds(head, &["2 are joined, the head says 3", "event 37 follows an end of the room"]).await;
    let redacted = async |house: &House| {
        let mut meta = (*house.view().await.event(9).await.unwrap().meta).clone();
        meta.facts.redacted_by = Some(99);
        house.change(|tx| tx.put(&META, &(1, 9), &meta)).await;
    };
    finds(redacted, &["event 9 names an event that is not there"]).await;
    let node = async |house: &House| {
        let view = house.view().await;
        let bytes = view.view.get(&NODE, &(1, view.root().node)).await.unwrap().unwrap();
        let Node::Leaf(mut events) = Node::decode(&bytes).unwrap() else { panic!("a small room has one leaf") };
        events[3] = Some(9);
        let bytes = Bytes::from(Node::Leaf(events).encode());
        house.change(|tx| tx.put(&NODE, &(1, view.root().node), &bytes)).await;
    };
    finds(node, &["is set by event 9, which sets another"]).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_named_and_the_rest_is_checked() {
    let house = House::new().await;
    let mut batch = Batch::default();
    let mut garble = |key: Bytes| batch.operations.insert(key, Operation::Put(Bytes::from_static(b"\xFF"), Vec::new()));
    garble(META.key(&(1, 9)));
    garble(MEMBER.key(&(user("alice"), 1)));
    garble(PROFILE.key(&(user("alice"),)));
    garble(EVENT.key(&(1, 12)));
    house.server.base.engine.commit(batch).await.unwrap();
    let report = house.check().await;
    let named = |what: &str| report.problems.iter().any(|problem| problem.contains(what));
    assert!(named("table meta cannot be read") && named("table member cannot be read"), "{report:#?}");
    assert!(named("table profile cannot be read") && named("event 12 cannot be read"), "{report:#?}");
    assert_eq!(report.checked.events, 37);
}

#[tokio::test]
async fn a_report_does_not_grow_without_bound() {
    let house = House::new().await;
    for n in 0..5 {
        let rows = (n * 100..(n + 1) * 100).map(|ordinal| (user("bob"), 7, ordinal));
        house
            .change(|tx| {
                rows.for_each(|key| tx.put(&crate::keyspace::NAMED, &key, &crate::records::reading::Named::default()));
            })
            .await;
    }
    let report = house.check().await;
    assert_eq!((report.problems.len(), report.more), (200, 300));
}

#[test]
fn every_table_is_looked_at() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let checks = ["verify.rs", "verify/events.rs", "verify/state.rs", "verify/tables.rs"].map(read).concat();
    let words: Vec<&str> = checks.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let keyspace = read("keyspace.rs");
    let tables = keyspace
        .lines()
        .filter(|line| line.contains(": Table<"))
        .filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let tables: Vec<_> = tables.collect();
    assert!(tables.len() > 50, "the tables are not where they were");
    // Once where it is imported, once where it is read.
    let forgotten = |table: &&str| words.iter().filter(|word| *word == table).count() < 2;
    assert_eq!(tables.into_iter().filter(forgotten).collect::<Vec<_>>(), Vec::<&str>::new());
}
