//! Suspending, locking and looking at accounts. Client-server API, "Account moderation" and "Server administration".

use depesche_spec_tests::keys::{Key, cross_signing, device_keys};
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::{PASSWORD, txn};

fn password_stage(user: &User, session: &Value) -> Value {
    json!({
        "type": "m.login.password", "session": session, "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": user.id }
    })
}

async fn deactivate(user: &User) {
    let path = "/_matrix/client/v3/account/deactivate";
    let first = user.post(path, &[]).json(json!({})).await.status(401);
    user.post(path, &[]).json(json!({ "auth": password_stage(user, &first["session"]) })).await.ok();
}

#[tokio::test]
async fn an_administrator_suspends_an_account_and_lifts_it() {
    let (admin, alice) = (shared().admin("admin").await, shared().user("alice").await);
    let answer = admin.get("/_matrix/client/v1/admin/suspend/{userId}", &[&alice.id]).await;
    let served = differs(
        "client-server-api#get_matrixclientv1adminsuspenduserid",
        || answer.clone().ok() == json!({ "suspended": false }),
        || answer.clone().error(404, "M_UNRECOGNIZED").is_null(),
    );
    for suspended in [true, false].into_iter().filter(|_| served) {
        let request = admin.put("/_matrix/client/v1/admin/suspend/{userId}", &[&alice.id]);
        let wanted = json!({ "suspended": suspended });
        assert_eq!(request.json(wanted.clone()).await.ok(), wanted);
        assert_eq!(admin.get("/_matrix/client/v1/admin/suspend/{userId}", &[&alice.id]).await.ok(), wanted);
        let answer = alice.post("/_matrix/client/v3/createRoom", &[]).json(json!({})).await;
        assert_eq!(answer.body["errcode"] == "M_USER_SUSPENDED", suspended, "{answer}");
    }
}

#[tokio::test]
async fn an_administrator_locks_an_account_and_unlocks_it() {
    let (admin, alice) = (shared().admin("admin").await, shared().user("alice").await);
    let answer = admin.get("/_matrix/client/v1/admin/lock/{userId}", &[&alice.id]).await;
    let served = differs(
        "client-server-api#get_matrixclientv1adminlockuserid",
        || answer.clone().ok() == json!({ "locked": false }),
        || answer.clone().error(404, "M_UNRECOGNIZED").is_null(),
    );
    for locked in [true, false].into_iter().filter(|_| served) {
        let request = admin.put("/_matrix/client/v1/admin/lock/{userId}", &[&alice.id]);
        let wanted = json!({ "locked": locked });
        assert_eq!(request.json(wanted.clone()).await.ok(), wanted);
        assert_eq!(admin.get("/_matrix/client/v1/admin/lock/{userId}", &[&alice.id]).await.ok(), wanted);
        let answer = alice.get("/_matrix/client/v3/account/whoami", &[]).await;
        assert_eq!(answer.body["errcode"] == "M_USER_LOCKED", locked, "{answer}");
    }
}

