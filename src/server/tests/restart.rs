//! What clients are told after a start of what was only in memory.

use std::time::Duration;

use depesche_store::faults::{Fault as Injected, Faults};
use ruma::{events::AnySyncEphemeralRoomEvent, serde::Raw};
use tokio::time::advance;

use super::*;

/// Who types in a room, by an answer; `None` if it says nothing of it.
fn typists(answer: &v3::Response, room: &RoomId) -> Option<Value> {
    let json = |event: &Raw<AnySyncEphemeralRoomEvent>| event.deserialize_as_unchecked::<Value>().unwrap();
    let mut events = answer.rooms.join.get(room)?.ephemeral.events.iter().map(json);
    Some(events.find(|event| event["type"] == "m.typing")?["content"]["user_ids"].clone())
}

/// Who is how, by an answer.
fn presence(answer: &v3::Response) -> Vec<(String, String)> {
    let json = |event: &Raw<_>| event.deserialize_as_unchecked::<Value>().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let events = answer.presence.events.iter().map(json);
    events.map(|event| (text(&event["sender"]), text(&event["content"]["presence"]))).collect()
}

#[tokio::test(start_paused = true)]
async fn who_typed_and_who_was_there_is_so_no_more() {
    let engine = Memory::new(Options::default());
    let server = start(Arc::new(engine.clone())).await;
    let (alice, bob, carol) =
        (account(&server, "alice").await, account(&server, "bob").await, account(&server, "carol").await);
    let room = public_room(&server, &alice, "room").await;
    let quiet = public_room(&server, &alice, "quiet").await;
    for user in [&bob, &carol] {
        change(&server, &room, user, user, Action::Join).await.unwrap();
        change(&server, &quiet, user, user, Action::Join).await.unwrap();
    }
    let long = Some(Duration::from_mins(1));
    for room in [&room, &quiet] {
        server.typing.set(&alice, room, long).await.unwrap();
    }
    server.typing.set(&alice, &quiet, None).await.unwrap();
    for user in [&alice, &carol] {
        server.presence.set(user, &PresenceState::Online, None).await.unwrap();
    }
    let answer = sync(&server, &bob, None).await;
    assert_eq!(typists(&answer, &room), Some(json!([alice])));
    let online = |user: &UserId| (user.to_string(), "online".to_owned());
    assert_eq!(presence(&answer), [online(&alice), online(&carol)]);
    drop(server);

    let server = start(Arc::new(engine.reopen())).await;
    server.presence.set(&carol, &PresenceState::Online, None).await.unwrap();
    let answer = sync(&server, &bob, Some(answer.next_batch)).await;
    assert_eq!(typists(&answer, &room), Some(json!([])));
    assert_eq!(answer.rooms.join.len(), 1, "where nobody typed there is nothing to tell");
    assert_eq!(presence(&answer), [online(&carol)]);
    // Carol is there; of alice nothing was heard.
    advance(Duration::from_secs(20)).await;
    server.presence.set(&carol, &PresenceState::Online, None).await.unwrap();
    let answer = sync(&server, &bob, Some(answer.next_batch)).await;
    assert_eq!(presence(&answer), []);
    advance(Duration::from_secs(15)).await;
    let mut news = Vec::new();
    let mut since = answer.next_batch;
    for _ in 0..100 {
        let answer = sync(&server, &bob, Some(since)).await;
        since = answer.next_batch.clone();
        news.extend(presence(&answer));
        tokio::task::yield_now().await;
    }
    assert_eq!(news, [(alice.to_string(), "offline".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_write_starts_and_tells_later_who_typed() {
    let engine = Memory::new(Options::default());
    let server = start(Arc::new(engine.clone())).await;
    let [alice, bob] = [account(&server, "alice").await, account(&server, "bob").await];
    let room = public_room(&server, &alice, "room").await;
    change(&server, &room, &bob, &bob, Action::Join).await.unwrap();
    server.typing.set(&alice, &room, Some(Duration::from_mins(1))).await.unwrap();
    server.accounts.begin_deactivation(&bob, false).await.unwrap();
    let since = sync(&server, &alice, None).await.next_batch;
    drop(server);

    let faults = Faults::new(engine.reopen());
    let control = faults.control();
    control.next([Injected::Failed; 8]);
    let server = start(Arc::new(faults)).await;
    let answer = sync(&server, &alice, Some(since.clone())).await;
    assert_eq!(typists(&answer, &room), None);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(control.left(), 0);
    let answer = sync(&server, &alice, Some(since)).await;
    assert_eq!(typists(&answer, &room), Some(json!([])));
    assert!(!view(&server, &room).await.is_joined(&bob).await.unwrap());
    assert_eq!(server.accounts.unfinished(None).await.unwrap(), []);
}
