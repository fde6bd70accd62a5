//! Room aliases. Client-server API, "Room aliases" and `m.room.canonical_alias`.

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{SERVER_NAME, unique};

const ALIAS: &str = "/_matrix/client/v3/directory/room/{roomAlias}";

fn new_alias() -> String {
    format!("#{}:{SERVER_NAME}", unique("alias"))
}

#[tokio::test]
async fn an_alias_finds_its_room() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (room, alias) = (alice.public_room().await, new_alias());
    let body = json!({ "room_id": room });
    alice.put("/_matrix/client/v3/directory/room/{roomAlias}", &[&alias]).json(body).await.ok();
    let answer = bob.get("/_matrix/client/v3/directory/room/{roomAlias}", &[&alias]).await.ok();
    assert_eq!(answer["room_id"], room);
    assert_eq!(answer["servers"], json!([SERVER_NAME]));
    let list = alice.get("/_matrix/client/v3/rooms/{roomId}/aliases", &[&room]).await.ok();
    assert_eq!(list["aliases"], json!([alias]));
}

#[tokio::test]
async fn an_alias_is_found_without_a_token() {
    let alice = shared().user("alice").await;
    let (room, alias) = (alice.public_room().await, new_alias());
    alice.put(ALIAS, &[&alias]).json(json!({ "room_id": room })).await.ok();
    assert_eq!(shared().client().get(ALIAS, &[&alias]).await.ok()["room_id"], room);
}

#[tokio::test]
async fn an_alias_is_given_once() {
    let alice = shared().user("alice").await;
    let (room, alias) = (alice.public_room().await, new_alias());
    alice.put(ALIAS, &[&alias]).json(json!({ "room_id": room })).await.ok();
    let answer = alice.put(ALIAS, &[&alias]).json(json!({ "room_id": alice.public_room().await })).await;
    answer.error(409, "M_UNKNOWN");
    assert_eq!(alice.get(ALIAS, &[&alias]).await.ok()["room_id"], room);
}

#[tokio::test]
async fn an_unknown_alias_is_not_found() {
    let alice = shared().user("alice").await;
    alice.get(ALIAS, &[&new_alias()]).await.error(404, "M_NOT_FOUND");
    alice.delete(ALIAS, &[&new_alias()]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn what_is_no_alias_is_invalid() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for alias in ["nonsense", "#without-server"] {
        alice.get(ALIAS, &[alias]).await.error(400, "M_INVALID_PARAM");
        let answer = alice.put(ALIAS, &[alias]).json(json!({ "room_id": room })).await;
        answer.error(400, "M_INVALID_PARAM");
    }
}

#[tokio::test]
async fn an_alias_of_another_server_is_not_ours_to_give() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let answer = alice.put(ALIAS, &["#room:elsewhere.test"]).json(json!({ "room_id": room })).await;
    assert!([400, 403].contains(&answer.status), "{answer}");
}

#[tokio::test]
async fn an_alias_needs_the_id_of_a_room() {
    let alice = shared().user("alice").await;
    for body in [json!({}), json!({ "room_id": "nonsense" })] {
        let answer = alice.put(ALIAS, &[&new_alias()]).json(body).await;
        assert!([400, 404].contains(&answer.status), "{answer}");
    }
}

#[tokio::test]
async fn its_creator_deletes_an_alias() {
    let alice = shared().user("alice").await;
    let (room, alias) = (alice.public_room().await, new_alias());
    alice.put(ALIAS, &[&alias]).json(json!({ "room_id": room })).await.ok();
    alice.delete("/_matrix/client/v3/directory/room/{roomAlias}", &[&alias]).await.ok();
    alice.get(ALIAS, &[&alias]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_stranger_does_not_delete_an_alias() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (room, alias) = (alice.public_room().await, new_alias());
    alice.put(ALIAS, &[&alias]).json(json!({ "room_id": room })).await.ok();
    bob.join(&room).await;
    bob.delete(ALIAS, &[&alias]).await.error(403, "M_FORBIDDEN");
    assert_eq!(alice.get(ALIAS, &[&alias]).await.ok()["room_id"], room);
}

#[tokio::test]
async fn one_who_may_set_the_canonical_alias_deletes_those_of_others() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (room, alias) = (alice.public_room().await, new_alias());
    bob.join(&room).await;
    bob.put(ALIAS, &[&alias]).json(json!({ "room_id": room })).await.ok();
    alice.delete(ALIAS, &[&alias]).await.ok();
    alice.get(ALIAS, &[&alias]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn aliases_are_listed_for_members() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.create_room(json!({})).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/aliases";
    assert_eq!(alice.get(path, &[&room]).await.ok()["aliases"], json!([]));
    bob.get(path, &[&room]).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn aliases_are_listed_for_all_where_the_history_is_world_readable() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } }]);
    let room = alice.create_room(json!({ "initial_state": state })).await;
    let list = bob.get("/_matrix/client/v3/rooms/{roomId}/aliases", &[&room]).await.ok();
    assert_eq!(list["aliases"], json!([]));
}

