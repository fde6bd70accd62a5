//! Device keys, one-time keys, fallback keys, cross-signing, signatures, key changes. Client-server API, "End-to-end
//! encryption" and "Cross-signing".

use depesche_spec_tests::keys::{Key, cross_signing, device_keys, fallback_key, one_time_key};
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{SERVER_NAME, unique};
use depesche_spec_tests::user::PASSWORD;

const UPLOAD: &str = "/_matrix/client/v3/keys/upload";
const QUERY: &str = "/_matrix/client/v3/keys/query";
const CLAIM: &str = "/_matrix/client/v3/keys/claim";

async fn upload_device(user: &User) -> Value {
    let body = json!({ "device_keys": device_keys(user) });
    user.post("/_matrix/client/v3/keys/upload", &[]).json(body).await.ok()
}

async fn upload_one_time_keys(user: &User, labels: &[&str]) -> Value {
    let mut keys = json!({});
    for label in labels {
        keys[format!("signed_curve25519:{label}")] = one_time_key(user, label);
    }
    user.post("/_matrix/client/v3/keys/upload", &[]).json(json!({ "one_time_keys": keys })).await.ok()
}

async fn query(user: &User, whom: &User) -> Value {
    let body = json!({ "device_keys": { whom.id.clone(): [] } });
    user.post("/_matrix/client/v3/keys/query", &[]).json(body).await.ok()
}

async fn claim(user: &User, whom: &User) -> Value {
    let body = json!({ "one_time_keys": { whom.id.clone(): { whom.device.clone(): "signed_curve25519" } } });
    let answer = user.post("/_matrix/client/v3/keys/claim", &[]).json(body).await.ok();
    answer["one_time_keys"][&whom.id][&whom.device].clone()
}

/// Uploads cross-signing keys, through the authentication if the server asks for it.
async fn upload_cross_signing(user: &User, mut body: Value) {
    let path = "/_matrix/client/v3/keys/device_signing/upload";
    let answer = user.post(path, &[]).json(body.clone()).await;
    if answer.status == 401 {
        body["auth"] = password_stage(user, &answer.body["session"]);
        user.post(path, &[]).json(body).await.ok();
    } else {
        answer.ok();
    }
}

fn password_stage(user: &User, session: &Value) -> Value {
    json!({
        "type": "m.login.password", "session": session, "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": user.id }
    })
}

fn changed(sync: &Value, user: &User) -> bool {
    sync["device_lists"]["changed"].as_array().is_some_and(|list| list.contains(&json!(user.id)))
}

#[tokio::test]
async fn device_keys_are_found_by_others() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    upload_device(&bob).await;
    let answer = query(&alice, &bob).await;
    let mut seen = answer["device_keys"][&bob.id][&bob.device].clone();
    let unsigned = seen.as_object_mut().expect("the device").remove("unsigned").unwrap_or_default();
    assert_eq!(seen, device_keys(&bob));
    assert_eq!(unsigned["device_display_name"].as_str().unwrap_or("first"), "first");
    assert!(answer["failures"].as_object().is_none_or(serde_json::Map::is_empty), "{answer}");
}

#[tokio::test]
async fn a_query_can_name_devices() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    upload_device(&alice).await;
    upload_device(&other).await;
    let body = json!({ "device_keys": { alice.id.clone(): [other.device] } });
    let answer = alice.post("/_matrix/client/v3/keys/query", &[]).json(body).await.ok();
    let devices = answer["device_keys"][&alice.id].as_object().expect("devices");
    assert_eq!(devices.keys().collect::<Vec<_>>(), [&other.device]);
}

#[tokio::test]
async fn a_device_without_keys_and_a_user_unknown_are_not_in_the_answer() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let body = json!({ "device_keys": { bob.id.clone(): [], "@nobody-at-all:depesche.test": [] } });
    let answer = alice.post(QUERY, &[]).json(body).await.ok();
    for id in [bob.id.as_str(), "@nobody-at-all:depesche.test"] {
        assert!(answer["device_keys"][id].as_object().is_none_or(serde_json::Map::is_empty), "{answer}");
    }
}

#[tokio::test]
async fn device_keys_of_another_device_are_refused() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let body = json!({ "device_keys": device_keys(&bob) });
    let answer = alice.post(UPLOAD, &[]).json(body).await;
    differs(
        "client-server-api#post_matrixclientv3keysupload",
        || assert_eq!(answer.status, 400, "{answer}"),
        || assert!([200, 400].contains(&answer.status), "{answer}"),
    );
    assert!(query(&alice, &bob).await["device_keys"][&bob.id][&bob.device].is_null());
}

