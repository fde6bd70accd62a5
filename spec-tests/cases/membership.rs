//! Join, invite, leave, kick, ban, unban, knock, forget. Client-server API, "Room membership" and "Knocking on rooms".

use std::cell::Cell;

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{SERVER_NAME, unique};

async fn pair() -> (User, User) {
    (shared().user("alice").await, shared().user("bob").await)
}

/// Changes a membership by the endpoint of that name.
async fn act(user: &User, verb: &str, room: &str, whom: &User, reason: Option<&str>) -> Answer {
    let mut body = json!({ "user_id": whom.id });
    if let Some(reason) = reason {
        body["reason"] = json!(reason);
    }
    match verb {
        "invite" => user.post("/_matrix/client/v3/rooms/{roomId}/invite", &[room]).json(body).await,
        "kick" => user.post("/_matrix/client/v3/rooms/{roomId}/kick", &[room]).json(body).await,
        "ban" => user.post("/_matrix/client/v3/rooms/{roomId}/ban", &[room]).json(body).await,
        "unban" => user.post("/_matrix/client/v3/rooms/{roomId}/unban", &[room]).json(body).await,
        _ => panic!("no such verb: {verb}"),
    }
}

async fn room_with_rule(alice: &User, version: &str, rule: Value) -> String {
    let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
    alice.create_room(json!({ "room_version": version, "initial_state": state })).await
}

#[tokio::test]
async fn a_public_room_is_joined_by_id() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    let answer = bob.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await.ok();
    assert_eq!(answer["room_id"], room);
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("join"));
}

#[tokio::test]
async fn a_public_room_is_joined_by_alias_or_id() {
    let (alice, bob) = pair().await;
    let name = unique("pub");
    let room = alice.create_room(json!({ "preset": "public_chat", "room_alias_name": name })).await;
    let alias = format!("#{name}:{SERVER_NAME}");
    for target in [alias.as_str(), room.as_str()] {
        let answer = bob.post("/_matrix/client/v3/join/{roomIdOrAlias}", &[target]).json(json!({})).await.ok();
        assert_eq!(answer["room_id"], room);
    }
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("join"));
}

#[tokio::test]
async fn a_join_may_carry_a_reason_and_no_body() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    let body = json!({ "reason": "curious" });
    bob.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(body).await.ok();
    assert_eq!(alice.state(&room, "m.room.member", &bob.id).await["reason"], "curious");
    let other = alice.public_room().await;
    bob.post("/_matrix/client/v3/join/{roomIdOrAlias}", &[&other]).await.ok();
}

#[tokio::test]
async fn servers_to_ask_are_a_hint() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    for query in [[("via", "!abc"), ("via", SERVER_NAME)], [("server_name", ""), ("server_name", "!abc")]] {
        let joined = bob.post("/_matrix/client/v3/join/{roomIdOrAlias}", &[&room]).query(&query).await.ok();
        assert_eq!(joined["room_id"], room);
        bob.leave(&room).await;
    }
    let summary = bob.get("/_matrix/client/v1/room_summary/{roomIdOrAlias}", &[&room]).query(&[("via", "!abc")]).await;
    assert_eq!(summary.ok()["room_id"], room);
    let closed = room_with_rule(&alice, "11", json!({ "join_rule": "knock" })).await;
    let query = [("via", "!abc"), ("server_name", "!abc")];
    let knocked = bob.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&closed]).query(&query).json(json!({})).await;
    assert_eq!(knocked.ok()["room_id"], closed);
}

