//! Receipts and read markers. Client-server API, "Receipts" and "Read and unread markers".

use depesche_spec_tests::prelude::*;

const RECEIPT: &str = "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}";

/// A room of two.
async fn pair() -> (User, User, String) {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    (alice, bob, room)
}

async fn read(user: &User, room: &str, kind: &str, event: &str) {
    user.post("/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", &[room, kind, event])
        .json(json!({}))
        .await
        .ok();
}

async fn read_in(user: &User, room: &str, kind: &str, event: &str, thread: &str) {
    let body = json!({ "thread_id": thread });
    user.post(RECEIPT, &[room, kind, event]).json(body).await.ok();
}

/// A message in a thread.
async fn answer(user: &User, room: &str, root: &str) -> String {
    let thread = json!({ "rel_type": "m.thread", "event_id": root });
    let content = json!({ "msgtype": "m.text", "body": "answer", "m.relates_to": thread });
    user.send(room, "m.room.message", content).await
}

/// Event, type, user and thread of the receipts in an answer, sorted.
fn receipts(sync: &Value, room: &str) -> Vec<String> {
    let mut found = Vec::new();
    let events = RoomSync::joined(sync, room).events("ephemeral").iter();
    for event in events.filter(|event| event["type"] == "m.receipt") {
        for (id, types) in event["content"].as_object().expect("an object") {
            for (kind, users) in types.as_object().expect("an object") {
                for (user, receipt) in users.as_object().expect("an object") {
                    assert!(receipt["ts"].is_u64(), "{event}");
                    let thread = receipt.get("thread_id").map_or("-", |thread| thread.as_str().expect("a string"));
                    found.push(format!("{id} {kind} {user} {thread}"));
                }
            }
        }
    }
    found.sort_unstable();
    found
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort_unstable();
    lines
}

/// Asks until an answer has a receipt.
async fn next_receipts(syncer: &mut Syncer, room: &str) -> Vec<String> {
    receipts(&syncer.until(|sync| !receipts(sync, room).is_empty()).await, room)
}

/// The event of the fully read marker in an answer.
fn marker<'a>(sync: &'a Value, room: &str) -> Option<&'a str> {
    let mut data = RoomSync::joined(sync, room).events("account_data").iter();
    data.find(|event| event["type"] == "m.fully_read")?["content"]["event_id"].as_str()
}

#[tokio::test]
async fn a_receipt_is_told_to_the_room() {
    let (alice, bob, room) = pair().await;
    let said = alice.say(&room, "read me").await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    read(&bob, &room, "m.read", &said).await;
    assert_eq!(next_receipts(&mut syncer, &room).await, [format!("{said} m.read {} -", bob.id)]);
    alice.say(&room, "another").await;
    let sync = syncer.until(|sync| !RoomSync::joined(sync, &room).timeline().is_empty()).await;
    assert_eq!(receipts(&sync, &room), [""; 0], "once is enough");
}

#[tokio::test]
async fn a_private_receipt_is_told_to_its_owner_alone() {
    let (alice, bob, room) = pair().await;
    let said = alice.say(&room, "read me").await;
    let (mut others, mut own) = (alice.syncer(), bob.another_device().await.syncer());
    others.next().await;
    own.next().await;
    read(&bob, &room, "m.read.private", &said).await;
    let expected = [format!("{said} m.read.private {} -", bob.id)];
    assert_eq!(next_receipts(&mut own, &room).await, expected);
    alice.say(&room, "another").await;
    let sync = others.until(|sync| !RoomSync::joined(sync, &room).timeline().is_empty()).await;
    assert_eq!(receipts(&sync, &room), [""; 0]);
    assert_eq!(receipts(&alice.syncer().next().await, &room), [""; 0]);
    assert_eq!(receipts(&bob.syncer().next().await, &room), expected);
}

#[tokio::test]
async fn a_first_answer_has_where_everybody_stands() {
    let (alice, bob, room) = pair().await;
    let (one, two) = (alice.say(&room, "1").await, alice.say(&room, "2").await);
    read(&bob, &room, "m.read", &one).await;
    read(&bob, &room, "m.read", &two).await;
    read(&alice, &room, "m.read", &one).await;
    let expected = [format!("{one} m.read {} -", alice.id), format!("{two} m.read {} -", bob.id)];
    assert_eq!(receipts(&alice.syncer().next().await, &room), sorted(expected.to_vec()));
}