#[tokio::test]
async fn a_canonical_alias_must_point_to_the_room() {
    let alice = shared().user("alice").await;
    let (room, other) = (alice.public_room().await, alice.public_room().await);
    let (here, there) = (new_alias(), new_alias());
    alice.put(ALIAS, &[&here]).json(json!({ "room_id": room })).await.ok();
    alice.put(ALIAS, &[&there]).json(json!({ "room_id": other })).await.ok();
    alice.set_state(&room, "m.room.canonical_alias", "", json!({ "alias": here })).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    for content in
        [json!({ "alias": there }), json!({ "alias": new_alias() }), json!({ "alias": here, "alt_aliases": [there] })]
    {
        let answer = alice.put(path, &[&room, "m.room.canonical_alias", ""]).json(content).await;
        answer.error(400, "M_BAD_ALIAS");
    }
    let content = json!({ "alias": "nonsense" });
    let answer = alice.put(path, &[&room, "m.room.canonical_alias", ""]).json(content).await;
    answer.error_in(400, &["M_INVALID_PARAM", "M_BAD_ALIAS"]);
    assert_eq!(alice.state(&room, "m.room.canonical_alias", "").await["alias"], here);
}

#[tokio::test]
async fn who_may_not_set_the_canonical_alias_learns_of_no_alias() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (room, other) = (alice.public_room().await, alice.public_room().await);
    let (here, there) = (new_alias(), new_alias());
    alice.put(ALIAS, &[&here]).json(json!({ "room_id": room })).await.ok();
    alice.put(ALIAS, &[&there]).json(json!({ "room_id": other })).await.ok();
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    // First as one who is not in the room, then as a member of power zero.
    for joins in [false, true] {
        if joins {
            bob.join(&room).await;
        }
        for alias in [&here, &there, &new_alias()] {
            let answer = bob.put(path, &[&room, "m.room.canonical_alias", ""]).json(json!({ "alias": alias })).await;
            differs(
                "client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey",
                || drop(answer.clone().error(403, "M_FORBIDDEN")),
                || assert!([400, 403].contains(&answer.status), "{answer}"),
            );
        }
    }
}

#[tokio::test]
async fn a_canonical_alias_can_be_taken_away() {
    let alice = shared().user("alice").await;
    let name = unique("alias");
    let room = alice.create_room(json!({ "room_alias_name": name })).await;
    alice.set_state(&room, "m.room.canonical_alias", "", json!({})).await;
    let alias = format!("#{name}:{SERVER_NAME}");
    assert_eq!(alice.get(ALIAS, &[&alias]).await.ok()["room_id"], room);
}

#[tokio::test]
async fn aliases_need_a_token_to_change() {
    let room = shared().user("alice").await.public_room().await;
    let client = shared().client();
    let alias = new_alias();
    client.put(ALIAS, &[&alias]).json(json!({ "room_id": room })).await.error(401, "M_MISSING_TOKEN");
    client.delete(ALIAS, &[&alias]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn aliases_are_not_listed_for_who_left() {
    let server = shared();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.get("/_matrix/client/v3/rooms/{roomId}/aliases", &[&room]).await.ok();
    bob.leave(&room).await;
    bob.get("/_matrix/client/v3/rooms/{roomId}/aliases", &[&room]).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn the_aliases_of_what_is_no_room_are_not_asked_for() {
    let alice = shared().user("alice").await;
    for room in ["nonsense", "#alias:depesche.test", "@user:depesche.test"] {
        let answer = alice.get("/_matrix/client/v3/rooms/{roomId}/aliases", &[room]).await;
        differs(
            "client-server-api#get_matrixclientv3roomsroomidaliases",
            || drop(answer.clone().error(400, "M_INVALID_PARAM")),
            || drop(answer.clone().error(403, "M_FORBIDDEN")),
        );
    }
}