#[tokio::test]
async fn a_join_of_an_unknown_alias_is_not_found() {
    let alice = shared().user("alice").await;
    let alias = format!("#{}:{SERVER_NAME}", unique("nowhere"));
    let answer = alice.post("/_matrix/client/v3/join/{roomIdOrAlias}", &[&alias]).json(json!({})).await;
    answer.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_join_of_an_unknown_room_is_refused() {
    let alice = shared().user("alice").await;
    let room = format!("!nowhere:{SERVER_NAME}");
    let answer = alice.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await;
    answer.error_in(404, &["M_NOT_FOUND", "M_UNKNOWN"]);
}

#[tokio::test]
async fn a_join_by_something_else_is_refused() {
    let alice = shared().user("alice").await;
    let answer = alice.post("/_matrix/client/v3/join/{roomIdOrAlias}", &["nonsense"]).json(json!({})).await;
    answer.error_in(400, &["M_INVALID_PARAM", "M_UNKNOWN", "M_BAD_PARAM"]);
}

#[tokio::test]
async fn a_join_twice_adds_one_event() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    bob.join(&room).await;
    alice.say(&room, "after").await;
    let sync = syncer.until(|sync| !RoomSync::joined(sync, &room).bodies().is_empty()).await;
    assert_eq!(RoomSync::joined(&sync, &room).timeline().len(), 1);
}

#[tokio::test]
async fn a_private_room_is_closed_without_an_invite() {
    let (alice, bob) = pair().await;
    let room = alice.create_room(json!({})).await;
    let answer = bob.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await;
    answer.error(403, "M_FORBIDDEN");
    assert_eq!(alice.membership(&room, &bob).await, None);
}

#[tokio::test]
async fn an_invite_opens_a_private_room() {
    let (alice, bob) = pair().await;
    let room = alice.create_room(json!({})).await;
    act(&alice, "invite", &room, &bob, Some("come in")).await.ok();
    let member = alice.state(&room, "m.room.member", &bob.id).await;
    assert_eq!((&member["membership"], &member["reason"]), (&json!("invite"), &json!("come in")));
    bob.join(&room).await;
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("join"));
}

#[tokio::test]
async fn an_invite_can_be_declined() {
    let (alice, bob) = pair().await;
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    bob.leave(&room).await;
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("leave"));
    let answer = bob.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await;
    answer.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_joined_user_is_not_invited_again() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    act(&alice, "invite", &room, &bob, None).await.error(403, "M_FORBIDDEN");
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("join"));
}

#[tokio::test]
async fn an_outsider_does_not_invite() {
    let (alice, bob) = pair().await;
    let carol = shared().user("carol").await;
    let room = alice.public_room().await;
    act(&bob, "invite", &room, &carol, None).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_invite_needs_its_level() {
    let (alice, bob) = pair().await;
    let carol = shared().user("carol").await;
    let body = json!({ "preset": "public_chat", "power_level_content_override": { "invite": 50 } });
    let room = alice.create_room(body).await;
    bob.join(&room).await;
    act(&bob, "invite", &room, &carol, None).await.error(403, "M_FORBIDDEN");
    alice.change_power_levels(&room, |levels| levels["users"][&bob.id] = json!(50)).await;
    act(&bob, "invite", &room, &carol, None).await.ok();
}

#[tokio::test]
async fn an_invite_of_something_that_is_no_user_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.create_room(json!({})).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/invite";
    for (body, theirs) in [
        (json!({ "user_id": "bob" }), "M_INVALID_PARAM"),
        (json!({ "user_id": "@bob" }), "M_INVALID_PARAM"),
        (json!({}), "M_MISSING_PARAM"),
        (json!([]), "M_BAD_JSON"),
    ] {
        let answer = alice.post(path, &[&room]).json(body).await;
        differs(
            "client-server-api#post_matrixclientv3roomsroomidinvite",
            || drop(answer.clone().error(400, "M_BAD_JSON")),
            || drop(answer.clone().error(400, theirs)),
        );
    }
    alice.post(path, &[&room]).raw("application/json", b"{".to_vec()).await.error(400, "M_NOT_JSON");
}