#[tokio::test]
async fn a_receipt_moves_forward_only() {
    let (alice, bob, room) = pair().await;
    let (one, two, three) = (alice.say(&room, "1").await, alice.say(&room, "2").await, alice.say(&room, "3").await);
    let mut syncer = alice.syncer();
    syncer.next().await;
    read(&bob, &room, "m.read", &two).await;
    next_receipts(&mut syncer, &room).await;
    read(&bob, &room, "m.read", &one).await;
    read(&bob, &room, "m.read", &two).await;
    read(&bob, &room, "m.read", &three).await;
    assert_eq!(next_receipts(&mut syncer, &room).await, [format!("{three} m.read {} -", bob.id)]);
    // The private one may lag behind, and be told.
    let mut own = bob.syncer();
    own.next().await;
    read(&bob, &room, "m.read.private", &one).await;
    assert_eq!(next_receipts(&mut own, &room).await, [format!("{one} m.read.private {} -", bob.id)]);
}

#[tokio::test]
async fn receipts_of_threads_stand_beside_each_other() {
    let (alice, bob, room) = pair().await;
    let root = alice.say(&room, "root").await;
    let inside = answer(&alice, &room, &root).await;
    let last = alice.say(&room, "last").await;
    read(&bob, &room, "m.read", &root).await;
    read_in(&bob, &room, "m.read", &last, "main").await;
    read_in(&bob, &room, "m.read", &inside, &root).await;
    let id = &bob.id;
    let expected =
        [format!("{root} m.read {id} -"), format!("{last} m.read {id} main"), format!("{inside} m.read {id} {root}")];
    assert_eq!(receipts(&alice.syncer().next().await, &room), sorted(expected.to_vec()));
}

#[tokio::test]
async fn one_event_may_have_the_receipts_of_several_threads() {
    let (alice, bob, room) = pair().await;
    let said = alice.say(&room, "said").await;
    read(&bob, &room, "m.read", &said).await;
    read_in(&bob, &room, "m.read", &said, "main").await;
    let id = &bob.id;
    let (all, main) = (format!("{said} m.read {id} -"), format!("{said} m.read {id} main"));
    let told = receipts(&alice.syncer().next().await, &room);
    // Synapse tells one of two receipts on the same event.
    differs(
        "client-server-api#receipts",
        || assert_eq!(told, [all.as_str(), &main]),
        || assert_eq!(told, [all.as_str()]),
    );
}

