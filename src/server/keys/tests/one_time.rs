use std::collections::{BTreeMap, BTreeSet};

use depesche_rules::bounds::{MAX_KEY_OBJECT_BYTES, MAX_ONE_TIME_KEY_BYTES};
use depesche_store::faults::Fault as EngineFault;
use ruma::{OwnedOneTimeKeyId, api::client::keys::upload_keys, serde::Raw};
use serde_json::{Value, json};

use super::{Home, alice, bob, claimed, key, one_time};
use crate::keys::{KeyCounts, Keys, UploadError, signed::Signed};

async fn counts(home: &Home, device: &str) -> KeyCounts {
    home.keys.counts(&home.base.view(), &alice(), device.into()).await.unwrap()
}

#[tokio::test]
async fn counts_are_given_when_they_are_zero() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let answer = home.upload(&alice(), "PHONE", json!({})).await.unwrap();
    assert_eq!(answer, json!({ "signed_curve25519": 0 }));
    assert_eq!(counts(&home, "PHONE").await.one_time.len(), 1);
}

#[tokio::test]
async fn keys_are_claimed_in_the_order_of_their_uploads() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    // Ids that sort the other way round.
    for id in ["C", "B", "A"] {
        home.upload(&alice(), "PHONE", one_time(&[id])).await.unwrap();
    }
    let mut order = Vec::new();
    for _ in 0..4 {
        order.extend(home.claim(&[(&alice(), "PHONE")]).await);
    }
    assert_eq!(order, ["signed_curve25519:C", "signed_curve25519:B", "signed_curve25519:A"]);
}

#[tokio::test]
async fn the_fallback_key_comes_last_and_is_used_from_then_on() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let fallback = json!({ "fallback_keys": { "signed_curve25519:F": key("f") } });
    home.upload(&alice(), "PHONE", fallback.clone()).await.unwrap();
    home.upload(&alice(), "PHONE", one_time(&["A"])).await.unwrap();
    assert_eq!(counts(&home, "PHONE").await.unused_fallback.len(), 1);
    assert_eq!(home.claim(&[(&alice(), "PHONE")]).await, ["signed_curve25519:A"]);
    assert_eq!(counts(&home, "PHONE").await.unused_fallback.len(), 1);
    for _ in 0..2 {
        assert_eq!(home.claim(&[(&alice(), "PHONE")]).await, ["signed_curve25519:F"]);
        assert_eq!(counts(&home, "PHONE").await.unused_fallback.len(), 0);
    }
    home.upload(&alice(), "PHONE", fallback).await.unwrap();
    assert_eq!(counts(&home, "PHONE").await.unused_fallback.len(), 0, "the same key again is as used as before");
    let other = json!({ "fallback_keys": { "signed_curve25519:G": key("g") } });
    home.upload(&alice(), "PHONE", other).await.unwrap();
    assert_eq!(counts(&home, "PHONE").await.unused_fallback.len(), 1);
    assert_eq!(home.claim(&[(&alice(), "PHONE")]).await, ["signed_curve25519:G"]);
}

#[tokio::test]
async fn another_key_under_the_same_id_is_refused_with_all_of_the_request() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    home.upload(&alice(), "PHONE", one_time(&["A"])).await.unwrap();
    let answer = home.upload(&alice(), "PHONE", one_time(&["A"])).await.unwrap();
    assert_eq!(answer, json!({ "signed_curve25519": 1 }), "the same key again is no change");
    let other = json!({ "one_time_keys": { "signed_curve25519:A": key("other"), "signed_curve25519:B": key("b") } });
    let refused = home.upload(&alice(), "PHONE", other).await;
    assert!(matches!(refused, Err(UploadError::OneTimeKeyExists { id }) if id == "signed_curve25519:A"));
    let answer = home.upload(&alice(), "PHONE", json!({})).await.unwrap();
    assert_eq!(answer, json!({ "signed_curve25519": 1 }));
}

#[tokio::test]
async fn a_repeated_upload_does_not_bring_a_claimed_key_back() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    home.upload(&alice(), "PHONE", one_time(&["A", "B"])).await.unwrap();
    assert_eq!(home.claim(&[(&alice(), "PHONE")]).await, ["signed_curve25519:A"]);
    let answer = home.upload(&alice(), "PHONE", one_time(&["A", "B"])).await.unwrap();
    assert_eq!(answer, json!({ "signed_curve25519": 1 }));
    assert_eq!(home.claim(&[(&alice(), "PHONE")]).await, ["signed_curve25519:B"]);
    assert!(home.claim(&[(&alice(), "PHONE")]).await.is_empty());
}

#[tokio::test]
async fn malformed_keys_are_refused() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let malformed =
        [json!("text"), json!({ "key": "k" }), json!({ "key": 1, "signatures": {} }), json!(7), json!(null)];
    for wrong in malformed {
        let request = json!({ "one_time_keys": { "signed_curve25519:A": wrong } });
        let refused = home.upload(&alice(), "PHONE", request).await;
        assert!(matches!(refused, Err(UploadError::Malformed { .. })));
    }
    let two = json!({ "fallback_keys": { "signed_curve25519:A": key("a"), "signed_curve25519:B": key("b") } });
    assert!(matches!(home.upload(&alice(), "PHONE", two).await, Err(UploadError::Fallbacks)));
}