#[tokio::test]
async fn moderation_is_for_administrators_and_not_for_themselves() {
    let (admin, other) = (shared().admin("admin").await, shared().admin("admin").await);
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let answer = alice.put("/_matrix/client/v1/admin/suspend/{userId}", &[&bob.id]);
    let answer = answer.json(json!({ "suspended": true })).await;
    let served = differs(
        "client-server-api#put_matrixclientv1adminsuspenduserid",
        || answer.clone().error(403, "M_FORBIDDEN").is_object(),
        || answer.clone().error(404, "M_UNRECOGNIZED").is_null(),
    );
    if !served {
        return;
    }
    let nobody = bob.id.replacen('@', "@nobody-", 1);
    let (suspend, lock) = (json!({ "suspended": true }), json!({ "locked": true }));
    // Nobody but an administrator learns which users there are.
    for user in [&bob.id, &nobody, "@bob:elsewhere.test"] {
        let request = alice.put("/_matrix/client/v1/admin/suspend/{userId}", &[user]);
        request.json(suspend.clone()).await.error(403, "M_FORBIDDEN");
        let request = alice.put("/_matrix/client/v1/admin/lock/{userId}", &[user]);
        request.json(lock.clone()).await.error(403, "M_FORBIDDEN");
        alice.get("/_matrix/client/v1/admin/suspend/{userId}", &[user]).await.error(403, "M_FORBIDDEN");
        alice.get("/_matrix/client/v1/admin/lock/{userId}", &[user]).await.error(403, "M_FORBIDDEN");
    }
    for (user, status, code) in [
        (&other.id, 403, "M_FORBIDDEN"),
        (&nobody, 404, "M_NOT_FOUND"),
        (&"@bob:elsewhere.test".to_owned(), 400, "M_INVALID_PARAM"),
    ] {
        let request = admin.put("/_matrix/client/v1/admin/suspend/{userId}", &[user]);
        request.json(suspend.clone()).await.error(status, code);
        let request = admin.put("/_matrix/client/v1/admin/lock/{userId}", &[user]);
        request.json(lock.clone()).await.error(status, code);
        admin.get("/_matrix/client/v1/admin/suspend/{userId}", &[user]).await.error(status, code);
        admin.get("/_matrix/client/v1/admin/lock/{userId}", &[user]).await.error(status, code);
    }
    let request = admin.put("/_matrix/client/v1/admin/suspend/{userId}", &[&admin.id]);
    request.json(suspend).await.error(403, "M_FORBIDDEN");
    let request = admin.put("/_matrix/client/v1/admin/lock/{userId}", &[&admin.id]);
    request.json(lock).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn who_deactivated_their_account_is_not_moderated() {
    let (admin, alice) = (shared().admin("admin").await, shared().user("alice").await);
    deactivate(&alice).await;
    let (suspend, lock) = ("/_matrix/client/v1/admin/suspend/{userId}", "/_matrix/client/v1/admin/lock/{userId}");
    for answer in [
        admin.get(suspend, &[&alice.id]).await,
        admin.put(suspend, &[&alice.id]).json(json!({ "suspended": true })).await,
        admin.get(lock, &[&alice.id]).await,
        admin.put(lock, &[&alice.id]).json(json!({ "locked": true })).await,
    ] {
        differs(
            "client-server-api#put_matrixclientv1adminsuspenduserid",
            || drop(answer.clone().error(404, "M_NOT_FOUND")),
            || drop(answer.clone().error(404, "M_UNRECOGNIZED")),
        );
    }
}

#[tokio::test]
async fn administrators_are_told_that_they_may_moderate() {
    let (admin, alice) = (shared().admin("admin").await, shared().user("alice").await);
    let of_admin = admin.get("/_matrix/client/v3/capabilities", &[]).await.ok();
    differs(
        "client-server-api#get_matrixclientv3capabilities",
        || assert_eq!(of_admin["capabilities"]["m.account_moderation"], json!({ "suspend": true, "lock": true })),
        || assert!(of_admin["capabilities"]["m.account_moderation"].is_null()),
    );
    let of_alice = alice.get("/_matrix/client/v3/capabilities", &[]).await.ok();
    assert!(of_alice["capabilities"]["m.account_moderation"].is_null(), "{of_alice}");
}

#[tokio::test]
async fn a_suspended_user_reads_and_leaves() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (room, other) = (bob.public_room().await, bob.public_room().await);
    alice.join(&room).await;
    bob.invite(&other, &alice).await;
    let own = alice.say(&room, "mine").await;
    shared().suspend(&alice, true).await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    let said = bob.say(&room, "yours").await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).timeline_ids().contains(&said.as_str())).await;
    assert!(sync.is_object());
    alice.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&[("dir", "b")]).await.ok();
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    alice.put(path, &[&room, &own, &txn()]).json(json!({})).await.ok();
    alice.leave(&room).await;
    alice.leave(&other).await;
    alice.another_device().await;
    alice.post("/_matrix/client/v3/logout", &[]).await.ok();
}

#[tokio::test]
async fn a_suspended_user_says_joins_and_changes_nothing() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    let elsewhere = bob.public_room().await;
    bob.join(&room).await;
    let said = bob.say(&room, "a word").await;
    shared().suspend(&alice, true).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let request = alice.put(path, &[&room, "m.room.message", &txn()]);
    request.json(json!({ "msgtype": "m.text", "body": "a word" })).await.error(403, "M_USER_SUSPENDED");
    let request = alice.post("/_matrix/client/v3/rooms/{roomId}/join", &[&elsewhere]);
    request.json(json!({})).await.error(403, "M_USER_SUSPENDED");
    let request = alice.post("/_matrix/client/v3/knock/{roomIdOrAlias}", &[&elsewhere]);
    request.json(json!({})).await.error(403, "M_USER_SUSPENDED");
    let request = alice.post("/_matrix/client/v3/rooms/{roomId}/invite", &[&room]);
    request.json(json!({ "user_id": "@carol:depesche.test" })).await.error(403, "M_USER_SUSPENDED");
    let request = alice.put("/_matrix/client/v3/profile/{userId}/{keyName}", &[&alice.id, "displayname"]);
    request.json(json!({ "displayname": "Mallory" })).await.error(403, "M_USER_SUSPENDED");
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    let answer = alice.put(path, &[&room, &said, &txn()]).json(json!({})).await;
    answer.error(403, "M_USER_SUSPENDED");
    shared().suspend(&alice, false).await;
    alice.say(&room, "a word").await;
}

