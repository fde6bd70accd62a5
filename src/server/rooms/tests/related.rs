//! Events about events: what is bundled with their parents, and the pages of them.

use std::sync::Arc;

use depesche_rules::bounds::MAX_BUNDLED_REFERENCES;
use depesche_store::{
    Engine, Options,
    counting::{Counting, Counts},
    memory::Memory,
};
use ruma::{EventId, OwnedEventId, OwnedRoomId, RoomVersionId, UserId, events::StateEventType};
use serde_json::{Value, json};

use crate::{
    rooms::{
        children::{Children, ChildrenQuery},
        history::ReadRefusal,
        lane::Refusal,
        membership::Action,
        send::Message,
        show::Viewer,
        shown::Format,
        view::RoomView,
    },
    testing::{Fixture, creation, object, user},
    workflows::create::Creation,
};

pub async fn view(server: &Fixture, room: &OwnedRoomId) -> RoomView {
    server.rooms.find(room).await.unwrap().unwrap()
}

pub async fn viewer<'a>(server: &Fixture, room: &'a RoomView, user: &UserId) -> Viewer<'a> {
    Viewer::new(room, user.to_owned(), None, server.base.now()).await.unwrap()
}

/// What an event's `m.relations` says to a user.
pub async fn bundle(server: &Fixture, room: &OwnedRoomId, user: &UserId, event: &EventId) -> Value {
    let view = view(server, room).await;
    let mut viewer = viewer(server, &view, user).await;
    let event = viewer.event(event).await.unwrap();
    let shown = viewer.show_one(&event, Format::WithRoom).await.unwrap();
    let shown: Value = serde_json::from_str(shown.get()).unwrap();
    shown["unsigned"]["m.relations"].clone()
}

fn ids(events: &[Box<serde_json::value::RawValue>]) -> Vec<OwnedEventId> {
    let id =
        |event: &serde_json::value::RawValue| serde_json::from_str::<Value>(event.get()).unwrap()["event_id"].clone();
    events.iter().map(|event| serde_json::from_value(id(event)).unwrap()).collect()
}

fn query(parent: &EventId) -> ChildrenQuery<'_> {
    let (relation, kind, from, to) = (None, None, None, None);
    ChildrenQuery { parent, relation, kind, from, to, backwards: true, limit: 100, recurse: false }
}

async fn children(server: &Fixture, room: &OwnedRoomId, user: &UserId, query: &ChildrenQuery<'_>) -> Children {
    let view = view(server, room).await;
    viewer(server, &view, user).await.children(query).await.unwrap()
}

#[tokio::test]
async fn the_newest_valid_replacement_is_bundled_whole() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let original = server.say(&room, &alice, "a").await;
    assert_eq!(bundle(&server, &room, &bob, &original).await, Value::Null);
    let first = server.relate(&room, &alice, "m.replace", &original).await;
    server.hand.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
    let second = server.relate(&room, &alice, "m.replace", &original).await;
    // Of another sender, without new content, of another type: none of them counts.
    server.relate(&room, &bob, "m.replace", &original).await;
    let relates_to = json!({ "rel_type": "m.replace", "event_id": original });
    server.send(&room, &alice, "m.room.message", json!({ "m.relates_to": relates_to })).await;
    let new = json!({ "m.relates_to": relates_to, "m.new_content": {} });
    server.send(&room, &alice, "m.sticker", new).await;
    let said = bundle(&server, &room, &bob, &original).await;
    assert_eq!(said["m.replace"]["event_id"], json!(second));
    assert_eq!(said["m.replace"]["content"]["m.new_content"]["body"], "new");
    assert_eq!(said["m.replace"]["sender"], json!(alice));
    assert_eq!(said.as_object().unwrap().len(), 1);
    server.redact(&room, &alice, &second).await;
    assert_eq!(bundle(&server, &room, &bob, &original).await["m.replace"]["event_id"], json!(first));
    server.redact(&room, &alice, &first).await;
    assert_eq!(bundle(&server, &room, &bob, &original).await, Value::Null);
    server.relate(&room, &alice, "m.replace", &original).await;
    server.redact(&room, &alice, &original).await;
    assert_eq!(bundle(&server, &room, &bob, &original).await, Value::Null, "the original is gone");
}

#[tokio::test]
async fn of_replacements_of_one_moment_the_greatest_id_is_newest() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let original = server.say(&room, &alice, "a").await;
    let mut edits = Vec::new();
    for _ in 0..6 {
        edits.push(server.relate(&room, &alice, "m.replace", &original).await);
    }
    let newest = edits.iter().max().unwrap();
    assert_eq!(bundle(&server, &room, &alice, &original).await["m.replace"]["event_id"], json!(newest));
}