#[tokio::test]
async fn device_keys_are_whole_or_refused() {
    let alice = shared().user("alice").await;
    for field in ["user_id", "device_id", "algorithms", "keys", "signatures"] {
        let mut keys = device_keys(&alice);
        keys.as_object_mut().expect("an object").remove(field);
        let answer = alice.post(UPLOAD, &[]).json(json!({ "device_keys": keys })).await;
        answer.error_in(400, &["M_BAD_JSON", "M_MISSING_PARAM"]);
    }
}

#[tokio::test]
async fn a_deleted_device_has_no_keys() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    upload_device(&bob).await;
    let left = bob.another_device().await;
    bob.post("/_matrix/client/v3/logout", &[]).json(json!({})).await.ok();
    let answer = query(&alice, &left).await;
    assert!(answer["device_keys"][&bob.id].get(&bob.device).is_none(), "{answer}");
}

#[tokio::test]
async fn uploads_are_counted() {
    let alice = shared().user("alice").await;
    assert_eq!(upload_device(&alice).await["one_time_key_counts"]["signed_curve25519"].as_u64().unwrap_or(0), 0);
    let answer = upload_one_time_keys(&alice, &["A", "B"]).await;
    assert_eq!(answer["one_time_key_counts"]["signed_curve25519"], 2);
    let answer = upload_one_time_keys(&alice, &["C"]).await;
    assert_eq!(answer["one_time_key_counts"]["signed_curve25519"], 3);
    let sync = alice.syncer().next().await;
    assert_eq!(sync["device_one_time_keys_count"]["signed_curve25519"], 3, "{sync}");
}

#[tokio::test]
async fn a_one_time_key_is_claimed_once_in_the_order_of_upload() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    upload_device(&bob).await;
    for label in ["Z", "A", "M"] {
        upload_one_time_keys(&bob, &[label]).await;
    }
    for label in ["Z", "A", "M"] {
        let key = claim(&alice, &bob).await;
        assert_eq!(key[format!("signed_curve25519:{label}")], one_time_key(&bob, label), "{key}");
    }
    assert!(claim(&alice, &bob).await.is_null());
    assert_eq!(bob.syncer().next().await["device_one_time_keys_count"]["signed_curve25519"].as_u64().unwrap_or(0), 0);
}

#[tokio::test]
async fn claims_at_the_same_time_get_different_keys() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    upload_device(&bob).await;
    let labels: Vec<String> = (0..12).map(|n| format!("K{n}")).collect();
    upload_one_time_keys(&bob, &labels.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (alice, bob) = (alice.clone(), bob.clone());
        tasks.spawn(async move { claim(&alice, &bob).await });
    }
    let mut seen: Vec<String> = tasks
        .join_all()
        .await
        .iter()
        .map(|key| key.as_object().expect("a key").keys().next().cloned().expect("one"))
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 12, "{seen:?}");
}

#[tokio::test]
async fn a_fallback_key_is_given_when_no_other_is_left() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    upload_device(&bob).await;
    upload_one_time_keys(&bob, &["A"]).await;
    let body = json!({ "fallback_keys": { "signed_curve25519:F": fallback_key(&bob, "F") } });
    bob.post(UPLOAD, &[]).json(body).await.ok();
    let mut syncer = bob.syncer();
    assert_eq!(syncer.next().await["device_unused_fallback_key_types"], json!(["signed_curve25519"]));
    assert!(claim(&alice, &bob).await.get("signed_curve25519:A").is_some());
    for _ in 0..2 {
        let key = claim(&alice, &bob).await;
        assert_eq!(key["signed_curve25519:F"], fallback_key(&bob, "F"), "{key}");
    }
    syncer.until(|sync| sync["device_unused_fallback_key_types"] == json!([])).await;
    let body = json!({ "fallback_keys": { "signed_curve25519:G": fallback_key(&bob, "G") } });
    bob.post(UPLOAD, &[]).json(body).await.ok();
    syncer.until(|sync| sync["device_unused_fallback_key_types"] == json!(["signed_curve25519"])).await;
    assert!(claim(&alice, &bob).await.get("signed_curve25519:G").is_some());
}

/// As Element for iOS says it.
#[tokio::test]
async fn a_fallback_key_may_come_under_its_older_name() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    upload_device(&bob).await;
    let body = json!({ "org.matrix.msc2732.fallback_keys": { "signed_curve25519:F": fallback_key(&bob, "F") } });
    bob.post(UPLOAD, &[]).json(body).await.ok();
    let claimed = claim(&alice, &bob).await;
    // The specification has the newer name alone; clients that are still in use send the older.
    differs(
        "client-server-api#one-time-and-fallback-keys",
        || assert_eq!(claimed["signed_curve25519:F"], fallback_key(&bob, "F")),
        || assert!(claimed["signed_curve25519:F"].is_null(), "{claimed}"),
    );
}

