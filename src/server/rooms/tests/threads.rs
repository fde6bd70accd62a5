//! Threads: what is said of one, the list of a room's, and what batches and redactions make of both.

use depesche_rules::bounds::MAX_THREAD_EVENTS_LOOKED_AT;
use ruma::{OwnedEventId, OwnedRoomId, UserId};
use serde_json::{Value, json};

use super::related::{bundle, view, viewer};
use crate::{
    keyspace::{RELATED, THREAD},
    records::relations::Related,
    rooms::{history::ReadRefusal, send::Redaction, shown::Format, threads::ThreadsQuery},
    testing::{Fixture, user},
    verify::verify,
};

async fn threads(server: &Fixture, room: &OwnedRoomId, user: &UserId, participated: bool) -> Vec<Value> {
    let view = view(server, room).await;
    let query = ThreadsQuery { from: None, participated, limit: 100 };
    let page = viewer(server, &view, user).await.threads(&query).await.unwrap();
    assert_eq!(page.next, None);
    page.roots.iter().map(|root| serde_json::from_str(root.get()).unwrap()).collect()
}

fn ids(roots: &[Value]) -> Vec<&str> {
    roots.iter().map(|root| root["event_id"].as_str().unwrap()).collect()
}

async fn is_whole(server: &Fixture) {
    let report = verify(&server.base.view(), |_| {}).await.unwrap();
    assert!(report.problems.is_empty(), "{report:#?}");
}

#[tokio::test]
async fn what_is_said_of_a_thread() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    server.join(&room, &carol).await;
    let root = server.say(&room, &alice, "root").await;
    server.relate(&room, &bob, "m.thread", &root).await;
    let second = server.relate(&room, &bob, "m.thread", &root).await;
    let edit = server.relate(&room, &bob, "m.replace", &second).await;
    for (who, participated) in [(&alice, true), (&bob, true), (&carol, false)] {
        let thread = &bundle(&server, &room, who, &root).await["m.thread"];
        assert_eq!(thread["count"], 2);
        assert_eq!(thread["current_user_participated"], participated, "{who}");
        let latest = &thread["latest_event"];
        assert_eq!(latest["event_id"], json!(second));
        assert_eq!(latest["unsigned"]["m.relations"]["m.replace"]["event_id"], json!(edit));
    }
    let third = server.relate(&room, &carol, "m.thread", &root).await;
    assert_eq!(bundle(&server, &room, &carol, &root).await["m.thread"]["current_user_participated"], true);
    server.redact(&room, &carol, &third).await;
    let thread = &bundle(&server, &room, &carol, &root).await["m.thread"];
    assert_eq!((&thread["count"], &thread["latest_event"]["event_id"]), (&json!(2), &json!(second)));
    assert_eq!(thread["current_user_participated"], false, "what is redacted is no part of it");
    server.ignore(&alice, &[&bob]).await;
    assert_eq!(bundle(&server, &room, &alice, &root).await, Value::Null);
    server.relate(&room, &carol, "m.thread", &root).await;
    assert_eq!(bundle(&server, &room, &alice, &root).await["m.thread"]["count"], 1);
    // A root that is gone keeps its thread.
    server.redact(&room, &alice, &root).await;
    assert_eq!(bundle(&server, &room, &carol, &root).await["m.thread"]["count"], 3);
    is_whole(&server).await;
}

#[tokio::test]
async fn threads_are_listed_by_their_latest_events() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let mut roots = Vec::new();
    for body in ["one", "two", "three"] {
        let root = server.say(&room, &alice, body).await;
        server.relate(&room, &alice, "m.thread", &root).await;
        roots.push(root);
    }
    let [one, two, three] = <[OwnedEventId; 3]>::try_from(roots).unwrap();
    assert_eq!(ids(&threads(&server, &room, &alice, false).await), [three.as_str(), two.as_str(), one.as_str()]);
    let last = server.relate(&room, &bob, "m.thread", &one).await;
    assert_eq!(ids(&threads(&server, &room, &alice, false).await), [one.as_str(), three.as_str(), two.as_str()]);
    assert_eq!(ids(&threads(&server, &room, &bob, true).await), [one.as_str()]);
    assert_eq!(threads(&server, &room, &alice, true).await.len(), 3, "whoever began it takes part");
    server.redact(&room, &bob, &last).await;
    assert_eq!(ids(&threads(&server, &room, &alice, false).await), [three.as_str(), two.as_str(), one.as_str()]);
    assert!(threads(&server, &room, &bob, true).await.is_empty());
    is_whole(&server).await;

    let view = view(&server, &room).await;
    let mut viewer = viewer(&server, &view, &alice).await;
    let (mut from, mut found) = (None::<String>, Vec::new());
    loop {
        let query = ThreadsQuery { from: from.as_deref(), participated: false, limit: 1 };
        let page = viewer.threads(&query).await.unwrap();
        assert_eq!(page.roots.len(), 1);
        let root: Value = serde_json::from_str(page.roots[0].get()).unwrap();
        found.push(root["content"]["body"].as_str().unwrap().to_owned());
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(found, ["three", "two", "one"]);
    let bad = ThreadsQuery { from: Some("x"), participated: false, limit: 1 };
    assert!(matches!(viewer.threads(&bad).await, Err(ReadRefusal::BadToken(_))));
}

