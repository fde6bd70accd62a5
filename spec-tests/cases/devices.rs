//! Devices. Client-server API, "Client behaviour" and "Device management".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::user::PASSWORD;

fn password_stage(user: &User, session: &Value) -> Value {
    json!({
        "type": "m.login.password", "session": session, "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": user.id }
    })
}

#[tokio::test]
async fn devices_are_listed_with_their_names() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let answer = alice.get("/_matrix/client/v3/devices", &[]).await.ok();
    let mut ids: Vec<&str> =
        answer["devices"].as_array().expect("devices").iter().filter_map(|d| d["device_id"].as_str()).collect();
    ids.sort_unstable();
    let mut expected = [alice.device.as_str(), other.device.as_str()];
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_device_without_a_name_says_none() {
    let alice = shared().user("alice").await.another_device().await;
    let device = alice.get("/_matrix/client/v3/devices/{deviceId}", &[&alice.device]).await.ok();
    let list = alice.get("/_matrix/client/v3/devices", &[]).await.ok();
    let listed = list["devices"].as_array().expect("devices").iter().find(|one| one["device_id"] == alice.device);
    for device in [&device, listed.expect("the device")] {
        differs(
            "client-server-api#get_matrixclientv3devicesdeviceid",
            || assert!(device.get("display_name").is_none(), "{device}"),
            || assert!(device["display_name"].is_null(), "{device}"),
        );
    }
}

#[tokio::test]
async fn a_device_can_be_renamed() {
    let alice = shared().user("alice").await;
    let body = json!({ "display_name": "Tablet" });
    alice.put("/_matrix/client/v3/devices/{deviceId}", &[&alice.device]).json(body).await.ok();
    let device = alice.get("/_matrix/client/v3/devices/{deviceId}", &[&alice.device]).await.ok();
    assert_eq!((&device["device_id"], &device["display_name"]), (&json!(alice.device), &json!("Tablet")));
}

#[tokio::test]
async fn a_renaming_without_a_name_changes_nothing() {
    let alice = shared().user("alice").await;
    alice.put("/_matrix/client/v3/devices/{deviceId}", &[&alice.device]).json(json!({})).await.ok();
    let device = alice.get("/_matrix/client/v3/devices/{deviceId}", &[&alice.device]).await.ok();
    assert_eq!(device["display_name"], "first");
}

#[tokio::test]
async fn an_unknown_device_is_not_found() {
    let alice = shared().user("alice").await;
    alice.get("/_matrix/client/v3/devices/{deviceId}", &["NOTHING"]).await.error(404, "M_NOT_FOUND");
    let body = json!({ "display_name": "Tablet" });
    let answer = alice.put("/_matrix/client/v3/devices/{deviceId}", &["NOTHING"]).json(body).await;
    answer.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_device_of_another_user_is_not_found() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    alice.get("/_matrix/client/v3/devices/{deviceId}", &[&bob.device]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn the_deletion_of_a_device_asks_for_the_password_and_ends_its_token() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let path = "/_matrix/client/v3/devices/{deviceId}";
    let first = alice.delete("/_matrix/client/v3/devices/{deviceId}", &[&other.device]).json(json!({})).await;
    let first = first.status(401);
    other.get("/_matrix/client/v3/account/whoami", &[]).await.ok();
    let body = json!({ "auth": password_stage(&alice, &first["session"]) });
    alice.delete(path, &[&other.device]).json(body).await.ok();
    other.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
    alice.get(path, &[&other.device]).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn several_devices_are_deleted_at_once() {
    let alice = shared().user("alice").await;
    let (second, third) = (alice.another_device().await, alice.another_device().await);
    let mut body = json!({ "devices": [second.device, third.device] });
    let first = alice.post("/_matrix/client/v3/delete_devices", &[]).json(body.clone()).await.status(401);
    body["auth"] = password_stage(&alice, &first["session"]);
    alice.post("/_matrix/client/v3/delete_devices", &[]).json(body).await.ok();
    let left = alice.get("/_matrix/client/v3/devices", &[]).await.ok();
    assert_eq!(left["devices"].as_array().map(Vec::len), Some(1), "{left}");
    for device in [&second, &third] {
        device.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
    }
}

#[tokio::test]
async fn a_name_that_is_too_long_is_refused() {
    let alice = shared().user("alice").await;
    let body = json!({ "display_name": "x".repeat(300) });
    let answer = alice.put("/_matrix/client/v3/devices/{deviceId}", &[&alice.device]).json(body).await;
    assert_eq!(answer.status, 400, "{answer}");
    let device = alice.get("/_matrix/client/v3/devices/{deviceId}", &[&alice.device]).await.ok();
    assert_eq!(device["display_name"], "first");
}

#[tokio::test]
async fn devices_need_a_token() {
    let client = shared().client();
    client.get("/_matrix/client/v3/devices", &[]).await.error(401, "M_MISSING_TOKEN");
    client.delete("/_matrix/client/v3/devices/{deviceId}", &["X"]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
    let body = json!({ "devices": ["X"] });
    client.post("/_matrix/client/v3/delete_devices", &[]).json(body).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_poll_ends_with_its_device() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let mut syncer = other.syncer();
    syncer.next().await;
    // Synapse lets the poll go on.
    let wait = if target() == Target::Depesche { 30_000 } else { 2_000 };
    let begun = std::time::Instant::now();
    let poll = async { syncer.request(wait).await };
    let log_out = async { other.post("/_matrix/client/v3/logout", &[]).json(json!({})).await.ok() };
    let (answer, _) = tokio::join!(poll, log_out);
    if target() == Target::Depesche {
        answer.error(401, "M_UNKNOWN_TOKEN");
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    }
    other.get("/_matrix/client/v3/account/whoami", &[]).await.error(401, "M_UNKNOWN_TOKEN");
}