#[tokio::test]
async fn a_suspended_user_keeps_encryption_and_may_go() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let other = alice.another_device().await;
    shared().suspend(&alice, true).await;
    let keys = json!({ "device_keys": device_keys(&alice) });
    alice.post("/_matrix/client/v3/keys/upload", &[]).json(keys).await.ok();
    let path = "/_matrix/client/v3/keys/device_signing/upload";
    alice.post(path, &[]).json(cross_signing(&alice, "1")).await.ok();
    let signed = Key::cross(&alice, "self_signing 1").sign(device_keys(&alice));
    let body = json!({ alice.id.clone(): { alice.device.clone(): signed } });
    let answer = alice.post("/_matrix/client/v3/keys/signatures/upload", &[]).json(body).await.ok();
    assert!(answer["failures"].as_object().is_none_or(serde_json::Map::is_empty), "{answer}");
    let body = json!({ "messages": { bob.id.clone(): { "*": { "step": 1 } } } });
    let path = "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}";
    alice.put(path, &["m.key.verification.request", &txn()]).json(body).await.ok();
    let body = json!({ "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": { "public_key": "key" } });
    let version = alice.post("/_matrix/client/v3/room_keys/version", &[]).json(body).await.ok();
    let session = json!({
        "first_message_index": 0, "forwarded_count": 0, "is_verified": true,
        "session_data": { "ciphertext": "c", "ephemeral": "e", "mac": "m" }
    });
    let request = alice.put("/_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", &["!r:x", "s"]);
    request.query(&[("version", version["version"].as_str().expect("a version"))]).json(session).await.ok();
    let path = "/_matrix/client/v3/devices/{deviceId}";
    let first = alice.delete(path, &[&other.device]).json(json!({})).await.status(401);
    let auth = password_stage(&alice, &first["session"]);
    alice.delete(path, &[&other.device]).json(json!({ "auth": auth })).await.ok();
    other.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
    deactivate(&alice).await;
    alice.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn a_suspended_user_accepts_nothing_and_shows_no_other_face() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (open, room) = (bob.public_room().await, bob.create_room(json!({})).await);
    bob.invite(&room, &alice).await;
    shared().suspend(&alice, true).await;
    let request = alice.post("/_matrix/client/v3/rooms/{roomId}/join", &[&room]);
    request.json(json!({})).await.error(403, "M_USER_SUSPENDED");
    let request = alice.post("/_matrix/client/v3/join/{roomIdOrAlias}", &[&room]);
    request.json(json!({})).await.error(403, "M_USER_SUSPENDED");
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    for room in [&open, &room] {
        let request = alice.put(path, &[room, "m.room.member", &alice.id]);
        request.json(json!({ "membership": "join" })).await.error(403, "M_USER_SUSPENDED");
    }
    let path = "/_matrix/client/v3/profile/{userId}/{keyName}";
    let request = alice.put(path, &[&alice.id, "avatar_url"]);
    request.json(json!({ "avatar_url": "mxc://depesche.test/abc" })).await.error(403, "M_USER_SUSPENDED");
    alice.delete(path, &[&alice.id, "displayname"]).await.error(403, "M_USER_SUSPENDED");
    assert_eq!(bob.membership(&room, &alice).await.as_deref(), Some("invite"));
    assert_eq!(bob.membership(&open, &alice).await, None);
    shared().suspend(&alice, false).await;
    alice.join(&room).await;
}

#[tokio::test]
async fn a_locked_user_can_only_log_out() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    shared().lock(&alice, true).await;
    let refused = alice.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_USER_LOCKED");
    assert_eq!(refused["soft_logout"], true, "{refused}");
    alice.get("/_matrix/client/v3/sync", &[]).await.error(401, "M_USER_LOCKED");
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let body = json!({ "type": "m.login.password", "password": PASSWORD, "identifier": identifier });
    let answer = alice.without_token().post("/_matrix/client/v3/login", &[]).json(body).await;
    answer.error_in(401, &["M_USER_LOCKED"]);
    other.post("/_matrix/client/v3/logout", &[]).await.ok();
    shared().lock(&alice, false).await;
    alice.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
    other.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
    shared().lock(&alice, true).await;
    alice.post("/_matrix/client/v3/logout/all", &[]).await.ok();
}

#[tokio::test]
async fn whois_tells_administrators_and_oneself_where_devices_were() {
    let (admin, alice) = (shared().admin("admin").await, shared().user("alice").await);
    let bob = shared().user("bob").await;
    alice.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
    for asker in [&admin, &alice] {
        let found = asker.get("/_matrix/client/v3/admin/whois/{userId}", &[&alice.id]).await.ok();
        assert_eq!(found["user_id"], alice.id);
        let devices = found["devices"].as_object().expect("devices");
        let connections = devices.values().flat_map(|device| device["sessions"].as_array().expect("sessions"));
        let connections = connections.filter_map(|session| session["connections"].as_array()).flatten();
        for connection in connections {
            let known = connection.as_object().expect("a connection").values().all(|value| !value.is_null());
            assert!(known, "{connection}");
        }
    }
    bob.get("/_matrix/client/v3/admin/whois/{userId}", &[&alice.id]).await.error(403, "M_FORBIDDEN");
}