#[tokio::test]
async fn the_root_of_an_ignored_user_is_shown_without_its_content() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let root = server.say(&room, &bob, "secret").await;
    let own = server.relate(&room, &alice, "m.thread", &root).await;
    server.relate(&room, &bob, "m.thread", &root).await;
    let edit = server.relate(&room, &bob, "m.replace", &root).await;
    let of_bob_alone = server.say(&room, &bob, "alone").await;
    server.relate(&room, &bob, "m.thread", &of_bob_alone).await;
    server.ignore(&alice, &[&bob]).await;
    for participated in [false, true] {
        let listed = threads(&server, &room, &alice, participated).await;
        assert_eq!(ids(&listed), [root.as_str()], "of a thread without others there is nothing to see");
        assert_eq!(listed[0]["content"], json!({}));
        let said = &listed[0]["unsigned"]["m.relations"];
        assert_eq!((&said["m.thread"]["count"], &said["m.replace"]), (&json!(1), &Value::Null));
        assert_eq!(said["m.thread"]["latest_event"]["event_id"], json!(own));
    }
    let listed = threads(&server, &room, &bob, false).await;
    assert_eq!(ids(&listed), [of_bob_alone.as_str(), root.as_str()]);
    assert_eq!(listed[1]["content"]["body"], "secret");
    assert_eq!(listed[1]["unsigned"]["m.relations"]["m.replace"]["event_id"], json!(edit));
}

#[tokio::test]
async fn a_stranger_sees_no_threads() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let view = view(&server, &room).await;
    let query = ThreadsQuery { from: None, participated: false, limit: 1 };
    let outcome = viewer(&server, &view, &user("bob")).await.threads(&query).await;
    assert!(matches!(outcome, Err(ReadRefusal::Forbidden)));
}

/// Many at once, of which the lane makes few batches.
#[tokio::test]
async fn one_batch_of_many_leaves_one_place_for_each_thread() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let (first, second) = (server.say(&room, &alice, "1").await, server.say(&room, &alice, "2").await);
    server.relate(&room, &alice, "m.thread", &first).await;
    let said = (0..20).map(|n| server.relate(&room, &alice, "m.thread", if n % 2 == 0 { &first } else { &second }));
    let said = futures::future::join_all(said).await;
    is_whole(&server).await;
    let redact = |target: &OwnedEventId| {
        let redaction = Redaction { sender: alice.clone(), target: target.clone(), reason: None, transaction: None };
        server.rooms.submit(&room, redaction)
    };
    for outcome in futures::future::join_all(said[4..].iter().map(redact)).await {
        outcome.unwrap();
    }
    is_whole(&server).await;
    let listed = threads(&server, &room, &alice, false).await;
    assert_eq!(ids(&listed), [second.as_str(), first.as_str()]);
    let count = |root: &Value| root["unsigned"]["m.relations"]["m.thread"]["count"].as_u64().unwrap();
    assert_eq!(listed.iter().map(count).collect::<Vec<_>>(), [2, 3]);
    for target in &said[..4] {
        redact(target).await.unwrap();
    }
    assert_eq!(ids(&threads(&server, &room, &alice, false).await), [first.as_str()], "the other is empty");
    is_whole(&server).await;
}

/// A server with a thread, and where its first event will be: the same steps make the same ids.
async fn house() -> (Fixture, OwnedRoomId, OwnedEventId) {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let root = server.say(&room, &alice, "root").await;
    (server, room, root)
}