#[tokio::test]
async fn what_is_about_an_event_of_a_thread_is_in_the_thread() {
    let (alice, bob, room) = pair().await;
    let root = alice.say(&room, "root").await;
    let inside = answer(&alice, &room, &root).await;
    let about = |event: &str| json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": event, "key": "+" } });
    let reaction = alice.send(&room, "m.reaction", about(&inside)).await;
    let on_root = alice.send(&room, "m.reaction", about(&root)).await;
    read_in(&bob, &room, "m.read", &reaction, &root).await;
    read_in(&bob, &room, "m.read", &on_root, "main").await;
    let wrong = json!({ "thread_id": "main" });
    bob.post(RECEIPT, &[&room, "m.read", &reaction]).json(wrong).await.error(400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn a_thread_must_fit_the_event_and_the_type() {
    let (alice, bob, room) = pair().await;
    let root = alice.say(&room, "root").await;
    let inside = answer(&alice, &room, &root).await;
    let beside = alice.say(&room, "beside").await;
    for (kind, event, thread) in [
        ("m.read", &beside, json!("")),
        ("m.read", &beside, json!(7)),
        ("m.read", &beside, json!(null)),
        ("m.read.private", &beside, json!(["main"])),
        ("m.read", &beside, json!("nonsense")),
        ("m.read", &inside, json!("main")),
        ("m.read", &beside, json!(root)),
        ("m.fully_read", &beside, json!("main")),
    ] {
        let body = json!({ "thread_id": thread });
        bob.post(RECEIPT, &[&room, kind, event]).json(body).await.error(400, "M_INVALID_PARAM");
    }
    assert_eq!(receipts(&alice.syncer().next().await, &room), [""; 0]);
}

#[tokio::test]
async fn receipts_of_other_types_are_refused() {
    let (alice, bob, room) = pair().await;
    let said = alice.say(&room, "said").await;
    for kind in ["m.seen", "org.example.read"] {
        let answer = bob.post(RECEIPT, &[&room, kind, &said]).json(json!({})).await;
        answer.error_in(400, &["M_INVALID_PARAM", "M_UNKNOWN"]);
    }
}

#[tokio::test]
async fn a_receipt_needs_a_token_and_membership() {
    let (alice, _, room) = pair().await;
    let said = alice.say(&room, "said").await;
    let stranger = shared().user("stranger").await;
    stranger.post(RECEIPT, &[&room, "m.read", &said]).json(json!({})).await.error(403, "M_FORBIDDEN");
    let nobody = alice.without_token();
    nobody.post(RECEIPT, &[&room, "m.read", &said]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_filter_leaves_receipts_out() {
    let (alice, bob, room) = pair().await;
    let said = alice.say(&room, "said").await;
    read(&bob, &room, "m.read", &said).await;
    for ephemeral in [json!({ "not_types": ["m.receipt"] }), json!({ "types": ["m.typing"] }), json!({ "types": [] })] {
        let sync = alice.syncer().filter(&json!({ "room": { "ephemeral": ephemeral } })).next().await;
        assert_eq!(receipts(&sync, &room), [""; 0], "{ephemeral}");
    }
    let sync = alice.syncer().filter(&json!({ "room": { "ephemeral": { "types": ["m.rec*"] } } })).next().await;
    assert_eq!(receipts(&sync, &room).len(), 1);
}

#[tokio::test]
async fn the_fully_read_marker_is_account_data_of_the_room() {
    let (alice, bob, room) = pair().await;
    let said = alice.say(&room, "said").await;
    let mut syncer = bob.syncer();
    assert_eq!(marker(&syncer.next().await, &room), None);
    read(&bob, &room, "m.fully_read", &said).await;
    let sync = syncer.until(|sync| marker(sync, &room).is_some()).await;
    assert_eq!(marker(&sync, &room), Some(said.as_str()));
    assert_eq!(receipts(&sync, &room), [""; 0], "it is no receipt");
    let path = "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}";
    let stored = bob.get(path, &[&bob.id, &room, "m.fully_read"]).await.ok();
    assert_eq!(stored, json!({ "event_id": said }));
    assert_eq!(marker(&alice.syncer().next().await, &room), None, "nobody else's");
}

#[tokio::test]
async fn read_markers_move_all_at_once() {
    let (alice, bob, room) = pair().await;
    let events = [alice.say(&room, "1").await, alice.say(&room, "2").await, alice.say(&room, "3").await];
    let body = json!({ "m.fully_read": events[0], "m.read": events[1], "m.read.private": events[2] });
    bob.post("/_matrix/client/v3/rooms/{roomId}/read_markers", &[&room]).json(body).await.ok();
    let sync = bob.syncer().next().await;
    assert_eq!(marker(&sync, &room), Some(events[0].as_str()));
    let id = &bob.id;
    let expected = [format!("{} m.read {id} -", events[1]), format!("{} m.read.private {id} -", events[2])];
    assert_eq!(receipts(&sync, &room), sorted(expected.to_vec()));
}

#[tokio::test]
async fn read_markers_may_move_one_or_none() {
    let (alice, bob, room) = pair().await;
    let said = alice.say(&room, "1").await;
    let path = "/_matrix/client/v3/rooms/{roomId}/read_markers";
    bob.post(path, &[&room]).json(json!({})).await.ok();
    bob.post(path, &[&room]).json(json!({ "m.read": said })).await.ok();
    let sync = bob.syncer().next().await;
    assert_eq!((marker(&sync, &room), receipts(&sync, &room).len()), (None, 1));
}

#[tokio::test]
async fn the_fully_read_marker_moves_forward_only() {
    let (alice, bob, room) = pair().await;
    let (one, two) = (alice.say(&room, "1").await, alice.say(&room, "2").await);
    let path = "/_matrix/client/v3/rooms/{roomId}/read_markers";
    for event in [&two, &one] {
        bob.post(path, &[&room]).json(json!({ "m.fully_read": event })).await.ok();
        assert_eq!(marker(&bob.syncer().next().await, &room), Some(two.as_str()));
    }
}

#[tokio::test]
async fn the_fully_read_marker_stands_at_an_event_of_the_room() {
    let (alice, bob, room) = pair().await;
    let elsewhere = alice.public_room().await;
    let said = alice.say(&elsewhere, "elsewhere").await;
    let answer = bob.post("/_matrix/client/v3/rooms/{roomId}/read_markers", &[&room]);
    let answer = answer.json(json!({ "m.fully_read": said })).await;
    assert!(answer.status == 404 || answer.status == 403, "{answer}");
    assert_eq!(marker(&bob.syncer().next().await, &room), None);
}
