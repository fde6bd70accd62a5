//! Events by their time. Client-server API, "Room participation", `timestamp_to_event`.

use depesche_spec_tests::prelude::*;

const PATH: &str = "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event";

async fn time(user: &User, room: &str, event: &str) -> u64 {
    let event = user.get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[room, event]).await.ok();
    event["origin_server_ts"].as_u64().expect("a time")
}

/// Says something at a later millisecond than what was said before.
async fn say_later(user: &User, room: &str, text: &str, after: u64) -> (String, u64) {
    loop {
        let id = user.say(room, text).await;
        let at = time(user, room, &id).await;
        if at > after {
            return (id, at);
        }
    }
}

#[tokio::test]
async fn the_closest_event_in_a_direction() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let (first, at) = say_later(&alice, &room, "one", 0).await;
    let (second, later) = say_later(&alice, &room, "two", at).await;
    let near = async |ts: u64, dir: &str| {
        let path = "/_matrix/client/v1/rooms/{roomId}/timestamp_to_event";
        alice.get(path, &[&room]).query(&[("ts", &ts.to_string()), ("dir", dir)]).await
    };
    let found = near(later, "f").await.ok();
    assert_eq!(found, json!({ "event_id": second, "origin_server_ts": later }));
    assert_eq!(near(later, "b").await.ok()["event_id"], json!(second));
    assert_eq!(near(later - 1, "f").await.ok()["event_id"], json!(second));
    let before = near(later - 1, "b").await.ok();
    assert!(before["origin_server_ts"].as_u64().is_some_and(|ts| ts >= at && ts < later), "{before}");
    assert_eq!(near(at, "b").await.ok()["origin_server_ts"], at, "{first}");
    near(later + 1, "f").await.error(404, "M_NOT_FOUND");
    near(1, "b").await.error(404, "M_NOT_FOUND");
    let begin = near(1, "f").await.ok();
    let create = alice
        .get("/_matrix/client/v3/rooms/{roomId}/event/{eventId}", &[&room, begin["event_id"].as_str().expect("an id")]);
    assert_eq!(create.await.ok()["type"], "m.room.create");
}

#[tokio::test]
async fn a_time_needs_a_direction_and_a_number() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    for query in [vec![("dir", "f")], vec![("ts", "1"), ("dir", "x")], vec![("ts", "soon"), ("dir", "f")]] {
        let answer = alice.get(PATH, &[&room]).query(&query).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
    bob.get(PATH, &[&room]).query(&[("ts", "1"), ("dir", "f")]).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_time_without_a_direction_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let answer = alice.get(PATH, &[&room]).query(&[("ts", "1")]).await;
    differs(
        "client-server-api#get_matrixclientv1roomsroomidtimestamp_to_event",
        || assert_eq!(answer.status, 400, "{answer}"),
        || assert_eq!(answer.status, 200, "{answer}"),
    );
}
