//! `/devices` and `/delete_devices`.

use serde_json::json;

use super::{Home, refused};

const PHONE: &str = "/_matrix/client/v3/devices/PHONE";

#[tokio::test]
async fn devices_are_listed_shown_and_renamed() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    home.device("alice", "TABLET").await;
    let list = home.ask_as(&alice, "GET /_matrix/client/v3/devices", "").await.body;
    let ids: Vec<_> = list["devices"].as_array().unwrap().iter().map(|device| &device["device_id"]).collect();
    assert_eq!(ids, ["PHONE", "TABLET"]);
    let tablet = home.ask_as(&alice, "GET /_matrix/client/v3/devices/TABLET", "").await.body;
    for shown in [&list["devices"][1], &tablet] {
        let absent = ["display_name", "last_seen_ip"].iter().all(|field| shown.get(*field).is_none());
        assert!(absent, "it has no name, and nobody came with it: {shown}");
    }
    let renamed = home.send_as(&alice, &format!("PUT {PHONE}"), json!({ "display_name": "Mine" })).await;
    assert_eq!(renamed.body, json!({}));
    assert_eq!(home.send_as(&alice, &format!("PUT {PHONE}"), json!({})).await.status, 200);
    let shown = home.ask_as(&alice, &format!("GET {PHONE}"), "").await.body;
    assert_eq!((&shown["device_id"], &shown["display_name"]), (&json!("PHONE"), &json!("Mine")));
}

#[tokio::test]
async fn a_device_that_is_not_there_is_not_found() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let path = "/_matrix/client/v3/devices/NOTHING";
    assert_eq!(refused(&home.ask_as(&alice, &format!("GET {path}"), "").await), (404, "M_NOT_FOUND"));
    for body in [json!({}), json!({ "display_name": "x" })] {
        assert_eq!(refused(&home.send_as(&alice, &format!("PUT {path}"), body).await), (404, "M_NOT_FOUND"));
    }
    let body = json!({ "display_name": "x".repeat(300) });
    assert_eq!(refused(&home.send_as(&alice, &format!("PUT {PHONE}"), body).await), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn the_end_of_devices_is_confirmed() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let (tablet, laptop) = (home.device("alice", "TABLET").await, home.device("alice", "LAPTOP").await);
    let answer = home.confirm_as(&alice, "DELETE /_matrix/client/v3/devices/TABLET", json!({})).await;
    assert_eq!((answer.status, answer.body), (200, json!({})));
    let bulk = json!({ "devices": ["LAPTOP", "TABLET"] });
    assert_eq!(home.confirm_as(&alice, "POST /_matrix/client/v3/delete_devices", bulk).await.body, json!({}));
    for gone in [&tablet, &laptop] {
        let answer = home.ask_as(gone, "GET /_matrix/client/v3/devices", "").await;
        assert_eq!(refused(&answer), (401, "M_UNKNOWN_TOKEN"), "{}", gone.device);
    }
    assert_eq!(home.ask_as(&alice, &format!("GET {PHONE}"), "").await.status, 200);
}

#[tokio::test]
async fn the_body_of_a_deletion_may_be_left_out() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let answer = home.ask_as(&alice, &format!("DELETE {PHONE}"), "").await;
    assert_eq!(answer.status, 401);
    assert!(answer.body["session"].is_string());
}