#[tokio::test]
async fn leaving_ends_the_membership() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    let body = json!({ "reason": "done" });
    bob.post("/_matrix/client/v3/rooms/{roomId}/leave", &[&room]).json(body).await.ok();
    let member = alice.state(&room, "m.room.member", &bob.id).await;
    assert_eq!((&member["membership"], &member["reason"]), (&json!("leave"), &json!("done")));
    let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let answer = bob.put(path, &[&room, "m.room.message", "t"]).json(json!({ "body": "x", "msgtype": "m.text" })).await;
    answer.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn an_outsider_cannot_leave() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    let answer = bob.post("/_matrix/client/v3/rooms/{roomId}/leave", &[&room]).json(json!({})).await;
    assert!([400, 403, 404].contains(&answer.status), "{answer}");
    assert_eq!(alice.membership(&room, &bob).await, None);
}

#[tokio::test]
async fn a_kick_removes_and_the_kicked_may_come_back() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    act(&alice, "kick", &room, &bob, Some("enough")).await.ok();
    let member = alice.state(&room, "m.room.member", &bob.id).await;
    assert_eq!((&member["membership"], &member["reason"]), (&json!("leave"), &json!("enough")));
    bob.join(&room).await;
}

#[tokio::test]
async fn a_kick_withdraws_an_invite() {
    let (alice, bob) = pair().await;
    let room = alice.create_room(json!({})).await;
    alice.invite(&room, &bob).await;
    act(&alice, "kick", &room, &bob, None).await.ok();
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("leave"));
}

#[tokio::test]
async fn a_kick_of_one_who_is_not_there_is_refused() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    act(&alice, "kick", &room, &bob, None).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn kick_and_ban_need_more_power_than_the_target_has() {
    let (alice, bob) = pair().await;
    let carol = shared().user("carol").await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    carol.join(&room).await;
    for verb in ["kick", "ban"] {
        act(&bob, verb, &room, &carol, None).await.error(403, "M_FORBIDDEN");
        act(&bob, verb, &room, &alice, None).await.error(403, "M_FORBIDDEN");
    }
    let both = [(&bob, 50), (&carol, 50)];
    alice
        .change_power_levels(&room, |levels| {
            both.iter().for_each(|(user, level)| levels["users"][&user.id] = json!(level))
        })
        .await;
    for verb in ["kick", "ban"] {
        act(&bob, verb, &room, &carol, None).await.error(403, "M_FORBIDDEN");
    }
    assert_eq!(alice.membership(&room, &carol).await.as_deref(), Some("join"));
}

#[tokio::test]
async fn a_ban_keeps_out_until_the_unban() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    act(&alice, "ban", &room, &bob, Some("rude")).await.ok();
    assert_eq!(alice.state(&room, "m.room.member", &bob.id).await["reason"], "rude");
    let answer = bob.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await;
    differs(
        "client-server-api#post_matrixclientv3roomsroomidjoin",
        || answer.clone().error(403, "M_FORBIDDEN"),
        || answer.clone().error(403, "M_BAD_STATE"),
    );
    let answer = act(&alice, "invite", &room, &bob, None).await;
    differs(
        "client-server-api#post_matrixclientv3roomsroomidinvite",
        || answer.clone().error(403, "M_FORBIDDEN"),
        || answer.clone().error(403, "M_BAD_STATE"),
    );
    act(&alice, "unban", &room, &bob, None).await.ok();
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("leave"));
    bob.join(&room).await;
}

#[tokio::test]
async fn one_who_never_came_can_be_banned() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    act(&alice, "ban", &room, &bob, None).await.ok();
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("ban"));
}

#[tokio::test]
async fn an_unban_of_one_who_is_not_banned_is_refused() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    act(&alice, "unban", &room, &bob, None).await.error(403, "M_BAD_STATE");
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("join"));
}

