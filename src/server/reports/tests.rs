use std::sync::Arc;

use ruma::{OwnedUserId, events::StateEventType, room_id, user_id};
use serde_json::json;

use super::*;
use crate::testing::{Fixture, user};

async fn account(home: &Fixture, localpart: &str) -> OwnedUserId {
    use crate::{
        accounts::{Accounts, Door, NewAccount},
        devices::Devices,
    };
    let devices = Arc::new(Devices::new(Arc::clone(&home.base), Vec::new()));
    let new = NewAccount { localpart: Some(localpart.to_owned()), ..NewAccount::default() };
    Accounts::new(Arc::clone(&home.base), devices).create(&Door::Operator, &new).await.unwrap()
}

fn reports(home: &Fixture) -> Reports {
    Reports::new(Arc::clone(&home.base))
}

fn numbers(list: &[(u64, Report)]) -> Vec<u64> {
    list.iter().map(|(number, _)| *number).collect()
}

#[tokio::test]
async fn reports_wait_until_they_are_closed() {
    let home = Fixture::new();
    let (reports, alice, bob) = (reports(&home), user("alice"), account(&home, "bob").await);
    let room = home.public_room(&bob).await;
    reports.room(&alice, &room, "a bad place").await.unwrap();
    reports.user(&alice, &bob, "a bad man").await.unwrap();
    reports.user(&bob, &bob, "").await.unwrap();
    assert_eq!(numbers(&reports.list(0, 10, false).await.unwrap()), [1, 2, 3]);
    assert_eq!(numbers(&reports.list(1, 1, false).await.unwrap()), [2]);
    reports.close(2, "warned").await.unwrap();
    assert!(matches!(reports.close(2, "again").await, Err(ReportError::Closed)));
    assert!(matches!(reports.close(9, "").await, Err(ReportError::NoReport)));
    assert_eq!(numbers(&reports.list(0, 10, false).await.unwrap()), [1, 3]);
    assert_eq!(numbers(&reports.list(0, 10, true).await.unwrap()), [1, 2, 3]);
    let (closed, _) = reports.show(2).await.unwrap();
    assert!(closed.closed.is_some_and(|closed| closed.note == "warned") && closed.reason == "a bad man");
    // What is closed can be reported anew.
    reports.user(&alice, &bob, "again").await.unwrap();
    assert_eq!(numbers(&reports.list(0, 10, false).await.unwrap()), [1, 3, 4]);
}

#[tokio::test]
async fn the_same_again_replaces_and_too_many_are_refused() {
    let home = Fixture::new();
    let (reports, alice) = (reports(&home), user("alice"));
    let most = home.base.config.limits.reports_per_user;
    for number in 0..most {
        let target = OwnedUserId::try_from(format!("@{number}:elsewhere.test")).unwrap();
        reports.user(&alice, &target, "first").await.unwrap();
    }
    let one_more = user_id!("@more:elsewhere.test");
    assert!(matches!(reports.user(&alice, one_more, "").await, Err(ReportError::TooMany)));
    reports.user(&alice, user_id!("@0:elsewhere.test"), "second").await.unwrap();
    let (first, _) = reports.show(1).await.unwrap();
    assert!(first.reason == "second");
    reports.user(&user("bob"), one_more, "").await.unwrap();
    reports.close(1, "").await.unwrap();
    reports.user(&alice, one_more, "").await.unwrap();
}

#[tokio::test]
async fn an_event_is_reported_by_who_is_in_its_room_and_sees_it() {
    let home = Fixture::new();
    let (reports, alice, bob, carol) = (reports(&home), user("alice"), user("bob"), user("carol"));
    let room = home.public_room(&bob).await;
    home.set(&room, &bob, StateEventType::RoomHistoryVisibility, json!({ "history_visibility": "joined" })).await;
    let before = home.say(&room, &bob, "unseen").await;
    home.join(&room, &alice).await;
    let said = home.say(&room, &bob, "seen").await;
    reports.event(&alice, &room, &said, "rude").await.unwrap();
    for (who, room, event) in [
        (&carol, &*room, &*said),
        (&alice, &*room, &*before),
        (&alice, &*room, ruma::event_id!("$nothing")),
        (&alice, room_id!("!nowhere:agency.test"), &*said),
    ] {
        let refused = reports.event(who, room, event, "").await;
        assert!(matches!(refused, Err(ReportError::NotFound)), "{who} {room} {event}");
    }
    let (report, text) = reports.show(1).await.unwrap();
    let wanted = Subject::Event { room, event: said, sender: bob };
    assert_eq!(report.subject, wanted);
    assert!(text.unwrap().get().contains("seen"));
    assert_eq!(reports.list(0, 10, false).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_does_not_exist_and_long_reasons_leave_nothing() {
    let home = Fixture::new();
    let (reports, alice) = (reports(&home), user("alice"));
    let nowhere = room_id!("!nowhere:agency.test");
    assert!(matches!(reports.room(&alice, nowhere, "").await, Err(ReportError::NotFound)));
    assert!(matches!(reports.user(&alice, &user("nobody"), "").await, Err(ReportError::NotFound)));
    let stranger = user_id!("@a:elsewhere.test");
    let (limit, beyond) = ("x".repeat(MAX_REASON_BYTES), "x".repeat(MAX_REASON_BYTES + 1));
    assert!(matches!(reports.user(&alice, stranger, &beyond).await, Err(ReportError::TooLong)));
    assert!(reports.list(0, 10, true).await.unwrap().is_empty());
    reports.user(&alice, stranger, &limit).await.unwrap();
    assert!(matches!(reports.close(1, &beyond).await, Err(ReportError::TooLong)));
}
