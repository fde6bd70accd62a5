//! `/_matrix/client/v3/rooms/{roomId}/...`, `createRoom`, `join` and `knock`: what is decided before a room is asked. The
//! rooms themselves are tested in the server and by the black-box cases.

use ruma::user_id;
use serde_json::json;

use super::{Home, Person, refused};

async fn room(home: &Home, creator: &Person) -> String {
    let body = json!({ "preset": "public_chat" });
    let answer = home.send_as(creator, "POST /_matrix/client/v3/createRoom", body).await;
    answer.body["room_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn who_is_suspended_reads_leaves_and_redacts() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let (here, elsewhere) = (room(&home, &alice).await, room(&home, &bob).await);
    let path = format!("/_matrix/client/v3/rooms/{here}");
    let said = home.send_as(&alice, &format!("PUT {path}/send/org.example.x/1"), json!({ "body": "x" })).await;
    let said = said.body["event_id"].as_str().unwrap().to_owned();
    home.send_as(&bob, &format!("POST {path}/join"), json!({})).await;
    let others = home.send_as(&bob, &format!("PUT {path}/send/org.example.x/1"), json!({ "body": "x" })).await;
    let others = others.body["event_id"].as_str().unwrap().to_owned();
    home.app.server.accounts.set_suspended(user_id!("@alice:test"), true).await.unwrap();
    let whom = json!({ "user_id": bob.id });
    for (line, body) in [
        ("POST /_matrix/client/v3/createRoom".to_owned(), json!({})),
        (format!("POST /_matrix/client/v3/join/{elsewhere}"), json!({})),
        (format!("POST /_matrix/client/v3/knock/{elsewhere}"), json!({})),
        (format!("POST /_matrix/client/v3/rooms/{elsewhere}/join"), json!({})),
        (format!("POST {path}/invite"), whom.clone()),
        (format!("POST {path}/ban"), whom),
        (format!("PUT {path}/send/org.example.x/2"), json!({ "body": "x" })),
        (format!("PUT {path}/redact/{others}/4"), json!({})),
        (format!("PUT {path}/redact/$nothing/5"), json!({})),
        (format!("PUT {path}/send/m.room.redaction/6"), json!({ "redacts": others })),
        (format!("PUT {path}/send/m.room.redaction/7"), json!({})),
        ("PUT /_matrix/client/v3/directory/room/%23a:test".to_owned(), json!({ "room_id": here })),
        ("DELETE /_matrix/client/v3/directory/room/%23a:test".to_owned(), json!({})),
        (format!("PUT {path}/state/m.room.topic"), json!({ "topic": "x" })),
        (format!("PUT {path}/state/m.room.member/{}", alice.id), json!({ "membership": "join" })),
    ] {
        assert_eq!(refused(&home.send_as(&alice, &line, body).await), (403, "M_USER_SUSPENDED"), "{line}");
    }
    let said_again = json!({ "redacts": said }).to_string();
    for (line, body) in [
        (format!("GET {path}/messages?dir=b"), String::new()),
        (format!("PUT {path}/redact/{said}/3"), "{}".to_owned()),
        (format!("PUT {path}/send/m.room.redaction/8"), said_again),
        (format!("POST {path}/leave"), "{}".to_owned()),
    ] {
        let answer = home.ask_as(&alice, &line, body).await;
        assert_eq!(answer.status, 200, "{line}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_leave_set_for_a_banned_user_lifts_the_ban() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let path = format!("/_matrix/client/v3/rooms/{}", room(&home, &alice).await);
    let state = format!("{path}/state/m.room.member/{}", bob.id);
    home.send_as(&alice, &format!("POST {path}/ban"), json!({ "user_id": bob.id })).await;
    let answer = home.send_as(&alice, &format!("PUT {state}"), json!({ "membership": "leave" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(home.ask_as(&alice, &format!("GET {state}"), "").await.body["membership"], "leave");
    assert_eq!(home.send_as(&bob, &format!("POST {path}/join"), json!({})).await.status, 200);
}

#[tokio::test]
async fn a_room_is_created_with_so_many_people_and_no_more() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let create = "POST /_matrix/client/v3/createRoom";
    let people = |count: usize| (0..count).map(|n| format!("@{n}:test")).collect::<Vec<_>>();
    let same = |count: usize| vec!["@bob:test"; count];
    for body in [
        json!({ "invite": people(501) }),
        json!({ "invite": same(501) }),
        json!({ "creation_content": { "additional_creators": people(501) } }),
    ] {
        assert_eq!(refused(&home.send_as(&alice, create, body.clone()).await), (413, "M_TOO_LARGE"), "{body}");
    }
    for body in [json!({ "invite": same(500) }), json!({ "creation_content": { "additional_creators": people(500) } })]
    {
        let answer = home.send_as(&alice, create, body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let long = json!({ "creation_content": { "additional_creators": [format!("@{}:test", "x".repeat(250))] } });
    assert_eq!(refused(&home.send_as(&alice, create, long).await), (400, "M_INVALID_ROOM_STATE"));
}

#[tokio::test]
async fn nobody_learns_which_rooms_there_are() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let known = room(&home, &alice).await;
    for room in [&*known, "!nowhere:test"] {
        for verb in ["invite", "kick", "ban", "unban", "leave"] {
            let line = format!("POST /_matrix/client/v3/rooms/{room}/{verb}");
            for whom in [&alice.id, &bob.id] {
                let body = if verb == "leave" { json!({}) } else { json!({ "user_id": whom }) };
                assert_eq!(refused(&home.send_as(&bob, &line, body).await), (403, "M_FORBIDDEN"), "{line} {whom}");
            }
        }
    }
    for verb in ["join/!nowhere:test", "knock/!nowhere:test", "rooms/!nowhere:test/join"] {
        let line = format!("POST /_matrix/client/v3/{verb}");
        assert_eq!(refused(&home.send_as(&bob, &line, json!({})).await), (404, "M_NOT_FOUND"), "{line}");
    }
}

#[tokio::test]
async fn what_is_to_be_sent_later_is_not_sent_at_once() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let path = format!("/_matrix/client/v3/rooms/{}", room(&home, &alice).await);
    for (event, body) in [
        ("send/m.room.message/1", json!({ "msgtype": "m.text", "body": "x" })),
        ("state/org.example.x/y", json!({ "x": 1 })),
        ("state/org.example.x", json!({ "x": 1 })),
    ] {
        let line = format!("PUT {path}/{event}?org.matrix.msc4140.delay=1000");
        assert_eq!(refused(&home.send_as(&alice, &line, body).await), (400, "M_UNRECOGNIZED"), "{event}");
    }
    let state = home.ask_as(&alice, &format!("GET {path}/state/org.example.x/y"), "").await;
    assert_eq!(refused(&state), (404, "M_NOT_FOUND"));
}
