//! Stored filters. Client-server API, "Filtering".

use depesche_spec_tests::prelude::*;

#[tokio::test]
async fn a_stored_filter_is_given_back() {
    let alice = shared().user("alice").await;
    // The example of the specification.
    let filter = json!({
        "event_fields": ["type", "content", "sender"],
        "event_format": "client",
        "presence": { "not_senders": ["@alice:example.com"], "types": ["m.presence"] },
        "room": {
            "ephemeral": {
                "not_rooms": ["!726s6s6q:example.com"], "not_senders": ["@spam:example.com"],
                "types": ["m.receipt", "m.typing"],
            },
            "state": { "not_rooms": ["!726s6s6q:example.com"], "types": ["m.room.*"] },
            "timeline": {
                "limit": 10, "not_rooms": ["!726s6s6q:example.com"], "not_senders": ["@spam:example.com"],
                "types": ["m.room.message"],
            },
        },
    });
    let stored = alice.post("/_matrix/client/v3/user/{userId}/filter", &[&alice.id]).json(filter.clone()).await.ok();
    let id = stored["filter_id"].as_str().expect("a filter id");
    assert!(!id.starts_with('{'), "an id may not look like an inline filter: {id}");
    let answer = alice.get("/_matrix/client/v3/user/{userId}/filter/{filterId}", &[&alice.id, id]).await.ok();
    assert_eq!(answer, filter);
}

#[tokio::test]
async fn the_filters_of_others_are_not_shown() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let body = json!({ "room": {} });
    let stored = alice.post("/_matrix/client/v3/user/{userId}/filter", &[&alice.id]).json(body.clone()).await.ok();
    let id = stored["filter_id"].as_str().expect("a filter id");
    let answer = bob.get("/_matrix/client/v3/user/{userId}/filter/{filterId}", &[&alice.id, id]).await;
    answer.error(403, "M_FORBIDDEN");
    let answer = bob.post("/_matrix/client/v3/user/{userId}/filter", &[&alice.id]).json(body).await;
    answer.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_unknown_filter_is_not_found() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/user/{userId}/filter/{filterId}", &[&alice.id, "4711"]).await;
    answer.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_filter_of_the_wrong_shape_is_refused() {
    let alice = shared().user("alice").await;
    for filter in [json!({ "room": "all" }), json!({ "room": { "timeline": { "limit": "many" } } })] {
        let answer = alice.post("/_matrix/client/v3/user/{userId}/filter", &[&alice.id]).json(filter).await;
        differs(
            "client-server-api#filtering",
            || drop(answer.clone().error_in(400, &["M_BAD_JSON", "M_INVALID_PARAM", "M_UNKNOWN"])),
            || drop(answer.clone().error_in(500, &["M_UNKNOWN"])),
        );
    }
}

#[tokio::test]
async fn a_stored_filter_works_in_a_sync() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for text in ["one", "two", "three"] {
        alice.say(&room, text).await;
    }
    let body = json!({ "room": { "timeline": { "limit": 1 } } });
    let stored = alice.post("/_matrix/client/v3/user/{userId}/filter", &[&alice.id]).json(body).await.ok();
    let id = stored["filter_id"].as_str().expect("a filter id");
    let sync = alice.syncer().param("filter", id).next().await;
    assert_eq!(RoomSync::joined(&sync, &room).bodies(), ["three"]);
}

#[tokio::test]
async fn a_sync_with_an_unknown_filter_is_refused() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/sync", &[]).query(&[("filter", "4711")]).await;
    answer.error_in(400, &["M_INVALID_PARAM", "M_UNKNOWN", "M_NOT_FOUND"]);
}

#[tokio::test]
async fn an_unknown_event_format_is_refused() {
    let alice = shared().user("alice").await;
    let filter = json!({ "event_format": "org.example.other" });
    let answer = alice.post("/_matrix/client/v3/user/{userId}/filter", &[&alice.id]).json(filter).await;
    answer.error_in(400, &["M_BAD_JSON", "M_UNKNOWN"]);
}