#[tokio::test]
async fn another_key_under_the_same_id_is_refused() {
    let alice = shared().user("alice").await;
    upload_device(&alice).await;
    upload_one_time_keys(&alice, &["A"]).await;
    upload_one_time_keys(&alice, &["A"]).await;
    let body = json!({ "one_time_keys": { "signed_curve25519:A": one_time_key(&alice, "other") } });
    let answer = alice.post(UPLOAD, &[]).json(body).await;
    assert_eq!(answer.status, 400, "{answer}");
    let answer = upload_one_time_keys(&alice, &["B"]).await;
    assert_eq!(answer["one_time_key_counts"]["signed_curve25519"], 2);
}

#[tokio::test]
async fn a_new_device_is_a_change_for_those_who_share_a_room() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let stranger = shared().user("stranger").await;
    let room = alice.public_room().await;
    bob.join(&room).await;
    let (mut of_alice, mut of_stranger) = (alice.syncer(), stranger.syncer());
    let from = of_alice.next().await["next_batch"].clone();
    of_stranger.next().await;
    upload_device(&bob).await;
    let sync = of_alice.until(|sync| changed(sync, &bob)).await;
    assert!(!changed(&of_stranger.next().await, &bob));
    let query = [("from", from.as_str().expect("a token")), ("to", sync["next_batch"].as_str().expect("a token"))];
    let changes = alice.get("/_matrix/client/v3/keys/changes", &[]).query(&query).await.ok();
    assert!(changes["changed"].as_array().expect("changed").contains(&json!(bob.id)), "{changes}");
    assert!(!changed(&of_alice.next().await, &bob), "a change comes once");
}

#[tokio::test]
async fn one_who_comes_is_a_change_and_one_who_goes_is_left() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    upload_device(&bob).await;
    let room = alice.public_room().await;
    let mut syncer = alice.syncer();
    syncer.next().await;
    bob.join(&room).await;
    syncer.until(|sync| changed(sync, &bob)).await;
    bob.leave(&room).await;
    let left = |sync: &Value| sync["device_lists"]["left"].as_array().is_some_and(|list| list.contains(&json!(bob.id)));
    syncer.until(left).await;
}

#[tokio::test]
async fn cross_signing_keys_are_found_by_others() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let keys = cross_signing(&bob, "1");
    upload_cross_signing(&bob, keys.clone()).await;
    let seen = query(&alice, &bob).await;
    assert_eq!(seen["master_keys"][&bob.id]["keys"], keys["master_key"]["keys"]);
    assert_eq!(seen["self_signing_keys"][&bob.id]["keys"], keys["self_signing_key"]["keys"]);
    assert!(seen["user_signing_keys"].get(&bob.id).is_none(), "only the owner sees it: {seen}");
    let seen = query(&bob, &bob).await;
    assert_eq!(seen["user_signing_keys"][&bob.id]["keys"], keys["user_signing_key"]["keys"]);
}

#[tokio::test]
async fn replacing_cross_signing_keys_asks_for_the_password() {
    let alice = shared().user("alice").await;
    upload_cross_signing(&alice, cross_signing(&alice, "1")).await;
    // The same keys again need nothing: a client repeats an upload whose answer it missed.
    let path = "/_matrix/client/v3/keys/device_signing/upload";
    alice.post("/_matrix/client/v3/keys/device_signing/upload", &[]).json(cross_signing(&alice, "1")).await.ok();
    let mut second = cross_signing(&alice, "2");
    let answer = alice.post(path, &[]).json(second.clone()).await.status(401);
    let unchanged = query(&alice, &alice).await;
    assert_eq!(unchanged["master_keys"][&alice.id]["keys"], cross_signing(&alice, "1")["master_key"]["keys"]);
    second["auth"] = password_stage(&alice, &answer["session"]);
    alice.post(path, &[]).json(second.clone()).await.ok();
    let replaced = query(&alice, &alice).await;
    assert_eq!(replaced["master_keys"][&alice.id]["keys"], second["master_key"]["keys"]);
}

