//! How much of rooms one answer has.

use std::time::Duration;

use ruma::{api::client::filter::FilterDefinition, presence::PresenceState};
use serde_json::json;

use super::*;
use crate::testing::{Fixture, user};

#[tokio::test]
async fn the_timelines_of_an_answer_have_so_many_bytes_and_each_room_one_event() {
    let server = Fixture::new();
    let alice = user("alice");
    let id = server.room(&alice).await;
    for body in ["one", "two", "three"] {
        server.say(&id, &alice, body).await;
    }
    let room = server.rooms.find(&id).await.unwrap().unwrap();
    let member = room.membership(&alice).await.unwrap().unwrap();
    let filter: FilterDefinition = serde_json::from_value(json!({})).unwrap();
    let request = Request {
        user: alice.clone(),
        device: "PHONE".into(),
        filter,
        since: None,
        full_state: false,
        timeout: Duration::ZERO,
        use_state_after: false,
        set_presence: PresenceState::Offline,
    };
    let counter = Counter::default();
    let own = Own { reader: counter.reader(&room.view, &alice).await.unwrap(), ignored: BTreeSet::new() };
    let span = Span { after: None, before: RoomView::place_after(room.view.position()), always: None };
    // How many events a timeline has that is made behind so many bytes, and how many bytes there are then.
    let behind = async |bytes: usize| {
        let asked = Asked::new(&request, None, server.base.now(), 1000, (&counter, &own));
        asked.shown.store(bytes, Ordering::Relaxed);
        let timeline = asked.timeline(&room, &mut asked.viewer(&room, &member), &span).await.unwrap();
        (timeline.events.len(), asked.shown.load(Ordering::Relaxed))
    };
    let newest = behind(bounds::MAX_SYNC_BYTES).await.1 - bounds::MAX_SYNC_BYTES;
    assert!(newest > 100, "{newest}: the bytes are counted");
    for (left, events) in [(0, 1), (newest, 1), (newest + 1, 2)] {
        assert_eq!(behind(bounds::MAX_SYNC_BYTES - left).await.0, events, "{left} left");
    }
    assert_eq!(behind(bounds::MAX_SYNC_BYTES + newest).await.0, 1);
    assert!(behind(0).await.0 > 5);
}
