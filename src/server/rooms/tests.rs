//! Rooms on the memory engine.

mod allowed;
mod bounds;
mod judged;
mod reading;
mod related;
mod threads;

use std::sync::Arc;

use depesche_store::Options;
use ruma::{RoomVersionId, events::StateEventType};
use serde_json::json;

use super::{
    lane::{Refusal, Transaction},
    membership::Action,
    send::{Message, Redaction},
    show::Viewer,
    shown::Format,
    view::RoomView,
};
use crate::{
    keyspace::ACCOUNT,
    records::accounts::{Account, Origin, Standing},
    testing::{Fixture, creation, engine, object, user},
    workflows::create::{CreateError, Creation},
};

#[tokio::test]
async fn every_version_can_be_created_and_talked_in() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    for version in ["3", "4", "5", "6", "7", "8", "9", "10", "11", "12"] {
        let version = RoomVersionId::try_from(version).unwrap();
        let creation = Creation {
            version: Some(version.clone()),
            invite: vec![(bob.clone(), object(json!({})))],
            name: Some("Council".into()),
            ..creation(&alice)
        };
        let room = server.rooms.create(creation).await.unwrap_or_else(|why| panic!("{version}: {why}"));
        server.join(&room, &bob).await;
        server.say(&room, &bob, "hello").await;
        let view = server.rooms.find(&room).await.unwrap().unwrap();
        assert_eq!((view.head.joined, view.head.invited), (2, 0), "{version}");
        let name = view.state_event(view.root(), "m.room.name", "").await.unwrap().unwrap();
        assert_eq!(name.pdu.content().get(), r#"{"name":"Council"}"#);
    }
}

#[tokio::test]
async fn unknown_versions_are_refused() {
    let server = Fixture::new();
    for version in ["1", "2", "13"] {
        let version = RoomVersionId::try_from(version).unwrap();
        let creation = Creation { version: Some(version.clone()), ..creation(&user("alice")) };
        assert!(matches!(server.rooms.create(creation).await, Err(CreateError::UnsupportedVersion(v)) if v == version));
    }
}

#[tokio::test]
async fn a_timeline_reads_in_the_order_of_sending() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(server.say(&room, &alice, &n.to_string()).await);
    }
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    let end = RoomView::place_after(view.view.position());
    let mut rows = view.timeline_before(end, 20).await.unwrap();
    rows.reverse();
    let numbers: Vec<_> = rows.iter().map(|(_, no)| *no).collect();
    let ids: Vec<_> = view.events(&numbers).await.unwrap().iter().map(|event| event.pdu.event_id().clone()).collect();
    assert_eq!(ids, sent);
}

#[tokio::test]
async fn fifty_at_once_cost_few_commits_and_none_fails() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let before = server.base.view().position().0;
    let sends = (0..50).map(|n| server.say(&room, &alice, Box::leak(n.to_string().into_boxed_str())));
    let ids = futures::future::join_all(sends).await;
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), 50);
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    assert_eq!(view.head.extremities.len(), 1);
    let commits = match server.base.engine.changes(depesche_store::Position(before), 100).await.unwrap() {
        depesche_store::Changes::Found(changes) => changes.len(),
        depesche_store::Changes::Trimmed => panic!("nothing is trimmed yet"),
    };
    assert!(commits <= 4, "{commits} commits for fifty sends");
    // First come, first served.
    let rows = view.timeline_before(RoomView::place_after(view.view.position()), 50).await.unwrap();
    let numbers: Vec<_> = rows.iter().rev().map(|(_, no)| *no).collect();
    let order: Vec<_> = view.events(&numbers).await.unwrap().iter().map(|event| event.pdu.event_id().clone()).collect();
    assert_eq!(order, ids);
}

#[tokio::test]
async fn a_repeated_transaction_answers_the_first_event() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let message = |id: &str| Message {
        sender: alice.clone(),
        kind: "m.room.message".into(),
        content: object(json!({ "body": "once" })),
        transaction: Some(Transaction {
            user: alice.clone(),
            device: "PHONE".into(),
            scope: format!("send {room}"),
            id: id.into(),
        }),
    };
    let first = server.rooms.submit(&room, message("1")).await.unwrap();
    let again = server.rooms.submit(&room, message("1")).await.unwrap();
    let other = server.rooms.submit(&room, message("2")).await.unwrap();
    assert_eq!(first.event_id, again.event_id);
    assert_ne!(first.event_id, other.event_id);
}

#[tokio::test]
async fn memberships_follow_the_rules() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.room(&alice).await;
    let refused = |outcome: Result<_, Refusal>| matches!(outcome, Err(Refusal::Forbidden(_)));
    assert!(refused(server.change(&room, &bob, &bob, Action::Join).await), "not invited");
    assert!(refused(server.change(&room, &bob, &carol, Action::Invite).await), "not a member");
    server.change(&room, &alice, &bob, Action::Invite).await.unwrap();
    server.join(&room, &bob).await;
    let again = server.change(&room, &bob, &bob, Action::Join).await.unwrap();
    assert_eq!(again, server.change(&room, &bob, &bob, Action::Join).await.unwrap(), "joined already");
    assert!(refused(server.change(&room, &alice, &bob, Action::Invite).await), "joined already");
    assert!(refused(server.change(&room, &bob, &alice, Action::Kick).await), "no level");
    server.change(&room, &alice, &bob, Action::Ban).await.unwrap();
    assert!(refused(server.change(&room, &bob, &bob, Action::Join).await), "banned");
    assert!(refused(server.change(&room, &alice, &bob, Action::Invite).await), "banned");
    server.change(&room, &alice, &bob, Action::Unban).await.unwrap();
    let not_banned = server.change(&room, &alice, &bob, Action::Unban).await;
    assert!(matches!(not_banned, Err(Refusal::BadState(_))), "{not_banned:?}");
    assert!(refused(server.change(&room, &bob, &bob, Action::Knock).await), "no knocking here");
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    assert_eq!((view.head.joined, view.head.invited), (1, 0));
}