#[tokio::test]
async fn an_event_that_is_redacted_in_its_own_batch_was_never_related() {
    let alice = user("alice");
    let (server, room, root) = house().await;
    server.say(&room, &alice, "first").await;
    let reply = server.relate(&room, &alice, "m.thread", &root).await;
    drop(server);
    let (server, room, root) = house().await;
    let first = async { server.say(&room, &alice, "first").await };
    let second = async { server.relate(&room, &alice, "m.thread", &root).await };
    let third = async { server.redact(&room, &alice, &reply).await };
    let (_, related, redaction) = tokio::join!(first, second, third);
    assert_eq!(related, reply, "the same steps make the same ids");
    let view = view(&server, &room).await;
    let mut anchors = Vec::new();
    for id in [&related, &redaction] {
        let no = view.event_no(id).await.unwrap().unwrap();
        anchors.push(view.event(no).await.unwrap().meta.place.anchor);
    }
    assert_eq!(anchors[0], anchors[1], "both are of one batch");
    assert_eq!(bundle(&server, &room, &alice, &root).await, Value::Null);
    assert!(threads(&server, &room, &alice, false).await.is_empty());
    is_whole(&server).await;
}

#[tokio::test]
async fn what_is_said_of_an_event_that_is_not_there_is_no_thread() {
    let server = Fixture::new();
    let alice = user("alice");
    let (room, other) = (server.room(&alice).await, server.room(&alice).await);
    let elsewhere = server.say(&other, &alice, "elsewhere").await;
    let made_up = OwnedEventId::try_from("$made-up").unwrap();
    for parent in [&elsewhere, &made_up] {
        let said = server.relate(&room, &alice, "m.thread", parent).await;
        server.relate(&room, &alice, "m.thread", parent).await;
        server.redact(&room, &alice, &said).await;
    }
    let view = view(&server, &room).await;
    let rows = view.view.scan(&THREAD, THREAD.under(&(view.no,)), 10).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
    let counts = view.view.scan(&RELATED, RELATED.under(&(view.no,)), 10).await.unwrap();
    assert!(counts.is_empty(), "{counts:?}");
    is_whole(&server).await;
    // Rows that an earlier version made of such events stand beside new events, and are nobody's.
    let said = server.relate(&room, &alice, "m.thread", &made_up).await;
    let fresh = self::view(&server, &room).await;
    let no = fresh.event_no(&said).await.unwrap().unwrap();
    let place = fresh.event(no).await.unwrap().meta.place;
    let tx = server.base.tx();
    tx.put(&THREAD, &(view.no, place), &made_up);
    tx.put(&RELATED, &(view.no, made_up.clone(), String::new()), &Related { in_thread: 2, ..Related::default() });
    server.base.commit(&tx).await.unwrap();
    server.relate(&room, &alice, "m.thread", &made_up).await;
    server.redact(&room, &alice, &said).await;
    assert!(threads(&server, &room, &alice, false).await.is_empty());
    is_whole(&server).await;
}

#[tokio::test]
async fn a_thread_whose_newest_events_are_of_ignored_users_is_there() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    server.join(&room, &carol).await;
    let root = server.say(&room, &alice, "root").await;
    let heard = server.relate(&room, &carol, "m.thread", &root).await;
    for _ in 0..150 {
        server.relate(&room, &bob, "m.thread", &root).await;
    }
    server.ignore(&alice, &[&bob]).await;
    let thread = &bundle(&server, &room, &alice, &root).await["m.thread"];
    assert_eq!((&thread["count"], &thread["latest_event"]["event_id"]), (&json!(1), &json!(heard)));
    assert_eq!(ids(&threads(&server, &room, &alice, false).await), [root.as_str()]);
    server.ignore(&alice, &[&bob, &carol]).await;
    assert_eq!(threads(&server, &room, &alice, false).await, [] as [Value; 0]);
}

#[tokio::test]
async fn of_what_ignored_users_said_in_threads_so_much_is_looked_at() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    server.join(&room, &carol).await;
    let root = server.say(&room, &alice, "root").await;
    server.relate(&room, &carol, "m.thread", &root).await;
    // Sixty-four are looked at in any case; what is heard is one behind these.
    let (in_any_case, more) = (64, 36);
    for _ in 0..in_any_case + more {
        server.relate(&room, &bob, "m.thread", &root).await;
    }
    server.ignore(&alice, &[&bob]).await;
    let view = view(&server, &room).await;
    for (left, is_heard) in [(MAX_THREAD_EVENTS_LOOKED_AT, true), (more + 1, true), (more, false), (0, false)] {
        let mut viewer = viewer(&server, &view, &alice).await;
        assert_eq!(viewer.thread_events_left, MAX_THREAD_EVENTS_LOOKED_AT, "what a look begins with");
        viewer.thread_events_left = left;
        let event = viewer.event(&root).await.unwrap();
        let shown = viewer.show_one(&event, Format::WithRoom).await.unwrap();
        assert_eq!(shown.get().contains("latest_event"), is_heard, "{left}");
        assert!(viewer.thread_events_left < left.max(1), "what was looked at is counted");
    }
}