#[tokio::test]
async fn references_are_bundled_in_their_order_and_bounded() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let parent = server.say(&room, &alice, "a").await;
    let mut said = Vec::new();
    for _ in 0..=MAX_BUNDLED_REFERENCES {
        said.push(server.relate(&room, &alice, "m.reference", &parent).await);
    }
    let chunk: Vec<_> = said[1..].iter().map(|id| json!({ "event_id": id })).collect();
    assert_eq!(bundle(&server, &room, &alice, &parent).await, json!({ "m.reference": { "chunk": chunk } }));
}

#[tokio::test]
async fn annotations_and_what_is_about_state_are_not_bundled() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let said = server.say(&room, &alice, "a").await;
    let topic = server.set(&room, &alice, StateEventType::RoomTopic, json!({ "topic": "t" })).await;
    for parent in [&said, &topic] {
        let relates_to = json!({ "rel_type": "m.annotation", "event_id": parent, "key": "+" });
        server.send(&room, &alice, "m.reaction", json!({ "m.relates_to": relates_to })).await;
    }
    server.relate(&room, &alice, "m.reference", &topic).await;
    for parent in [&said, &topic] {
        assert_eq!(bundle(&server, &room, &alice, parent).await, Value::Null);
    }
    assert_eq!(children(&server, &room, &alice, &query(&topic)).await.events.len(), 2, "but they are listed");
}

#[tokio::test]
async fn who_is_ignored_is_not_aggregated() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    server.join(&room, &carol).await;
    let parent = server.say(&room, &alice, "a").await;
    let seen = server.relate(&room, &carol, "m.reference", &parent).await;
    server.relate(&room, &bob, "m.reference", &parent).await;
    let edited = server.say(&room, &bob, "b").await;
    server.relate(&room, &bob, "m.replace", &edited).await;
    let answer = server.relate(&room, &carol, "m.reference", &edited).await;
    server.ignore(&alice, &[&bob]).await;
    let expected = json!({ "m.reference": { "chunk": [{ "event_id": seen }] } });
    assert_eq!(bundle(&server, &room, &alice, &parent).await, expected);
    assert_eq!(ids(&children(&server, &room, &alice, &query(&parent)).await.events), [seen]);
    let now = view(&server, &room).await;
    let outcome = viewer(&server, &now, &alice).await.event(&edited).await;
    assert!(matches!(outcome, Err(ReadRefusal::NotFound)), "what they said is not shown");
    let answers = children(&server, &room, &alice, &query(&edited)).await;
    assert_eq!(ids(&answers.events), [answer], "what others answered is");
    assert_eq!(children(&server, &room, &bob, &query(&parent)).await.events.len(), 2);
}

#[tokio::test]
async fn who_left_sees_what_was_about_an_event_then() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let parent = server.say(&room, &alice, "a").await;
    let before = server.relate(&room, &alice, "m.thread", &parent).await;
    let edit = server.relate(&room, &alice, "m.replace", &parent).await;
    server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    server.hand.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
    for _ in 0..100 {
        server.relate(&room, &alice, "m.thread", &parent).await;
    }
    server.relate(&room, &alice, "m.replace", &parent).await;
    let said = bundle(&server, &room, &bob, &parent).await;
    assert_eq!(said["m.thread"]["latest_event"]["event_id"], json!(before));
    assert_eq!(said["m.replace"]["event_id"], json!(edit));
    assert_eq!(ids(&children(&server, &room, &bob, &query(&parent)).await.events), [edit, before]);
}

