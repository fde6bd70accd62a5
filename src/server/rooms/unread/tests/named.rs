//! Those whom an event names, however many they are.

use std::sync::Arc;

use depesche_store::{Options, counting::Counting, memory::Memory};
use ruma::OwnedUserId;

use super::*;

/// Rows that name somebody.
async fn named(course: &Course) -> Vec<OwnedUserId> {
    let rows = course.server.base.view().scan(&NAMED, NAMED.under(&()), 100).await.unwrap();
    rows.into_iter().map(|((user, ..), _)| user).collect()
}

#[tokio::test]
async fn who_is_named_behind_a_thousand_others_is_named() {
    let course = Course::new().await;
    let (alice, bob) = (user("alice"), user("bob"));
    let strangers = (0..500).map(|n| user(&format!("u{n}")));
    let elsewhere = (0..500).map(|n| OwnedUserId::try_from(format!("@u{n}:other.test")).unwrap());
    let users: Vec<_> = strangers.chain(elsewhere).chain([bob.clone()]).collect();
    let content = json!({ "msgtype": "m.text", "body": "all", "m.mentions": { "user_ids": users } });
    let sent = course.server.send(&course.room, &alice, "m.room.message", content).await;
    let counts = async || {
        let total = course.counted(&course.counter).await.total();
        (total.notifications, total.highlights)
    };
    assert_eq!((counts().await, named(&course).await), ((1, 1), vec![bob]));
    course.server.redact(&course.room, &alice, &sent).await;
    assert_eq!((counts().await, named(&course).await), ((0, 0), vec![]));
}

#[tokio::test]
async fn who_joins_in_the_same_batch_is_named() {
    let course = Course::new().await;
    let (alice, carol) = (user("alice"), user("carol"));
    let join = || {
        let (actor, target) = (carol.clone(), carol.clone());
        Change { actor, target, action: MembershipAction::Join, content: object(json!({})) }
    };
    let content = || object(json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [carol] } }));
    let say =
        || Message { sender: alice.clone(), kind: "m.room.message".into(), content: content(), transaction: None };
    let leave = || Change { action: MembershipAction::Leave, ..join() };
    let rooms = &course.server.rooms;
    let (before, joined, said, left, after) = futures::join!(
        rooms.submit(&course.room, say()),
        rooms.submit(&course.room, join()),
        rooms.submit(&course.room, say()),
        rooms.submit(&course.room, leave()),
        rooms.submit(&course.room, say()),
    );
    let positions = [before, joined, said, left, after].map(|sent| sent.unwrap().position);
    assert!(positions.iter().all(|position| *position == positions[0]), "one batch");
    assert_eq!(named(&course).await, [carol]);
}

#[tokio::test]
async fn who_has_no_row_costs_none_when_the_event_is_redacted() {
    let engine = Counting::new(Memory::new(Options::default()));
    let count = engine.count();
    let (server, alice) = (Fixture::on(Arc::new(engine)), user("alice"));
    let room = server.room(&alice).await;
    let mut written = Vec::new();
    for names in [0, 2500] {
        let users: Vec<_> = (0..names).map(|n| user(&format!("u{n}"))).collect();
        let content = json!({ "msgtype": "m.text", "body": "all", "m.mentions": { "user_ids": users } });
        let sent = server.send(&room, &alice, "m.room.message", content).await;
        count.reset();
        server.redact(&room, &alice, &sent).await;
        written.push(count.by_first_byte().values().map(|rows| rows.written).sum::<u64>());
    }
    assert_eq!(written[0], written[1]);
}