#[tokio::test]
async fn a_member_of_power_zero_does_not_unban() {
    let (alice, bob) = pair().await;
    let carol = shared().user("carol").await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    act(&alice, "ban", &room, &carol, None).await.ok();
    act(&bob, "unban", &room, &carol, None).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_knock_asks_to_be_let_in() {
    let (alice, bob) = pair().await;
    for version in ["7", "9", "11", "12"] {
        let room = room_with_rule(&alice, version, json!({ "join_rule": "knock" })).await;
        let body = json!({ "reason": "please" });
        let answer = bob.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&room]).json(body).await.ok();
        assert_eq!(answer["room_id"], room);
        let member = alice.state(&room, "m.room.member", &bob.id).await;
        assert_eq!((&member["membership"], &member["reason"]), (&json!("knock"), &json!("please")));
        let answer = bob.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await;
        answer.error(403, "M_FORBIDDEN");
        alice.invite(&room, &bob).await;
        bob.join(&room).await;
    }
}

#[tokio::test]
async fn a_knock_on_what_is_not_there_is_not_found() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/knock/{roomIdOrAlias}";
    let alias = format!("#{}:{SERVER_NAME}", unique("nowhere"));
    alice.post(path, &[&alias]).json(json!({})).await.error(404, "M_NOT_FOUND");
    let answer = alice.post(path, &[&format!("!nowhere:{SERVER_NAME}")]).json(json!({})).await;
    differs(
        "client-server-api#post_matrixclientv3knockroomidoralias",
        || drop(answer.clone().error(404, "M_NOT_FOUND")),
        || drop(answer.clone().error(404, "M_UNKNOWN")),
    );
}

#[tokio::test]
async fn a_knock_can_be_taken_back_and_denied() {
    let (alice, bob) = pair().await;
    let room = room_with_rule(&alice, "11", json!({ "join_rule": "knock" })).await;
    bob.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&room]).json(json!({})).await.ok();
    bob.leave(&room).await;
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("leave"));
    bob.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&room]).json(json!({})).await.ok();
    act(&alice, "kick", &room, &bob, None).await.ok();
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("leave"));
}

#[tokio::test]
async fn a_knock_is_refused_where_the_rule_or_the_version_does_not_allow_it() {
    let (alice, bob) = pair().await;
    let invite_only = room_with_rule(&alice, "11", json!({ "join_rule": "invite" })).await;
    let answer = bob.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&invite_only]).json(json!({})).await;
    answer.error(403, "M_FORBIDDEN");
    let old = room_with_rule(&alice, "6", json!({ "join_rule": "knock" })).await;
    let answer = bob.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&old]).json(json!({})).await;
    differs(
        "client-server-api#post_matrixclientv3knockroomidoralias",
        || answer.clone().error(403, "M_FORBIDDEN"),
        || answer.clone().error(500, "M_FORBIDDEN"),
    );
}

#[tokio::test]
async fn a_member_and_a_banned_user_do_not_knock() {
    let (alice, bob) = pair().await;
    let room = room_with_rule(&alice, "11", json!({ "join_rule": "knock" })).await;
    let answer = alice.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&room]).json(json!({})).await;
    answer.error(403, "M_FORBIDDEN");
    act(&alice, "ban", &room, &bob, None).await.ok();
    let answer = bob.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&room]).json(json!({})).await;
    differs(
        "client-server-api#post_matrixclientv3knockroomidoralias",
        || answer.clone().error(403, "M_FORBIDDEN"),
        || answer.clone().error(403, "M_BAD_STATE"),
    );
}

#[tokio::test]
async fn a_restricted_room_lets_in_the_members_of_another() {
    let (alice, bob) = pair().await;
    let space = alice.public_room().await;
    for version in ["8", "9", "10", "11", "12"] {
        let rule = json!({
            "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": space }]
        });
        let room = room_with_rule(&alice, version, rule).await;
        let outsider = shared().user("outsider").await;
        let answer = outsider.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await;
        answer.error(403, "M_FORBIDDEN");
        bob.join(&space).await;
        bob.join(&room).await;
        let member = alice.state(&room, "m.room.member", &bob.id).await;
        assert_eq!(member["join_authorised_via_users_server"], alice.id, "version {version}: {member}");
    }
}

#[tokio::test]
async fn a_restricted_room_lets_in_the_invited() {
    let (alice, bob) = pair().await;
    let room = room_with_rule(&alice, "11", json!({ "join_rule": "restricted", "allow": [] })).await;
    alice.invite(&room, &bob).await;
    bob.join(&room).await;
}

