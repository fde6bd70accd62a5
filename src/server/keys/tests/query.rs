use serde_json::json;

use super::{Home, Pair, alice, bob, one_time};
use crate::keys::UploadError;

#[tokio::test]
async fn devices_are_answered_as_uploaded_with_their_names() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    home.device(&alice(), "TABLET").await;
    home.device(&alice(), "KEYLESS").await;
    let (phone, tablet) = (Pair::new(), Pair::new());
    let mut keys = phone.device_keys(&alice(), "PHONE");
    keys["x.unknown"] = json!({ "kept": true });
    keys["unsigned"] = json!({ "device_display_name": "forged" });
    home.upload(&alice(), "PHONE", json!({ "device_keys": keys })).await.unwrap();
    let request = json!({ "device_keys": tablet.device_keys(&alice(), "TABLET") });
    home.upload(&alice(), "TABLET", request).await.unwrap();
    let answer = home.query(&bob(), &alice()).await;
    keys["unsigned"] = json!({ "device_display_name": "PHONE of @alice:a.example" });
    assert_eq!(answer["device_keys"]["@alice:a.example"]["PHONE"], keys);
    assert_eq!(answer["device_keys"]["@alice:a.example"].as_object().unwrap().len(), 2);
    let answer = home.query_devices(&bob(), &alice(), &["TABLET", "NONE"]).await;
    assert_eq!(answer["device_keys"]["@alice:a.example"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn the_unknown_are_absent_and_the_remote_are_failures() {
    let home = Home::new();
    assert_eq!(home.query(&alice(), &bob()).await["device_keys"], json!({}));
    let answer = home.query(&alice(), ruma::user_id!("@c:other.example")).await;
    assert_eq!(answer["device_keys"], json!({}));
    assert!(answer["failures"]["other.example"].is_object());
}

#[tokio::test]
async fn device_keys_of_somebody_else_are_refused() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let pair = Pair::new();
    let good = pair.device_keys(&alice(), "PHONE");
    let mut other_key = good.clone();
    other_key["keys"] = json!({ "ed25519:OTHER": "k" });
    for keys in [pair.device_keys(&bob(), "PHONE"), pair.device_keys(&alice(), "OTHER"), other_key] {
        let refused = home.upload(&alice(), "PHONE", json!({ "device_keys": keys })).await;
        assert!(matches!(refused, Err(UploadError::Foreign(_))), "{keys}");
    }
    let mut wrong = vec![json!([]), json!({})];
    for (field, value) in [
        ("algorithms", json!("olm")),
        ("keys", json!({ "nocolon": "k" })),
        ("keys", json!({ "ed25519:PHONE": 1 })),
        ("signatures", json!({ "@alice:a.example": "s" })),
        ("number", json!(1.5)),
    ] {
        let mut keys = good.clone();
        keys[field] = value;
        wrong.push(keys);
    }
    for field in ["user_id", "device_id", "algorithms", "keys", "signatures"] {
        let mut keys = good.clone();
        keys.as_object_mut().unwrap().remove(field);
        wrong.push(keys);
    }
    for keys in wrong {
        let refused = home.upload(&alice(), "PHONE", json!({ "device_keys": keys })).await;
        assert!(matches!(refused, Err(UploadError::DeviceKeys(_))), "{keys}");
    }
    home.upload(&alice(), "PHONE", json!({ "device_keys": good })).await.unwrap();
}

#[tokio::test]
async fn a_device_that_ends_takes_its_keys_along() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let pair = Pair::new();
    let mut request = one_time(&["A"]);
    request["device_keys"] = pair.device_keys(&alice(), "PHONE");
    request["fallback_keys"] = json!({ "signed_curve25519:F": super::key("f") });
    home.upload(&alice(), "PHONE", request.clone()).await.unwrap();
    let before = home.base.view().position();
    home.no_device(&alice(), "PHONE").await;
    let changed = home.keys.changed_since(&home.base.view(), before, 10).await.unwrap().unwrap();
    assert_eq!(changed.len(), 1);
    let refused = home.upload(&alice(), "PHONE", request).await;
    assert!(matches!(refused, Err(UploadError::UnknownDevice)));
    // The same id again is another device.
    home.device(&alice(), "PHONE").await;
    assert_eq!(home.query(&alice(), &alice()).await["device_keys"]["@alice:a.example"], json!({}));
    assert!(home.claim(&[(&alice(), "PHONE")]).await.is_empty());
    let fresh = home.upload(&alice(), "PHONE", one_time(&["A"])).await.unwrap();
    assert_eq!(fresh, json!({ "signed_curve25519": 1 }));
}
