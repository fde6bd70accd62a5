//! Pages of notifications over several rooms.

use ruma::{OwnedUserId, events::StateEventType};
use serde_json::json;

use super::*;
use crate::{
    rooms::send::Message,
    testing::{Fixture, object, user},
};

async fn list(fixture: &Fixture, user: &OwnedUserId, from: Option<&str>, limit: usize, highlights: bool) -> Page {
    let query = Query { user, device: "D".into(), from, limit, highlights };
    page(&fixture.base, &query).await.unwrap()
}

fn ids(page: &Page) -> Vec<String> {
    let id = |event: &RawValue| {
        let event: serde_json::Value = serde_json::from_str(event.get()).unwrap();
        event["event_id"].as_str().unwrap().to_owned()
    };
    page.notifications.iter().map(|notification| id(&notification.event)).collect()
}

#[tokio::test]
async fn several_rooms_are_one_list() {
    let fixture = Fixture::new();
    let (ann, ben) = (user("ann"), user("ben"));
    let rooms = [fixture.public_room(&ann).await, fixture.public_room(&ann).await];
    fixture.say(&rooms[0], &ann, "before ben came").await;
    let elsewhere = fixture.public_room(&ann).await;
    for room in &rooms {
        fixture.join(room, &ben).await;
    }
    let mut said = Vec::new();
    for n in 0..40 {
        said.insert(0, fixture.say(&rooms[n % 3 % 2], &ann, "hello").await.to_string());
        fixture.say(&rooms[0], &ben, "own").await;
        fixture.say(&elsewhere, &ann, "not ben's").await;
    }
    fixture.set(&rooms[0], &ann, StateEventType::RoomTopic, json!({ "topic": "silent" })).await;
    assert_eq!(ids(&list(&fixture, &ben, None, 100, false).await), said);
    let (mut paged, mut from, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = list(&fixture, &ben, from.as_deref(), 7, false).await;
        paged.extend(ids(&page));
        pages += 1;
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(paged, said);
    assert!(pages >= 6, "{pages}");
    assert!(matches!(
        page(&fixture.base, &Query { user: &ben, device: "D".into(), from: Some("x"), limit: 1, highlights: false })
            .await,
        Err(NotificationsError::BadToken(_))
    ));
}

#[tokio::test]
async fn highlights_and_what_is_read() {
    let fixture = Fixture::new();
    let (ann, ben) = (user("ann"), user("ben"));
    let room = fixture.public_room(&ann).await;
    fixture.join(&room, &ben).await;
    let plain = fixture.say(&room, &ann, "plain").await.to_string();
    fixture.say(&room, &ben, "which reads what came before").await;
    let content = json!({ "msgtype": "m.text", "body": "x", "m.mentions": { "user_ids": [ben] } });
    let message =
        Message { sender: ann.clone(), kind: "m.room.message".into(), content: object(content), transaction: None };
    let named = fixture.rooms.submit(&room, message).await.unwrap().event_id.to_string();
    let all = list(&fixture, &ben, None, 10, false).await;
    assert_eq!(ids(&all), [named.clone(), plain]);
    let read: Vec<_> = all.notifications.iter().map(|notification| notification.read).collect();
    assert_eq!(read, [false, true]);
    let highlights = list(&fixture, &ben, None, 10, true).await;
    assert_eq!(ids(&highlights), [named]);
    let actions = serde_json::to_value(&highlights.notifications[0].actions).unwrap();
    let expected = json!(["notify", { "set_tweak": "sound", "value": "default" }, { "set_tweak": "highlight" }]);
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn a_page_ends_where_its_events_are_many_bytes() {
    let fixture = Fixture::new();
    let (ann, ben) = (user("ann"), user("ben"));
    let room = fixture.public_room(&ann).await;
    fixture.join(&room, &ben).await;
    let (mut said, body) = (Vec::new(), "x".repeat(60_000));
    for _ in 0..80 {
        said.insert(0, fixture.say(&room, &ann, &body).await.to_string());
    }
    let first = list(&fixture, &ben, None, 100, false).await;
    let most = LOOKED_AT_BYTES / body.len() + 1;
    assert!(first.notifications.len() <= most && most < said.len(), "{}", first.notifications.len());
    let second = list(&fixture, &ben, first.next.as_deref(), 100, false).await;
    assert_eq!([ids(&first), ids(&second)].concat(), said);
}