#[tokio::test]
async fn a_restricted_room_that_nobody_here_may_open_stays_closed() {
    let (alice, bob) = pair().await;
    let space = alice.public_room().await;
    bob.join(&space).await;
    let rule = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": space }] });
    let body = json!({
        "room_version": "11", "preset": "public_chat",
        "power_level_content_override": { "invite": 50, "users": { alice.id.clone(): 100 } }
    });
    let room = alice.create_room(body).await;
    let carol = shared().user("carol").await;
    carol.join(&room).await;
    alice.set_state(&room, "m.room.join_rules", "", rule).await;
    alice.leave(&room).await;
    // Carol is still there, without the power to invite.
    let answer = bob.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await;
    differs(
        "server-server-api#restricted-rooms",
        || drop(answer.clone().error(400, "M_UNABLE_TO_GRANT_JOIN")),
        || assert!([400, 403, 404].contains(&answer.status), "{answer}"),
    );
    assert_eq!(carol.membership(&room, &bob).await, None);
}

#[tokio::test]
async fn knock_restricted_lets_in_members_and_hears_others() {
    let (alice, bob) = pair().await;
    let space = alice.public_room().await;
    bob.join(&space).await;
    let rule = json!({
        "join_rule": "knock_restricted", "allow": [{ "type": "m.room_membership", "room_id": space }]
    });
    for version in ["10", "12"] {
        let room = room_with_rule(&alice, version, rule.clone()).await;
        bob.join(&room).await;
        let outsider = shared().user("outsider").await;
        let answer = outsider.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]).json(json!({})).await;
        answer.error(403, "M_FORBIDDEN");
        outsider.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&room]).json(json!({})).await.ok();
    }
}

#[tokio::test]
async fn a_left_room_can_be_forgotten() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.leave(&room).await;
    bob.post("/_matrix/client/v3/rooms/{roomId}/forget", &[&room]).json(json!({})).await.ok();
    let answer = bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&[("dir", "b")]).await;
    answer.error(403, "M_FORBIDDEN");
    let filter = json!({ "room": { "include_leave": true } });
    let sync = bob.syncer().filter(&filter).next().await;
    assert!(!RoomSync::left(&sync, &room).is_there(), "{sync}");
    // An invite is no way back to what was forgotten.
    alice.invite(&room, &bob).await;
    let sync = bob.syncer().next().await;
    assert!(RoomSync::invited(&sync, &room).is_there(), "{sync}");
    let answer = bob.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&[("dir", "b")]).await;
    answer.error(403, "M_FORBIDDEN");
    bob.join(&room).await;
}

#[tokio::test]
async fn a_forgotten_room_stays_so_through_a_ban_and_its_end() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    bob.leave(&room).await;
    bob.post("/_matrix/client/v3/rooms/{roomId}/forget", &[&room]).json(json!({})).await.ok();
    let mut syncer = bob.syncer();
    syncer.next().await;
    let archive = json!({ "room": { "include_leave": true } });
    for verb in ["ban", "unban"] {
        act(&alice, verb, &room, &bob, None).await.ok();
        // The invite that follows comes into the same answer, or a later one.
        let marker = alice.create_room(json!({ "invite": [bob.id] })).await;
        let told = Cell::new(false);
        syncer
            .until(|sync| {
                told.set(told.get() || RoomSync::left(sync, &room).is_there());
                RoomSync::invited(sync, &marker).is_there()
            })
            .await;
        let archived = RoomSync::left(&bob.syncer().filter(&archive).next().await, &room).is_there();
        differs(
            "client-server-api#leaving-rooms",
            || assert!(!told.get() && !archived, "{verb}"),
            || assert!(told.get() || archived, "{verb}"),
        );
    }
    alice.invite(&room, &bob).await;
    syncer.until(|sync| RoomSync::invited(sync, &room).is_there()).await;
}

