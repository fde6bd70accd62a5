//! `publicRooms`, `directory/list/room`, `room_summary`, `user_directory` and `rooms/{roomId}/upgrade`: what each refuses,
//! and with which code. What they find is tested in the server and by the black-box cases.

use ruma::user_id;
use serde_json::{Value, json};

use super::{CONFIG, Home, Person, refused};

const CLIENT: &str = "/_matrix/client/v3";

async fn room(home: &Home, creator: &Person, body: Value) -> String {
    let answer = home.send_as(creator, "POST /_matrix/client/v3/createRoom", body).await;
    answer.body["room_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn get_and_post_public_rooms() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let hall = room(&home, &alice, json!({ "visibility": "public", "preset": "public_chat", "name": "Hall" })).await;
    let rooms = |body: &Value| body["chunk"].as_array().unwrap().len();
    let all = home.ask(&format!("GET {CLIENT}/publicRooms?server=test&limit=5"), "").await;
    assert_eq!((rooms(&all.body), &all.body["total_room_count_estimate"]), (1, &json!(1)));
    assert_eq!(all.body["chunk"][0]["room_id"], hall);
    assert_eq!(all.body["chunk"][0]["join_rule"], "public");
    for (query, expected) in [
        ("since=x", (400, "M_INVALID_PARAM")),
        ("server=elsewhere", (403, "M_FORBIDDEN")),
        ("limit=x", (400, "M_INVALID_PARAM")),
    ] {
        let answer = home.ask(&format!("GET {CLIENT}/publicRooms?{query}"), "").await;
        assert_eq!(refused(&answer), expected, "{query}");
    }
    let post = format!("POST {CLIENT}/publicRooms");
    assert_eq!(refused(&home.send(&post, json!({})).await), (401, "M_MISSING_TOKEN"));
    for (body, found) in [
        (json!({}), 1),
        (json!({ "filter": { "generic_search_term": "hall" } }), 1),
        (json!({ "filter": { "generic_search_term": "study" } }), 0),
        (json!({ "filter": { "room_types": ["m.space"] } }), 0),
        (json!({ "include_all_networks": true }), 1),
        (json!({ "third_party_instance_id": "irc" }), 0),
    ] {
        assert_eq!(rooms(&home.send_as(&alice, &post, body.clone()).await.body), found, "{body}");
    }
    for (body, code) in [
        (json!({ "since": "x" }), "M_INVALID_PARAM"),
        (json!({ "filter": 7 }), "M_BAD_JSON"),
        (json!({ "include_all_networks": true, "third_party_instance_id": "irc" }), "M_BAD_JSON"),
    ] {
        assert_eq!(refused(&home.send_as(&alice, &post, body).await), (400, code));
    }
}

#[tokio::test]
async fn get_and_put_directory_list_room() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let hall = room(&home, &alice, json!({ "preset": "public_chat" })).await;
    let path = format!("{CLIENT}/directory/list/room/{hall}");
    assert_eq!(home.ask(&format!("GET {path}"), "").await.body, json!({ "visibility": "private" }));
    let put = async |who: &Person, body: Value| home.send_as(who, &format!("PUT {path}"), body).await;
    assert_eq!(refused(&put(&alice, json!({ "visibility": "secret" })).await), (400, "M_INVALID_PARAM"));
    assert_eq!(refused(&put(&alice, json!({ "visibility": 1 })).await), (400, "M_BAD_JSON"));
    assert_eq!(refused(&put(&bob, json!({})).await), (403, "M_FORBIDDEN"));
    assert_eq!(put(&alice, json!({})).await.body, json!({}));
    assert_eq!(home.ask(&format!("GET {path}"), "").await.body, json!({ "visibility": "public" }));
    home.app.server.accounts.set_suspended(user_id!("@alice:test"), true).await.unwrap();
    assert_eq!(refused(&put(&alice, json!({ "visibility": "private" })).await), (403, "M_USER_SUSPENDED"));
    let nowhere = format!("{CLIENT}/directory/list/room/!nowhere:test");
    assert_eq!(refused(&home.ask(&format!("GET {nowhere}"), "").await), (404, "M_NOT_FOUND"));
    assert_eq!(refused(&home.send_as(&bob, &format!("PUT {nowhere}"), json!({})).await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn get_room_summary() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let open = room(&home, &alice, json!({ "preset": "public_chat", "name": "Hall" })).await;
    let closed = room(&home, &alice, json!({ "name": "Study" })).await;
    for path in [
        format!("/_matrix/client/v1/room_summary/{open}?via=test&via=elsewhere"),
        format!("/_matrix/client/unstable/im.nheko.summary/rooms/{open}/summary"),
    ] {
        let summary = home.ask_as(&bob, &format!("GET {path}"), "").await.body;
        assert_eq!((&summary["name"], &summary["membership"]), (&json!("Hall"), &json!("leave")), "{path}");
        assert_eq!(summary["join_rule"], "public");
        assert!(home.ask(&format!("GET {path}"), "").await.body.get("membership").is_none());
    }
    let closed = format!("GET /_matrix/client/v1/room_summary/{closed}");
    assert_eq!(home.ask_as(&alice, &closed, "").await.body["join_rule"], "invite");
    assert_eq!(refused(&home.ask_as(&bob, &closed, "").await), (404, "M_NOT_FOUND"));
    assert_eq!(refused(&home.ask(&closed, "").await), (404, "M_NOT_FOUND"));
    for (named, expected) in [
        ("!nowhere:test", (404, "M_NOT_FOUND")),
        ("%23nothing:test", (404, "M_NOT_FOUND")),
        ("nonsense", (400, "M_INVALID_PARAM")),
    ] {
        let answer = home.ask_as(&alice, &format!("GET /_matrix/client/v1/room_summary/{named}"), "").await;
        assert_eq!(refused(&answer), expected, "{named}");
    }
}

#[tokio::test]
async fn post_user_directory_search() {
    let home = Home::open().await;
    let (alice, _) = (home.user("alice").await, home.user("bob").await);
    let search = format!("POST {CLIENT}/user_directory/search");
    let nobody = json!({ "results": [], "limited": false });
    assert_eq!(home.send_as(&alice, &search, json!({ "search_term": "bob" })).await.body, nobody);
    assert_eq!(refused(&home.send_as(&alice, &search, json!({})).await), (400, "M_BAD_JSON"));
    assert_eq!(refused(&home.send(&search, json!({ "search_term": "bob" })).await), (401, "M_MISSING_TOKEN"));
    let home = Home::with(&CONFIG.replace("[accounts]", "[accounts]\nsearch_all_users = true")).await;
    let (alice, _) = (home.user("alice").await, home.user("bob").await);
    let found = home.send_as(&alice, &search, json!({ "search_term": "BO" })).await.body;
    assert_eq!(found, json!({ "results": [{ "user_id": "@bob:test", "display_name": "bob" }], "limited": false }));
}

#[tokio::test]
async fn post_rooms_upgrade() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let hall = room(&home, &alice, json!({ "preset": "public_chat" })).await;
    let upgrade = async |who: &Person, room: &str, body: Value| {
        home.send_as(who, &format!("POST {CLIENT}/rooms/{room}/upgrade"), body).await
    };
    let to = json!({ "new_version": "12" });
    let crowd: Vec<String> = (0..501).map(|n| format!("@{n}:test")).collect();
    for (who, room, body, expected) in [
        (&alice, &*hall, json!({}), (400, "M_BAD_JSON")),
        (&alice, &*hall, json!({ "new_version": 1 }), (400, "M_BAD_JSON")),
        (&alice, &*hall, json!({ "new_version": "1" }), (400, "M_UNSUPPORTED_ROOM_VERSION")),
        (&alice, &*hall, json!({ "new_version": "no_such_version" }), (400, "M_UNSUPPORTED_ROOM_VERSION")),
        (&alice, &*hall, json!({ "new_version": "12", "additional_creators": crowd }), (413, "M_TOO_LARGE")),
        (&alice, &*hall, json!({ "new_version": "12", "additional_creators": ["x"] }), (400, "M_BAD_JSON")),
        (&bob, &*hall, to.clone(), (403, "M_FORBIDDEN")),
        (&alice, "!nowhere:test", to.clone(), (403, "M_FORBIDDEN")),
    ] {
        assert_eq!(refused(&upgrade(who, room, body.clone()).await), expected, "{body}");
    }
    let new = upgrade(&alice, &hall, to.clone()).await.body["replacement_room"].as_str().unwrap().to_owned();
    let tombstone = home.ask_as(&alice, &format!("GET {CLIENT}/rooms/{hall}/state/m.room.tombstone/"), "").await;
    assert_eq!(tombstone.body["replacement_room"], new);
    // Versions without additional creators do not look at the field.
    for creators in [json!(["x"]), json!("x"), json!(null), json!(crowd)] {
        let hall = room(&home, &alice, json!({})).await;
        let answer = upgrade(&alice, &hall, json!({ "new_version": "11", "additional_creators": creators })).await;
        assert!(answer.body["replacement_room"].is_string(), "{creators}: {}", answer.body);
    }
    home.app.server.accounts.set_suspended(user_id!("@alice:test"), true).await.unwrap();
    assert_eq!(refused(&upgrade(&alice, &new, to).await), (403, "M_USER_SUSPENDED"));
}

#[tokio::test]
async fn who_takes_no_invites_is_told_of_by_a_code() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let hall = room(&home, &alice, json!({})).await;
    let path = format!("PUT {CLIENT}/user/@bob:test/account_data/m.invite_permission_config");
    home.send_as(&bob, &path, json!({ "default_action": "block" })).await;
    let whom = json!({ "user_id": "@bob:test" });
    for (line, body) in [
        (format!("POST {CLIENT}/rooms/{hall}/invite"), whom),
        (format!("PUT {CLIENT}/rooms/{hall}/state/m.room.member/@bob:test"), json!({ "membership": "invite" })),
        (format!("POST {CLIENT}/createRoom"), json!({ "invite": ["@bob:test"] })),
    ] {
        assert_eq!(refused(&home.send_as(&alice, &line, body).await), (403, "M_INVITE_BLOCKED"), "{line}");
    }
}