#[tokio::test]
async fn keys_are_a_devices_own() {
    let home = Home::new();
    for device in ["PHONE", "LAPTOP"] {
        home.device(&alice(), device).await;
        home.upload(&alice(), device, one_time(&["A"])).await.unwrap();
    }
    home.device(&bob(), "PHONE").await;
    let (alice, bob) = (alice(), bob());
    let wishes = [(&*alice, "PHONE"), (&*alice, "LAPTOP"), (&*bob, "PHONE"), (&*bob, "NONE")];
    assert_eq!(home.claim(&wishes).await.len(), 2);
    assert!(home.claim(&wishes).await.is_empty());
}

/// Claims that all begin before the first of them commits; `waiting` of them reach the store at a time.
async fn simultaneous(home: &Home, nodes: &[&Keys], claims: usize, waiting: usize) -> Vec<String> {
    let alice = alice();
    let wish = [(&*alice, "PHONE")];
    home.faults.hold();
    let claims = (0..claims).map(|no| claimed(nodes[no % nodes.len()], &wish));
    let release = async {
        home.faults.waiting(waiting).await;
        home.faults.release();
    };
    let (claims, ()) = futures::future::join(futures::future::join_all(claims), release).await;
    claims.into_iter().flat_map(Result::unwrap).collect()
}

#[tokio::test]
async fn simultaneous_claims_never_get_the_same_key() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let ids: Vec<String> = (0..60).map(|id| format!("K{id}")).collect();
    home.upload(&alice(), "PHONE", one_time(&ids.iter().map(String::as_str).collect::<Vec<_>>())).await.unwrap();
    // Those of one node wait for each other, those of several nodes conflict and try again.
    let mut claimed = simultaneous(&home, &[&home.keys], 50, 1).await;
    let nodes = [home.node(), home.node(), home.node()];
    claimed.extend(simultaneous(&home, &nodes.each_ref(), 3, 3).await);
    assert_eq!(claimed.len(), 53);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 53);
    let left = home.upload(&alice(), "PHONE", json!({})).await.unwrap();
    assert_eq!(left, json!({ "signed_curve25519": 7 }));
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_loses_the_key_but_never_doubles_it() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    home.upload(&alice(), "PHONE", one_time(&["A", "B"])).await.unwrap();
    home.faults.next([EngineFault::UnknownApplied]);
    assert!(claimed(&home.keys, &[(&alice(), "PHONE")]).await.is_err());
    assert_eq!(home.claim(&[(&alice(), "PHONE")]).await, ["signed_curve25519:B"]);
}

#[tokio::test]
async fn claims_of_many_devices_take_several_batches() {
    let home = Home::new();
    let devices: Vec<String> = (0..150).map(|no| format!("D{no}")).collect();
    for device in &devices {
        home.device(&alice(), device).await;
        home.upload(&alice(), device, one_time(&[&format!("K{device}")])).await.unwrap();
    }
    let alice = alice();
    let wishes: Vec<_> = devices.iter().map(|device| (&*alice, device.as_str())).collect();
    assert_eq!(home.claim(&wishes).await.len(), 150);
}

#[tokio::test]
async fn remote_servers_are_failures() {
    let home = Home::new();
    let request = json!({ "@c:other.example": { "D": "signed_curve25519" } });
    let request = ruma::api::client::keys::claim_keys::v3::Request::new(serde_json::from_value(request).unwrap());
    let answer = home.keys.claim(&request).await.unwrap();
    assert!(answer.one_time_keys.is_empty());
    assert!(answer.failures.get("other.example").is_some_and(Value::is_object));
}

#[tokio::test]
async fn a_change_wakes_the_device() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let mut watch = home.base.topics().watch();
    let topic = crate::topic::device(&alice(), "PHONE".into());
    watch.add(topic);
    for step in 0..2 {
        let before = home.base.view().position();
        match step {
            0 => drop(home.upload(&alice(), "PHONE", one_time(&["A"])).await.unwrap()),
            _ => drop(home.claim(&[(&alice(), "PHONE")]).await),
        }
        assert_eq!(watch.changed_since(before), [topic]);
    }
}

#[tokio::test]
async fn large_keys_are_refused_by_their_text() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let inner = key("a").to_string();
    // Spaces are no part of what is stored: that they count shows that the text is not read first.
    let padded = |bytes: usize| format!("{{{}{}", " ".repeat(bytes - inner.len()), &inner[1..]);
    let upload = async |bytes: usize, is_fallback: bool| {
        let id = OwnedOneTimeKeyId::try_from("signed_curve25519:A").unwrap();
        let keys = BTreeMap::from([(id, Raw::from_json_string(padded(bytes)).unwrap())]);
        let mut request = upload_keys::v3::Request::new();
        if is_fallback {
            request.fallback_keys = keys
        } else {
            request.one_time_keys = keys
        }
        home.keys.upload(&alice(), "PHONE".into(), &request).await
    };
    for is_fallback in [false, true] {
        upload(MAX_ONE_TIME_KEY_BYTES, is_fallback).await.unwrap();
        let refused = upload(MAX_ONE_TIME_KEY_BYTES + 1, is_fallback).await;
        assert!(matches!(refused, Err(UploadError::Malformed { .. })));
    }
    let spaces = |bytes: usize| format!("{{{}}}", " ".repeat(bytes - 2));
    assert!(Signed::parse(&spaces(MAX_KEY_OBJECT_BYTES)).is_some());
    assert!(Signed::parse(&spaces(MAX_KEY_OBJECT_BYTES + 1)).is_none());
}