#[tokio::test]
async fn a_joined_room_is_not_forgotten() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/rooms/{roomId}/forget";
    alice.post(path, &[&room]).json(json!({})).await.error(400, "M_UNKNOWN");
}

#[tokio::test]
async fn of_a_room_one_was_never_in_there_is_nothing_to_forget() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/rooms/{roomId}/forget";
    bob.post(path, &[&room]).json(json!({})).await.ok();
    bob.post(path, &["!nowhere:nowhere.example"]).json(json!({})).await.ok();
}

#[tokio::test]
async fn membership_is_changed_by_state_too() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    bob.set_state(&room, "m.room.member", &bob.id, json!({ "membership": "join" })).await;
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("join"));
    alice.set_state(&room, "m.room.member", &bob.id, json!({ "membership": "ban" })).await;
    assert_eq!(alice.membership(&room, &bob).await.as_deref(), Some("ban"));
}

#[tokio::test]
async fn nobody_joins_for_another() {
    let (alice, bob) = pair().await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    let answer = alice.put(path, &[&room, "m.room.member", &bob.id]).json(json!({ "membership": "join" })).await;
    answer.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_membership_that_does_not_exist_is_refused() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    for content in [json!({ "membership": "visiting" }), json!({})] {
        let answer = alice.put(path, &[&room, "m.room.member", &alice.id]).json(content).await;
        differs(
            "client-server-api#put_matrixclientv3roomsroomidstateeventtypestatekey",
            || drop(answer.clone().error(400, "M_BAD_JSON")),
            || drop(answer.clone().error(400, "M_UNKNOWN")),
        );
    }
}

#[tokio::test]
async fn joined_rooms_are_those_joined_now() {
    let (alice, bob) = pair().await;
    let (first, second) = (alice.public_room().await, alice.public_room().await);
    bob.join(&first).await;
    bob.join(&second).await;
    bob.leave(&first).await;
    let rooms = bob.get("/_matrix/client/v3/joined_rooms", &[]).await.ok();
    assert_eq!(rooms["joined_rooms"], json!([second]));
}

#[tokio::test]
async fn ones_own_membership_set_as_state_keeps_all_that_it_says() {
    let (alice, bob) = pair().await;
    let path = "/_matrix/client/v3/profile/{userId}/displayname";
    bob.put(path, &[&bob.id]).json(json!({ "displayname": "Bob B." })).await.ok();
    let room = alice.public_room().await;
    let joined = bob.set_state(&room, "m.room.member", &bob.id, json!({ "membership": "join" })).await;
    let content = alice.state(&room, "m.room.member", &bob.id).await;
    assert_eq!(content["displayname"], "Bob B.");
    let mut more = content;
    more["org.example.x"] = json!(1);
    let added = bob.set_state(&room, "m.room.member", &bob.id, more.clone()).await;
    assert_ne!(added, joined);
    assert_eq!(alice.state(&room, "m.room.member", &bob.id).await, more);
    assert_eq!(bob.set_state(&room, "m.room.member", &bob.id, more).await, added);
}

#[tokio::test]
async fn nobody_changes_a_membership_in_a_room_that_does_not_exist() {
    let (alice, bob) = pair().await;
    let room = format!("!nowhere:{SERVER_NAME}");
    for verb in ["invite", "kick", "ban", "unban"] {
        let answer = act(&alice, verb, &room, &bob, None).await;
        differs(
            "client-server-api#room-membership",
            || drop(answer.clone().error(403, "M_FORBIDDEN")),
            || assert!([403, 404].contains(&answer.status), "{verb}: {answer}"),
        );
    }
    let answer = alice.post("/_matrix/client/v3/rooms/{roomId}/leave", &[&room]).json(json!({})).await;
    differs(
        "client-server-api#post_matrixclientv3roomsroomidleave",
        || drop(answer.clone().error(403, "M_FORBIDDEN")),
        || drop(answer.clone().status(404)),
    );
}