#[tokio::test]
async fn pages_of_children_in_both_directions() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let parent = server.say(&room, &alice, "a").await;
    let mut said = Vec::new();
    for n in 0..5 {
        said.push(server.relate(&room, &alice, if n == 2 { "m.other" } else { "m.reference" }, &parent).await);
        server.say(&room, &alice, "between").await;
    }
    for backwards in [true, false] {
        let (mut found, mut from, mut pages) = (Vec::new(), None::<String>, 0);
        loop {
            let query = ChildrenQuery { from: from.as_deref(), limit: 2, backwards, ..query(&parent) };
            let page = children(&server, &room, &alice, &query).await;
            assert_eq!(page.previous, from);
            found.extend(ids(&page.events));
            pages += 1;
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        let mut expected = said.clone();
        if backwards {
            expected.reverse();
        }
        assert_eq!((found, pages), (expected, 3));
    }
    let of_type = ChildrenQuery { relation: Some("m.other"), ..query(&parent) };
    assert_eq!(ids(&children(&server, &room, &alice, &of_type).await.events), [said[2].clone()]);
    let of_kind = ChildrenQuery { relation: Some("m.reference"), kind: Some("m.sticker"), ..query(&parent) };
    assert!(children(&server, &room, &alice, &of_kind).await.events.is_empty());
    let first = ChildrenQuery { limit: 2, ..query(&parent) };
    let first = children(&server, &room, &alice, &first).await.next.unwrap();
    let rest = ChildrenQuery { from: Some(&first), to: Some("t0-0-0"), ..query(&parent) };
    assert_eq!(children(&server, &room, &alice, &rest).await.events.len(), 3);
    let newer = ChildrenQuery { to: Some(&first), ..query(&parent) };
    assert_eq!(children(&server, &room, &alice, &newer).await.events.len(), 2);
    let crossed = ChildrenQuery { from: Some("t0-0-0"), to: Some(&first), ..query(&parent) };
    assert!(children(&server, &room, &alice, &crossed).await.events.is_empty());
}

#[tokio::test]
async fn recursion_follows_three_relationships_and_no_broken_one() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let mut chain = vec![server.say(&room, &alice, "a").await];
    for n in 0..4 {
        chain.push(server.relate(&room, &alice, "m.reference", &chain[n]).await);
    }
    let side = server.relate(&room, &alice, "m.replace", &chain[1]).await;
    let (direct, recursive) = (query(&chain[0]), ChildrenQuery { recurse: true, ..query(&chain[0]) });
    let page = children(&server, &room, &alice, &direct).await;
    assert_eq!((ids(&page.events), page.depth), (vec![chain[1].clone()], 1));
    let page = children(&server, &room, &alice, &recursive).await;
    let [_, first, second, third, _] = <[OwnedEventId; 5]>::try_from(chain.clone()).unwrap();
    assert_eq!(page.depth, 3);
    assert_eq!(ids(&page.events), [side.clone(), third.clone(), second.clone(), first.clone()]);
    let of_type = ChildrenQuery { relation: Some("m.replace"), recurse: true, ..query(&chain[0]) };
    assert!(children(&server, &room, &alice, &of_type).await.events.is_empty(), "over a reference none is reached");
    let of_type = ChildrenQuery { relation: Some("m.reference"), recurse: true, ..query(&chain[0]) };
    let found = ids(&children(&server, &room, &alice, &of_type).await.events);
    assert_eq!(found, [third.clone(), second.clone(), first.clone()]);
    let forwards = ChildrenQuery { backwards: false, limit: 3, recurse: true, ..query(&chain[0]) };
    assert_eq!(ids(&children(&server, &room, &alice, &forwards).await.events), [first.clone(), second.clone(), third]);
    server.redact(&room, &alice, &second).await;
    assert_eq!(ids(&children(&server, &room, &alice, &recursive).await.events), [side, first.clone()]);
    server.redact(&room, &alice, &first).await;
    assert!(children(&server, &room, &alice, &recursive).await.events.is_empty());
}

#[tokio::test]
async fn the_children_of_what_one_may_not_see_are_not_found() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.room(&alice).await;
    let parent = server.say(&room, &alice, "a").await;
    let view = view(&server, &room).await;
    let outcome = viewer(&server, &view, &bob).await.children(&query(&parent)).await;
    assert!(matches!(outcome, Err(ReadRefusal::NotFound)));
    let mut viewer = viewer(&server, &view, &alice).await;
    let unknown = EventId::parse("$unknown").unwrap();
    assert!(matches!(viewer.children(&query(&unknown)).await, Err(ReadRefusal::NotFound)));
    let bad = ChildrenQuery { from: Some("x"), ..query(&parent) };
    assert!(matches!(viewer.children(&bad).await, Err(ReadRefusal::BadToken(_))));
}

#[tokio::test]
async fn no_thread_begins_in_a_thread() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let root = server.say(&room, &alice, "a").await;
    let reply = server.relate(&room, &alice, "m.thread", &root).await;
    let message = |parent: &EventId| Message {
        sender: alice.clone(),
        kind: "m.room.message".into(),
        content: object(json!({ "m.relates_to": { "rel_type": "m.thread", "event_id": parent } })),
        transaction: None,
    };
    let outcome = server.rooms.submit(&room, message(&reply)).await;
    assert!(matches!(outcome, Err(Refusal::NoThreadRoot(_))), "{outcome:?}");
    // What is redacted is about nothing any more.
    server.redact(&room, &alice, &reply).await;
    server.rooms.submit(&room, message(&reply)).await.unwrap();
}

