//! Reports of rooms, events and users. Client-server API, "Reporting Content".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;

#[tokio::test]
async fn an_event_is_reported_by_who_is_in_its_room() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = bob.public_room().await;
    alice.join(&room).await;
    let said = bob.say(&room, "something rude").await;
    let path = "/_matrix/client/v3/rooms/{roomId}/report/{eventId}";
    let answer = alice.post(path, &[&room, &said]).json(json!({ "reason": "rude" })).await.ok();
    assert_eq!(answer, json!({}));
    assert_eq!(alice.post(path, &[&room, &said]).json(json!({})).await.ok(), json!({}));
    let answer = alice.post(path, &[&room, "$nothing"]).json(json!({ "reason": "rude" })).await;
    answer.error(404, "M_NOT_FOUND");
    let answer = alice.post(path, &["!nowhere:depesche.test", &said]).json(json!({ "reason": "rude" })).await;
    answer.error(404, "M_NOT_FOUND");
    alice.post(path, &[&room, &said]).json(json!({ "reason": 7 })).await.error(400, "M_BAD_JSON");
}

#[tokio::test]
async fn an_event_is_not_reported_by_who_is_not_in_its_room() {
    let (bob, carol) = (shared().user("bob").await, shared().user("carol").await);
    let room = bob.create_room(json!({ "preset": "private_chat" })).await;
    let said = bob.say(&room, "something rude").await;
    let request = carol.post("/_matrix/client/v3/rooms/{roomId}/report/{eventId}", &[&room, &said]);
    request.json(json!({ "reason": "rude" })).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_room_is_reported_also_from_outside() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = bob.create_room(json!({ "preset": "private_chat" })).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/report";
    assert_eq!(alice.post(path, &[&room]).json(json!({ "reason": "bad" })).await.ok(), json!({}));
    assert_eq!(bob.post(path, &[&room]).json(json!({ "reason": "" })).await.ok(), json!({}));
    let answer = alice.post(path, &[&room]).json(json!({})).await;
    differs(
        "client-server-api#post_matrixclientv3roomsroomidreport",
        || drop(answer.clone().error(400, "M_BAD_JSON")),
        || drop(answer.clone().error(400, "M_MISSING_PARAM")),
    );
    // A server may tell whether the room exists, or keep it to itself.
    let answer = alice.post(path, &["!nowhere:depesche.test"]).json(json!({ "reason": "bad" })).await;
    differs(
        "client-server-api#post_matrixclientv3roomsroomidreport",
        || assert_eq!(answer.clone().ok(), json!({})),
        || drop(answer.clone().error(404, "M_NOT_FOUND")),
    );
}

#[tokio::test]
async fn a_user_is_reported_also_by_strangers() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let path = "/_matrix/client/v3/users/{userId}/report";
    assert_eq!(alice.post(path, &[&bob.id]).json(json!({ "reason": "rude" })).await.ok(), json!({}));
    let answer = alice.post(path, &[&bob.id]).json(json!({})).await;
    differs(
        "client-server-api#post_matrixclientv3usersuseridreport",
        || drop(answer.clone().error(400, "M_BAD_JSON")),
        || drop(answer.clone().error(400, "M_MISSING_PARAM")),
    );
    // Nobody learns by it who is there.
    let nobody = bob.id.replacen('@', "@nobody-", 1);
    assert_eq!(alice.post(path, &[&nobody]).json(json!({ "reason": "rude" })).await.ok(), json!({}));
}

#[tokio::test]
async fn reports_need_a_token() {
    let client = shared().client();
    let why = json!({ "reason": "rude" });
    let request = client.post("/_matrix/client/v3/users/{userId}/report", &["@a:depesche.test"]);
    request.json(why.clone()).await.error(401, "M_MISSING_TOKEN");
    let request = client.post("/_matrix/client/v3/rooms/{roomId}/report", &["!a:depesche.test"]);
    request.json(why.clone()).await.error(401, "M_MISSING_TOKEN");
    let request = client.post("/_matrix/client/v3/rooms/{roomId}/report/{eventId}", &["!a:depesche.test", "$a"]);
    request.json(why).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn the_operator_finds_reports_and_closes_them() {
    let server = Server::start(Options::default());
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = bob.public_room().await;
    alice.join(&room).await;
    let said = bob.say(&room, "something rude").await;
    let request = alice.post("/_matrix/client/v3/rooms/{roomId}/report/{eventId}", &[&room, &said]);
    request.json(json!({ "reason": "words-of-a-report" })).await.ok();
    let request = alice.post("/_matrix/client/v3/rooms/{roomId}/report", &[&room]);
    request.json(json!({ "reason": "of a room" })).await.ok();
    let request = alice.post("/_matrix/client/v3/users/{userId}/report", &[&bob.id]);
    request.json(json!({ "reason": "of a user" })).await.ok();
    if target() == Target::Depesche {
        let waiting = server.depesche_json(&["report", "list"]);
        let waiting = waiting["reports"].as_array().expect("reports");
        let shown = waiting.iter().map(|report| json!([report["kind"], report["reason"]])).collect::<Vec<_>>();
        let wanted = [["event", "words-of-a-report"], ["room", "of a room"], ["user", "of a user"]];
        assert_eq!(json!(shown), json!(wanted));
        assert_eq!(waiting[0]["event_id"], said.as_str());
        assert_eq!((&waiting[1]["room_id"], &waiting[2]["user_id"]), (&json!(room), &json!(bob.id)));
        let shown = server.depesche_json(&["report", "show", "1"]);
        assert_eq!((&shown["reason"], &shown["reporter"]), (&json!("words-of-a-report"), &json!(alice.id)));
        assert_eq!(shown["event"]["content"]["body"], "something rude");
        server.depesche(&["report", "close", "1", "--note", "warned"]);
        server.depesche(&["report", "close", "2"]);
        server.depesche(&["report", "close", "3"]);
        assert_eq!(server.depesche_json(&["report", "list"])["reports"], json!([]));
        assert_eq!(server.depesche_json(&["report", "list", "--all"])["reports"][0]["note"], "warned");
        assert!(!server.log().contains("words-of-a-report"), "the words of a report are in the log");
    }
}
