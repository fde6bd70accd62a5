//! What one device may have and one request may name: as much as its bound says, and not one more.

use std::collections::BTreeMap;

use depesche_rules::bounds::{
    MAX_CLAIMS, MAX_DEVICE_ID_BYTES, MAX_FALLBACK_KEYS, MAX_KEY_NAME_BYTES, MAX_ONE_TIME_KEYS, MAX_QUERIED_USERS,
    MAX_SIGNED_OBJECTS,
};
use ruma::api::client::keys::{claim_keys, get_keys, upload_signatures};
use serde_json::{Map, Value, json};

use super::{Home, Pair, alice, key, one_time};
use crate::keys::{ClaimError, QueryError, SignaturesError, UploadError};

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|no| format!("K{no}")).collect()
}

/// A request with so many one-time keys.
fn stock(count: usize) -> Value {
    one_time(&ids(count).iter().map(String::as_str).collect::<Vec<_>>())
}

/// A request with a fallback key for each of so many algorithms.
fn fallback(count: usize) -> Value {
    let keys: BTreeMap<String, Value> = (0..count).map(|no| (format!("x.algorithm.{no}:F"), key("f"))).collect();
    json!({ "fallback_keys": keys })
}

fn too_many<T>(outcome: &Result<T, UploadError>) -> bool {
    matches!(outcome, Err(UploadError::TooMany))
}

#[tokio::test]
async fn a_device_has_so_many_keys_in_stock_and_no_more() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    assert!(too_many(&home.upload(&alice(), "PHONE", stock(MAX_ONE_TIME_KEYS + 1)).await));
    let full = json!({ "signed_curve25519": MAX_ONE_TIME_KEYS });
    assert_eq!(home.upload(&alice(), "PHONE", stock(MAX_ONE_TIME_KEYS)).await.unwrap(), full);
    // Those of another algorithm count with them.
    let other = json!({ "one_time_keys": { "x.other:A": key("a") } });
    for more in [one_time(&["MORE"]), other] {
        assert!(too_many(&home.upload(&alice(), "PHONE", more).await));
    }
    home.claim(&[(&alice(), "PHONE")]).await;
    assert_eq!(home.upload(&alice(), "PHONE", one_time(&["MORE"])).await.unwrap(), full);

    for many in [MAX_FALLBACK_KEYS + 1, MAX_ONE_TIME_KEYS + 1] {
        assert!(too_many(&home.upload(&alice(), "PHONE", fallback(many)).await), "{many}");
    }
    home.upload(&alice(), "PHONE", fallback(MAX_FALLBACK_KEYS)).await.unwrap();
    let more = json!({ "fallback_keys": { "x.another:F": key("f") } });
    assert!(too_many(&home.upload(&alice(), "PHONE", more).await));
    home.upload(&alice(), "PHONE", fallback(MAX_FALLBACK_KEYS)).await.unwrap();
}

#[tokio::test]
async fn a_key_has_a_name_that_fits_into_a_row() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let named = |length: usize| format!("signed_curve25519:{}", "x".repeat(length - "signed_curve25519:".len()));
    for kind in ["one_time_keys", "fallback_keys"] {
        let of = |length| json!({ kind: { named(length): key("k") } });
        home.upload(&alice(), "PHONE", of(MAX_KEY_NAME_BYTES)).await.unwrap();
        let refused = home.upload(&alice(), "PHONE", of(MAX_KEY_NAME_BYTES + 1)).await;
        assert!(matches!(refused, Err(UploadError::Malformed { .. })), "{kind}");
    }
    // Those of the device's identity end in its id, so the algorithm is what may be long.
    let pair = Pair::new();
    for (length, fits) in [(MAX_KEY_NAME_BYTES, true), (MAX_KEY_NAME_BYTES + 1, false)] {
        let mut keys = pair.device_keys(&alice(), "PHONE");
        keys["keys"][format!("{}:PHONE", "x".repeat(length - ":PHONE".len()))] = json!("k");
        let outcome = home.upload(&alice(), "PHONE", json!({ "device_keys": keys })).await;
        assert_eq!(outcome.is_ok(), fits, "{length}");
    }
    // A claim of what cannot be there finds nothing, and all else that it names.
    home.upload(&alice(), "PHONE", one_time(&["A"])).await.unwrap();
    let long = "x".repeat(MAX_DEVICE_ID_BYTES + 1);
    assert_eq!(home.claim(&[(&alice(), &long), (&alice(), "PHONE")]).await.len(), 1);
}

#[tokio::test]
async fn a_request_names_so_many_and_no_more() {
    let home = Home::new();
    let query = async |count: usize| {
        let users: Map<_, _> = (0..count).map(|no| (format!("@u{no}:other.example"), json!([]))).collect();
        let mut request = get_keys::v3::Request::new();
        request.device_keys = serde_json::from_value(users.into()).unwrap();
        home.keys.query(&alice(), &request).await
    };
    assert_eq!(query(MAX_QUERIED_USERS).await.unwrap().failures.len(), 1);
    assert!(matches!(query(MAX_QUERIED_USERS + 1).await, Err(QueryError::TooMany)));

    // Shared among two users: what counts is the sum.
    let claim = async |count: usize| {
        let devices = |range: std::ops::Range<usize>| {
            range.map(|no| (format!("D{no}"), json!("signed_curve25519"))).collect::<Map<_, _>>()
        };
        let wishes =
            json!({ "@a:other.example": devices(0..count / 2), "@b:other.example": devices(count / 2..count) });
        let request = claim_keys::v3::Request::new(serde_json::from_value(wishes).unwrap());
        home.keys.claim(&request).await
    };
    assert_eq!(claim(MAX_CLAIMS).await.unwrap().failures.len(), 1);
    assert!(matches!(claim(MAX_CLAIMS + 1).await, Err(ClaimError::TooMany)));

    let sign = async |count: usize| {
        let objects: Map<_, _> = (0..count).map(|no| (format!("D{no}"), json!({}))).collect();
        let signed = serde_json::from_value(json!({ alice(): objects })).unwrap();
        home.keys.upload_signatures(&alice(), &upload_signatures::v3::Request::new(signed)).await
    };
    assert_eq!(sign(MAX_SIGNED_OBJECTS).await.unwrap()[&alice()].len(), MAX_SIGNED_OBJECTS);
    assert!(matches!(sign(MAX_SIGNED_OBJECTS + 1).await, Err(SignaturesError::TooMany)));
}