/// Keys asked for, scans, rows read, batches and rows written.
type Cost = [u64; 5];

fn cost(counts: Counts) -> Cost {
    [counts.gets, counts.scans, counts.rows_read, counts.commits, counts.rows_written]
}

/// What it costs to relate, to redact a relation, and to read the parent, once it has so many children of each kind.
async fn costs(kinds: &[&str], children: usize) -> Vec<Cost> {
    let engine = Arc::new(Counting::new(Memory::new(Options::default())));
    let (count, alice) = (engine.count(), user("alice"));
    let server = Fixture::forgetful(Arc::clone(&engine) as Arc<dyn Engine>);
    let room = server.room(&alice).await;
    let parent = server.say(&room, &alice, "a").await;
    for _ in 0..children {
        for kind in kinds {
            server.relate(&room, &alice, kind, &parent).await;
        }
    }
    // After a restart nothing is in memory.
    let server = Fixture::forgetful(engine);
    let mut costs = Vec::new();
    for kind in kinds {
        count.reset();
        let sent = server.relate(&room, &alice, kind, &parent).await;
        costs.push(cost(count.snapshot()));
        count.reset();
        server.redact(&room, &alice, &sent).await;
        costs.push(cost(count.snapshot()));
    }
    count.reset();
    assert!(bundle(&server, &room, &alice, &parent).await.is_object());
    costs.push(cost(count.snapshot()));
    count.reset();
    let page = ChildrenQuery { limit: 5, recurse: true, ..query(&parent) };
    assert_eq!(self::children(&server, &room, &alice, &page).await.events.len(), 5);
    costs.push(cost(count.snapshot()));
    costs
}

#[tokio::test]
async fn relations_cost_the_same_however_many_there_are() {
    let kinds = ["m.thread", "m.replace", "m.annotation"];
    assert_eq!(costs(&kinds, 10).await, costs(&kinds, 1000).await);
}

#[tokio::test]
async fn references_cost_the_same_beyond_those_that_are_bundled() {
    let (few, many) = (costs(&["m.reference"], 110).await, costs(&["m.reference"], 1000).await);
    assert_eq!(few, many);
}

#[tokio::test]
async fn the_aggregations_of_a_page_are_bounded() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let mut parents = Vec::new();
    for n in 0..80 {
        let parent = server.say(&room, &alice, "said").await;
        let content = json!({
            "msgtype": "m.text", "body": "x".repeat(60_000), "m.new_content": { "msgtype": "m.text", "body": format!("{n}") },
            "m.relates_to": { "rel_type": "m.replace", "event_id": parent },
        });
        server.send(&room, &alice, "m.room.message", content).await;
        parents.push(parent);
    }
    let view = view(&server, &room).await;
    let mut viewer = viewer(&server, &view, &alice).await;
    let mut events = Vec::new();
    for parent in &parents {
        events.push(viewer.event(parent).await.unwrap());
    }
    let shown = viewer.show(&events, Format::WithRoom).await.unwrap();
    let edited = shown.iter().take_while(|event| event.get().contains("m.relations")).count();
    assert!((60..80).contains(&edited), "{edited}");
    assert_eq!(shown.iter().filter(|event| event.get().contains("m.relations")).count(), edited, "the first ones");
    assert_eq!(shown.len(), 80, "and the others come all the same");
}

#[tokio::test]
async fn a_long_redaction_is_shown_without_its_content_in_what_it_redacts() {
    for version in [RoomVersionId::V3, RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12] {
        let server = Fixture::new();
        let alice = user("alice");
        let room = server.rooms.create(Creation { version: Some(version.clone()), ..creation(&alice) }).await.unwrap();
        for (length, reason) in [(4000, true), (20_000, false)] {
            let said = server.say(&room, &alice, "said").await;
            let content = json!({ "redacts": said, "reason": "x".repeat(length) });
            let redaction = server.send(&room, &alice, "m.room.redaction", content).await;
            let view = view(&server, &room).await;
            let mut viewer = viewer(&server, &view, &alice).await;
            let event = viewer.event(&said).await.unwrap();
            let shown = viewer.show_one(&event, Format::WithRoom).await.unwrap();
            let shown: Value = serde_json::from_str(shown.get()).unwrap();
            let because = &shown["unsigned"]["redacted_because"];
            assert_eq!(because["event_id"], json!(redaction), "{version}");
            for named in [&because["redacts"], &because["content"]["redacts"]] {
                assert_eq!(*named, json!(said), "{version}: {length}");
            }
            assert_eq!(because["content"]["reason"].is_string(), reason, "{version}: {length}");
        }
    }
}
