//! What users do not want from others. Client-server API, "Ignoring Users", "Invite permission".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::SERVER_NAME;

const DATA: &str = "/_matrix/client/v3/user/{userId}/account_data/{type}";

async fn ignore(user: &User, others: &[&User]) {
    let ignored: serde_json::Map<String, Value> = others.iter().map(|other| (other.id.clone(), json!({}))).collect();
    let content = json!({ "ignored_users": ignored });
    user.put(DATA, &[&user.id, "m.ignored_user_list"]).json(content).await.ok();
}

async fn block(user: &User, blocked: bool) {
    let content = if blocked { json!({ "default_action": "block" }) } else { json!({}) };
    user.put(DATA, &[&user.id, "m.invite_permission_config"]).json(content).await.ok();
}

#[tokio::test]
async fn messages_of_an_ignored_user_are_not_shown() {
    let (alice, bob, carol) = (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    carol.join(&room).await;
    alice.change_power_levels(&room, |levels| levels["events"]["m.room.topic"] = json!(0)).await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    ignore(&alice, &[&bob]).await;
    bob.say(&room, "unheard").await;
    bob.set_state(&room, "m.room.topic", "", json!({ "topic": "seen" })).await;
    carol.say(&room, "heard").await;
    let mut bodies = Vec::new();
    let mut topic = false;
    let wanted = |sync: &Value| RoomSync::joined(sync, &room).bodies().contains(&"heard");
    loop {
        let sync = syncer.next().await;
        bodies.extend(RoomSync::joined(&sync, &room).bodies().into_iter().map(str::to_owned));
        topic |= RoomSync::joined(&sync, &room).find("timeline", "m.room.topic", "").is_some();
        if wanted(&sync) {
            break;
        }
    }
    assert!(topic && !bodies.contains(&"unheard".to_owned()), "{bodies:?}");
    let path = "/_matrix/client/v3/rooms/{roomId}/messages";
    let page = alice.get(path, &[&room]).query(&[("dir", "b"), ("limit", "50")]).await.ok();
    assert!(page.to_string().contains("\"heard\"") && !page.to_string().contains("unheard"), "{page}");
    // Who is no longer ignored is heard again, from the start with a fresh sync.
    ignore(&alice, &[]).await;
    let fresh = alice.syncer().next().await;
    assert!(RoomSync::joined(&fresh, &room).bodies().contains(&"unheard"), "{fresh}");
}

#[tokio::test]
async fn of_an_ignored_user_nothing_passes_and_nothing_counts() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let said = alice.say(&room, "a word").await;
    ignore(&alice, &[&bob]).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/typing/{userId}";
    bob.put(path, &[&room, &bob.id]).json(json!({ "typing": true, "timeout": 30000 })).await.ok();
    let path = "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}";
    bob.post(path, &[&room, "m.read", &said]).json(json!({})).await.ok();
    bob.say(&room, "unheard").await;
    let sync = alice.syncer().next().await;
    let joined = RoomSync::joined(&sync, &room);
    assert_eq!(joined.field("unread_notifications")["notification_count"], 0, "{sync}");
    let passes = joined.field("ephemeral").to_string().contains(&bob.id);
    differs("client-server-api#ignoring-users", || assert!(!passes, "{sync}"), || assert!(passes, "{sync}"));
}

#[tokio::test]
async fn invites_of_an_ignored_user_are_not_shown() {
    let (alice, bob, carol) = (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await);
    let mut syncer = alice.syncer();
    syncer.next().await;
    ignore(&alice, &[&bob]).await;
    let (unwanted, wanted) = (bob.create_room(json!({})).await, carol.create_room(json!({})).await);
    bob.invite(&unwanted, &alice).await;
    carol.invite(&wanted, &alice).await;
    let sync = syncer.until(|sync| RoomSync::invited(sync, &wanted).is_there()).await;
    assert!(!RoomSync::invited(&sync, &unwanted).is_there(), "{sync}");
    assert!(!RoomSync::invited(&alice.syncer().next().await, &unwanted).is_there());
}

#[tokio::test]
async fn who_blocks_invites_is_not_invited() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let earlier = bob.create_room(json!({})).await;
    bob.invite(&earlier, &alice).await;
    block(&alice, true).await;
    let room = bob.create_room(json!({})).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/invite";
    bob.post(path, &[&room]).json(json!({ "user_id": alice.id })).await.error(403, "M_INVITE_BLOCKED");
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    let answer = bob.put(path, &[&room, "m.room.member", &alice.id]).json(json!({ "membership": "invite" })).await;
    answer.error(403, "M_INVITE_BLOCKED");
    let answer = bob.post("/_matrix/client/v3/createRoom", &[]).json(json!({ "invite": [alice.id] })).await;
    answer.error(403, "M_INVITE_BLOCKED");
    let sync = alice.syncer().next().await;
    let shown = RoomSync::invited(&sync, &earlier).is_there();
    differs(
        "client-server-api#invite-permission",
        || assert!(!shown, "{sync}"),
        // Earlier invites stay in its syncs.
        || assert!(shown, "{sync}"),
    );
    block(&alice, false).await;
    bob.invite(&room, &alice).await;
    assert!(RoomSync::invited(&alice.syncer().next().await, &room).is_there());
}

#[tokio::test]
async fn the_first_state_of_a_room_is_checked_like_later_ones() {
    let alice = shared().user("alice").await;
    let state = |kind: &str, key: &str, content: Value| json!({ "initial_state": [{ "type": kind, "state_key": key, "content": content }] });
    let path = "/_matrix/client/v3/createRoom";
    let alias = json!({ "alias": format!("#nothing:{SERVER_NAME}") });
    let answer = alice.post(path, &[]).json(state("m.room.canonical_alias", "", alias)).await;
    // Synapse takes it.
    if target() == Target::Depesche {
        answer.error(400, "M_BAD_ALIAS");
    }
    let invite = json!({ "membership": "invite" });
    let answer = alice.post(path, &[]).json(state("m.room.member", "@bob:elsewhere.test", invite)).await;
    assert!(answer.status >= 400, "{answer}");
}