#[tokio::test]
async fn cross_signing_keys_need_the_signature_of_the_master_key() {
    let alice = shared().user("alice").await;
    let mut keys = cross_signing(&alice, "1");
    keys["self_signing_key"]["signatures"] = cross_signing(&alice, "2")["self_signing_key"]["signatures"].clone();
    let path = "/_matrix/client/v3/keys/device_signing/upload";
    let mut answer = alice.post(path, &[]).json(keys.clone()).await;
    if answer.status == 401 {
        keys["auth"] = password_stage(&alice, &answer.body["session"]);
        answer = alice.post(path, &[]).json(keys).await;
    }
    answer.error(400, "M_INVALID_SIGNATURE");
    assert!(query(&alice, &alice).await["master_keys"].get(&alice.id).is_none());
}

#[tokio::test]
async fn a_cross_signing_key_is_not_named_like_a_device() {
    let alice = shared().user("alice").await;
    let device = Key::cross(&alice, "master 1").public();
    let body = json!({
        "type": "m.login.password", "password": PASSWORD, "device_id": device,
        "identifier": { "type": "m.id.user", "user": alice.id }
    });
    alice.without_token().post("/_matrix/client/v3/login", &[]).json(body).await.ok();
    let path = "/_matrix/client/v3/keys/device_signing/upload";
    let answer = alice.post(path, &[]).json(cross_signing(&alice, "1")).await;
    differs(
        "client-server-api#post_matrixclientv3keysdevice_signingupload",
        || drop(answer.clone().error(403, "M_FORBIDDEN")),
        || drop(answer.clone().error(500, "M_UNKNOWN")),
    );
    assert!(query(&alice, &alice).await["master_keys"].get(&alice.id).is_none());
}

#[tokio::test]
async fn an_upload_of_no_cross_signing_keys_is_none() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/keys/device_signing/upload";
    // Clients ask so whether they would have to authenticate.
    assert_eq!(alice.post(path, &[]).json(json!({})).await.ok(), json!({}));
    assert!(query(&alice, &alice).await["master_keys"].get(&alice.id).is_none());
}

#[tokio::test]
async fn a_user_without_devices_is_told_from_one_who_is_not_there() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    upload_device(&bob).await;
    bob.post("/_matrix/client/v3/logout", &[]).await.ok();
    let nobody = format!("@{}:{SERVER_NAME}", unique("nobody"));
    let body = json!({ "device_keys": { bob.id.clone(): [], nobody.clone(): [] } });
    let found = alice.post("/_matrix/client/v3/keys/query", &[]).json(body).await.ok();
    assert_eq!(found["device_keys"][&bob.id], json!({}), "{found}");
    differs(
        "client-server-api#post_matrixclientv3keysquery",
        || assert!(found["device_keys"].get(&nobody).is_none(), "{found}"),
        || assert_eq!(found["device_keys"][&nobody], json!({})),
    );
}

#[tokio::test]
async fn self_signing_without_a_master_key_is_refused() {
    let alice = shared().user("alice").await;
    let mut keys = json!({ "self_signing_key": cross_signing(&alice, "1")["self_signing_key"] });
    let path = "/_matrix/client/v3/keys/device_signing/upload";
    let mut answer = alice.post(path, &[]).json(keys.clone()).await;
    if answer.status == 401 {
        keys["auth"] = password_stage(&alice, &answer.body["session"]);
        answer = alice.post(path, &[]).json(keys).await;
    }
    answer.error(400, "M_MISSING_PARAM");
}

#[tokio::test]
async fn a_device_signed_by_its_owner_shows_the_signature() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    upload_device(&alice).await;
    upload_cross_signing(&alice, cross_signing(&alice, "1")).await;
    let mut syncer = bob.syncer();
    syncer.next().await;
    let key = Key::cross(&alice, "self_signing 1");
    let body = json!({ alice.id.clone(): { alice.device.clone(): key.sign(device_keys(&alice)) } });
    let answer = alice.post("/_matrix/client/v3/keys/signatures/upload", &[]).json(body).await.ok();
    assert!(answer["failures"].as_object().is_none_or(serde_json::Map::is_empty), "{answer}");
    syncer.until(|sync| changed(sync, &alice)).await;
    let seen = query(&bob, &alice).await;
    let signatures = &seen["device_keys"][&alice.id][&alice.device]["signatures"][&alice.id];
    assert!(signatures[key.id()].is_string(), "{seen}");
}