#[tokio::test]
async fn restricted_rooms_let_members_of_the_other_room_in() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let hall = server.public_room(&alice).await;
    let room = server.room(&alice).await;
    let allow = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": hall }] });
    server.set(&room, &alice, StateEventType::RoomJoinRules, allow).await;
    let outcome = server.change(&room, &bob, &bob, Action::Join).await;
    assert!(matches!(outcome, Err(Refusal::Forbidden(_))));
    server.join(&hall, &bob).await;
    server.join(&room, &bob).await;
    // With the only one who may vouch gone, nobody can.
    server.join(&hall, &carol).await;
    let levels = json!({ "users": {}, "invite": 50 });
    server.set(&room, &alice, StateEventType::RoomPowerLevels, levels).await;
    server.change(&room, &alice, &alice, Action::Leave).await.unwrap();
    let outcome = server.change(&room, &carol, &carol, Action::Join).await;
    assert!(matches!(outcome, Err(Refusal::UnableToGrant(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_redaction_takes_the_content_and_only_from_who_may() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let target = server.say(&room, &alice, "secret").await;
    let redact = |sender: &ruma::UserId| Redaction {
        sender: sender.to_owned(),
        target: target.clone(),
        reason: Some("mistake".into()),
        transaction: None,
    };
    assert!(matches!(server.rooms.submit(&room, redact(&bob)).await, Err(Refusal::Forbidden(_))));
    let redaction = server.rooms.submit(&room, redact(&alice)).await.unwrap().event_id;
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    let no = view.event_no(&target).await.unwrap().unwrap();
    let event = view.event(no).await.unwrap();
    let mut viewer = Viewer::new(&view, bob, None, server.base.now()).await.unwrap();
    let shown = viewer.show_one(&event, Format::WithRoom).await.unwrap();
    let shown: serde_json::Value = serde_json::from_str(shown.get()).unwrap();
    assert_eq!(shown["content"], json!({}));
    assert_eq!(shown["unsigned"]["redacted_because"]["event_id"], redaction.as_str());
    assert_eq!(shown["unsigned"]["redacted_because"]["content"]["reason"], "mistake");
}

#[tokio::test]
async fn who_administers_the_server_redacts_what_its_users_say() {
    let server = Fixture::new();
    let [alice, bob] = ["alice", "bob"].map(user);
    let room = server.public_room(&alice).await;
    let target = server.say(&room, &alice, "secret").await;
    let redact = || Redaction { sender: bob.clone(), target: target.clone(), reason: None, transaction: None };
    let account = |admin: bool| Account {
        created_ms: 0,
        origin: Origin::Operator,
        admin,
        standing: Standing::Active,
        erased: false,
        locked: false,
        suspended: false,
    };
    let put = async |account: &Account| {
        let tx = server.base.tx();
        tx.read(&ACCOUNT, &(bob.clone(),)).await.unwrap();
        tx.put(&ACCOUNT, &(bob.clone(),), account);
        server.base.commit(&tx).await.unwrap();
    };
    // Not even they without being in the room: it would not be allowed by its rules.
    put(&account(true)).await;
    assert!(matches!(server.rooms.submit(&room, redact()).await, Err(Refusal::Forbidden(_))));
    server.join(&room, &bob).await;
    put(&account(false)).await;
    assert!(matches!(server.rooms.submit(&room, redact()).await, Err(Refusal::Forbidden(_))));
    put(&account(true)).await;
    server.rooms.submit(&room, redact()).await.unwrap();
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let engine = engine(Options::default());
    let alice = user("alice");
    let server = Fixture::on(Arc::clone(&engine));
    let room = server.room(&alice).await;
    let sent = server.say(&room, &alice, "kept").await;
    drop(server);
    let server = Fixture::on(engine);
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    assert!(view.event_no(&sent).await.unwrap().is_some());
    server.say(&room, &alice, "goes on").await;
}

#[tokio::test]
async fn rooms_created_in_one_moment_are_two_rooms() {
    let server = Fixture::new();
    let alice = user("alice");
    let rooms = futures::future::join_all((0..20).map(|_| server.room(&alice))).await;
    let unique: std::collections::HashSet<_> = rooms.iter().collect();
    assert_eq!(unique.len(), 20);
}

#[tokio::test]
async fn the_reason_of_a_redaction_goes_with_a_redaction_of_its_own() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.public_room(&alice).await;
    let target = server.say(&room, &alice, "secret").await;
    let redact = |target: ruma::OwnedEventId| Redaction {
        sender: alice.clone(),
        target,
        reason: Some("secret as well".into()),
        transaction: None,
    };
    let redaction = server.rooms.submit(&room, redact(target.clone())).await.unwrap().event_id;
    server.rooms.submit(&room, redact(redaction.clone())).await.unwrap();
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    let event = view.event(view.event_no(&target).await.unwrap().unwrap()).await.unwrap();
    let mut viewer = Viewer::new(&view, alice, None, server.base.now()).await.unwrap();
    let shown = viewer.show_one(&event, Format::WithRoom).await.unwrap();
    let shown: serde_json::Value = serde_json::from_str(shown.get()).unwrap();
    let because = &shown["unsigned"]["redacted_because"];
    assert_eq!((&because["event_id"], because["content"].get("reason")), (&json!(redaction), None));
}