#[tokio::test]
async fn the_signature_on_another_user_is_shown_to_the_signer_alone() {
    let (alice, bob, carol) = (shared().user("alice").await, shared().user("bob").await, shared().user("carol").await);
    upload_cross_signing(&alice, cross_signing(&alice, "1")).await;
    let keys = cross_signing(&bob, "1");
    upload_cross_signing(&bob, keys.clone()).await;
    let signer = Key::cross(&alice, "user_signing 1");
    let master = Key::cross(&bob, "master 1").public();
    let body = json!({ bob.id.clone(): { master: signer.sign(keys["master_key"].clone()) } });
    let answer = alice.post("/_matrix/client/v3/keys/signatures/upload", &[]).json(body).await.ok();
    assert!(answer["failures"].as_object().is_none_or(serde_json::Map::is_empty), "{answer}");
    let signature = |seen: &Value| seen["master_keys"][&bob.id]["signatures"][&alice.id][signer.id()].clone();
    assert!(signature(&query(&alice, &bob).await).is_string());
    assert!(signature(&query(&bob, &bob).await).is_null());
    assert!(signature(&query(&carol, &bob).await).is_null());
}

#[tokio::test]
async fn a_wrong_signature_is_a_failure_and_not_kept() {
    let alice = shared().user("alice").await;
    upload_device(&alice).await;
    upload_cross_signing(&alice, cross_signing(&alice, "1")).await;
    let key = Key::cross(&alice, "self_signing 1");
    let mut wrong = key.sign(device_keys(&alice));
    wrong["signatures"][&alice.id][key.id()] =
        Key::of_device(&alice).sign(json!({}))["signatures"][&alice.id][Key::of_device(&alice).id()].clone();
    let body = json!({ alice.id.clone(): { alice.device.clone(): wrong } });
    let answer = alice.post("/_matrix/client/v3/keys/signatures/upload", &[]).json(body).await.ok();
    assert_eq!(answer["failures"][&alice.id][&alice.device]["errcode"], "M_INVALID_SIGNATURE", "{answer}");
    let seen = query(&alice, &alice).await;
    assert!(seen["device_keys"][&alice.id][&alice.device]["signatures"][&alice.id].get(key.id()).is_none(), "{seen}");
}

#[tokio::test]
async fn keys_of_the_wrong_shape_are_refused() {
    let alice = shared().user("alice").await;
    for body in [json!({ "device_keys": { alice.id.clone(): "all" } }), json!({ "device_keys": 7 }), json!({})] {
        let answer = alice.post(QUERY, &[]).json(body.clone()).await;
        differs(
            "client-server-api#post_matrixclientv3keysquery",
            || assert_eq!(answer.status, 400, "{body}: {answer}"),
            || assert!([200, 400, 500].contains(&answer.status), "{body}: {answer}"),
        );
    }
    let answer = alice.post(UPLOAD, &[]).json(json!({ "one_time_keys": [] })).await;
    differs(
        "client-server-api#post_matrixclientv3keysupload",
        || assert_eq!(answer.status, 400, "{answer}"),
        || assert_eq!(answer.status, 500, "{answer}"),
    );
    let answer = alice.post(CLAIM, &[]).json(json!({ "one_time_keys": 7 })).await;
    differs(
        "client-server-api#post_matrixclientv3keysclaim",
        || assert_eq!(answer.status, 400, "{answer}"),
        || assert_eq!(answer.status, 500, "{answer}"),
    );
}

#[tokio::test]
async fn keys_need_a_token() {
    let client = shared().client();
    for path in [UPLOAD, QUERY, CLAIM] {
        client.post(path, &[]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
    }
    client.get("/_matrix/client/v3/keys/changes", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn answers_about_keys_name_failures_also_where_there_are_none() {
    let alice = shared().user("alice").await;
    let body = json!({ "device_keys": {} });
    let found = alice.post("/_matrix/client/v3/keys/query", &[]).json(body).await.ok();
    assert_eq!((&found["failures"], &found["device_keys"]), (&json!({}), &json!({})), "{found}");
    let body = json!({ "one_time_keys": {} });
    let claimed = alice.post("/_matrix/client/v3/keys/claim", &[]).json(body).await.ok();
    assert_eq!((&claimed["failures"], &claimed["one_time_keys"]), (&json!({}), &json!({})), "{claimed}");
}

#[tokio::test]
async fn who_joins_a_room_learns_of_its_members_and_who_leaves_it_of_those_who_are_gone() {
    let server = shared();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    upload_device(&alice).await;
    upload_device(&bob).await;
    let encrypted = json!({ "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } });
    for state in [json!([]), json!([encrypted])] {
        let room = alice.create_room(json!({ "preset": "public_chat", "initial_state": state })).await;
        let mut syncer = bob.syncer();
        syncer.next().await;
        bob.join(&room).await;
        syncer.until(|sync| changed(sync, &alice)).await;
        bob.leave(&room).await;
        syncer.until(|sync| sync["device_lists"]["left"] == json!([alice.id])).await;
    }
}
