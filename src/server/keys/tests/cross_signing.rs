use ruma::{OwnedUserId, UserId, api::client::keys::upload_signing_keys::v3::Request, serde::Raw};
use serde_json::{Value, json};

use super::{Home, Pair, alice, bob};
use crate::keys::{CrossSigningError, SignatureFailure, SignatureFailures, is_cross_signing_key};

/// A user's three keys.
struct Identity {
    user: OwnedUserId,
    master: Pair,
    self_signing: Pair,
    user_signing: Pair,
}

impl Identity {
    fn new(user: OwnedUserId) -> Self {
        Self { user, master: Pair::new(), self_signing: Pair::new(), user_signing: Pair::new() }
    }

    fn key(&self, usage: &str) -> Value {
        match usage {
            "master" => self.master.cross_signing(&self.user, usage),
            "self_signing" => self.master.sign(&self.user, &self.self_signing.cross_signing(&self.user, usage)),
            _ => self.master.sign(&self.user, &self.user_signing.cross_signing(&self.user, usage)),
        }
    }

    fn request(&self) -> Request {
        request(&[self.key("master"), self.key("self_signing"), self.key("user_signing")])
    }
}

fn request(keys: &[Value]) -> Request {
    let of = |usage: &str| {
        let key = keys.iter().find(|key| key["usage"][0] == usage)?;
        Some(Raw::new(key).unwrap().cast_unchecked())
    };
    Request {
        auth: None,
        master_key: of("master"),
        self_signing_key: of("self_signing"),
        user_signing_key: of("user_signing"),
    }
}

async fn sign(home: &Home, user: &UserId, signed: &UserId, id: &str, object: &Value) -> SignatureFailures {
    let request = json!({ signed: { id: object } });
    let request =
        ruma::api::client::keys::upload_signatures::v3::Request::new(serde_json::from_value(request).unwrap());
    home.keys.upload_signatures(user, &request).await.unwrap()
}

#[tokio::test]
async fn the_first_keys_need_no_authentication_and_others_do() {
    let (home, identity) = (Home::new(), Identity::new(alice()));
    home.keys.upload_cross_signing(&alice(), &identity.request(), false).await.unwrap();
    let before = home.base.view().position();
    home.keys.upload_cross_signing(&alice(), &identity.request(), false).await.unwrap();
    home.keys.upload_cross_signing(&alice(), &request(&[identity.key("master")]), false).await.unwrap();
    assert_eq!(home.base.view().position(), before, "the same keys again are no change");

    let other = Identity { self_signing: Pair::new(), master: identity.master, ..Identity::new(alice()) };
    for keys in [vec![other.key("self_signing")], vec![other.key("master"), other.key("user_signing")]] {
        let refused = home.keys.upload_cross_signing(&alice(), &request(&keys), false).await;
        assert!(matches!(refused, Err(CrossSigningError::AuthenticationNeeded)));
    }
    let new = Identity::new(alice());
    let refused = home.keys.upload_cross_signing(&alice(), &new.request(), false).await;
    assert!(matches!(refused, Err(CrossSigningError::AuthenticationNeeded)));
    home.keys.upload_cross_signing(&alice(), &new.request(), true).await.unwrap();
    let answer = home.query(&alice(), &alice()).await;
    assert_eq!(answer["master_keys"]["@alice:a.example"], new.key("master"));
    assert_eq!(answer["self_signing_keys"]["@alice:a.example"], new.key("self_signing"));
    assert_eq!(answer["user_signing_keys"]["@alice:a.example"], new.key("user_signing"));
    let answer = home.query(&bob(), &alice()).await;
    assert_eq!(answer["self_signing_keys"]["@alice:a.example"], new.key("self_signing"));
    assert_eq!(answer["user_signing_keys"], json!({}), "only its owner sees the user-signing key");
}

#[tokio::test]
async fn a_new_master_key_takes_away_what_the_old_one_signed() {
    let (home, identity, new) = (Home::new(), Identity::new(alice()), Identity::new(alice()));
    home.keys.upload_cross_signing(&alice(), &identity.request(), false).await.unwrap();
    home.keys.upload_cross_signing(&alice(), &request(&[new.key("master")]), true).await.unwrap();
    let answer = home.query(&alice(), &alice()).await;
    assert_eq!(answer["master_keys"]["@alice:a.example"], new.key("master"));
    assert_eq!(answer["self_signing_keys"], json!({}));
}

#[tokio::test]
async fn keys_that_are_not_right_are_refused() {
    let (home, identity) = (Home::new(), Identity::new(alice()));
    let upload = async |keys: &[Value]| home.keys.upload_cross_signing(&alice(), &request(keys), true).await;
    let unsigned = identity.self_signing.cross_signing(&alice(), "self_signing");
    let by_stranger = Pair::new().sign(&alice(), &unsigned);
    let mut forged = identity.key("self_signing");
    forged["x"] = json!("changed");
    let impostor = Pair::new().sign_as(&alice(), &identity.master.public, &unsigned);
    for key in [unsigned, by_stranger, forged, impostor] {
        let refused = upload(&[identity.key("master"), key]).await;
        assert!(matches!(refused, Err(CrossSigningError::InvalidSignature { usage: "self_signing" })));
    }
    assert!(matches!(upload(&[identity.key("self_signing")]).await, Err(CrossSigningError::NoMasterKey)));

    let good = identity.key("master");
    for (field, value) in [
        ("user_id", json!("@bob:a.example")),
        ("keys", json!({})),
        ("keys", json!({ "ed25519:AAAA": "AAAA" })),
        ("keys", json!({ "ed25519:AAAA": identity.master.public })),
        ("signatures", json!([])),
    ] {
        let mut key = good.clone();
        key[field] = value;
        assert!(matches!(upload(&[key]).await, Err(CrossSigningError::Malformed { usage: "master", .. })));
    }
    home.device(&alice(), &identity.master.public).await;
    assert!(matches!(upload(&[good]).await, Err(CrossSigningError::KeyIdInUse { usage: "master" })));
    assert_eq!(home.query(&alice(), &alice()).await["master_keys"], json!({}), "nothing was stored");
}

#[tokio::test]
async fn a_device_cannot_have_the_name_of_a_key() {
    let (home, identity) = (Home::new(), Identity::new(alice()));
    home.keys.upload_cross_signing(&alice(), &identity.request(), false).await.unwrap();
    let tx = home.base.tx();
    assert!(is_cross_signing_key(&tx, &alice(), identity.user_signing.public.as_str().into()).await.unwrap());
    assert!(!is_cross_signing_key(&tx, &alice(), "PHONE".into()).await.unwrap());
    assert!(!is_cross_signing_key(&tx, &bob(), identity.user_signing.public.as_str().into()).await.unwrap());
}

#[tokio::test]
async fn everybody_sees_the_signatures_of_owners() {
    let (home, identity, phone) = (Home::new(), Identity::new(alice()), Pair::new());
    home.device(&alice(), "PHONE").await;
    let device = phone.device_keys(&alice(), "PHONE");
    home.upload(&alice(), "PHONE", json!({ "device_keys": device })).await.unwrap();
    home.keys.upload_cross_signing(&alice(), &identity.request(), false).await.unwrap();
    let before = home.base.view().position();
    let signed_device = identity.self_signing.sign(&alice(), &device);
    let signed_master = phone.sign_as(&alice(), "PHONE", &identity.key("master"));
    assert!(sign(&home, &alice(), &alice(), "PHONE", &signed_device).await.is_empty());
    assert!(sign(&home, &alice(), &alice(), &identity.master.public, &signed_master).await.is_empty());
    let answer = home.query(&bob(), &alice()).await;
    let device = &answer["device_keys"]["@alice:a.example"]["PHONE"];
    assert_eq!(device["signatures"], signed_device["signatures"]);
    assert_eq!(answer["master_keys"]["@alice:a.example"], signed_master);
    let changed = home.keys.changed_since(&home.base.view(), before, 10).await.unwrap().unwrap();
    assert_eq!(changed.len(), 1, "one row for a user, however often it changes");

    // Other device keys under the same id are not what was signed.
    let request = json!({ "device_keys": Pair::new().device_keys(&alice(), "PHONE") });
    home.upload(&alice(), "PHONE", request).await.unwrap();
    let answer = home.query(&bob(), &alice()).await;
    let signatures = &answer["device_keys"]["@alice:a.example"]["PHONE"]["signatures"]["@alice:a.example"];
    assert_eq!(signatures.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn only_the_signer_sees_a_signature_on_another_user() {
    let (home, of_alice, of_bob) = (Home::new(), Identity::new(alice()), Identity::new(bob()));
    for identity in [&of_alice, &of_bob] {
        home.keys.upload_cross_signing(&identity.user, &identity.request(), false).await.unwrap();
    }
    let before = home.base.view().position();
    let signed = of_alice.user_signing.sign(&alice(), &of_bob.key("master"));
    assert!(sign(&home, &alice(), &bob(), &of_bob.master.public, &signed).await.is_empty());
    assert_eq!(home.query(&alice(), &bob()).await["master_keys"]["@bob:a.example"], signed);
    for viewer in [bob(), ruma::user_id!("@carol:a.example").to_owned()] {
        assert_eq!(home.query(&viewer, &bob()).await["master_keys"]["@bob:a.example"], of_bob.key("master"));
    }
    let view = home.base.view();
    let none = std::collections::BTreeSet::new();
    let for_alice = home.keys.changed_among(&view, &alice(), before, &none).await.unwrap();
    assert_eq!(for_alice.into_iter().collect::<Vec<_>>(), [bob()], "the signer's other devices must look again");
    assert!(home.keys.changed_among(&view, &bob(), before, &none).await.unwrap().is_empty());
}

#[tokio::test]
async fn signatures_of_others_inside_an_upload_are_not_shown() {
    let (home, identity) = (Home::new(), Identity::new(alice()));
    let master = Pair::new().sign(&bob(), &identity.key("master"));
    home.keys.upload_cross_signing(&alice(), &request(std::slice::from_ref(&master)), false).await.unwrap();
    assert_eq!(home.query(&bob(), &alice()).await["master_keys"]["@alice:a.example"], master);
    let answer = home.query(&alice(), &alice()).await;
    assert_eq!(answer["master_keys"]["@alice:a.example"]["signatures"], json!({}));
}

#[tokio::test]
async fn signatures_that_are_not_right_are_refused_one_by_one() {
    let (home, of_alice, of_bob, phone) = (Home::new(), Identity::new(alice()), Identity::new(bob()), Pair::new());
    home.device(&alice(), "PHONE").await;
    let device = phone.device_keys(&alice(), "PHONE");
    home.upload(&alice(), "PHONE", json!({ "device_keys": device })).await.unwrap();
    for identity in [&of_alice, &of_bob] {
        home.keys.upload_cross_signing(&identity.user, &identity.request(), false).await.unwrap();
    }
    let mut changed = device.clone();
    changed["x"] = json!(1);
    let changed = of_alice.self_signing.sign(&alice(), &changed);
    let forged = Pair::new().sign_as(&alice(), &of_alice.self_signing.public, &device);
    let by_wrong_key = of_alice.user_signing.sign(&alice(), &device);
    let by_master = of_alice.master.sign(&alice(), &of_bob.key("master"));
    let good = of_alice.self_signing.sign(&alice(), &device);
    let (bobs, bobs_self) = (of_bob.master.public.as_str(), of_bob.self_signing.public.as_str());
    let signed_self = of_alice.user_signing.sign(&alice(), &of_bob.key("self_signing"));
    for (signed, id, object, failure) in [
        (alice(), "PHONE", &changed, SignatureFailure::Mismatch),
        (alice(), "PHONE", &forged, SignatureFailure::InvalidSignature),
        (alice(), "PHONE", &by_wrong_key, SignatureFailure::InvalidSignature),
        (alice(), "PHONE", &device, SignatureFailure::InvalidSignature),
        (alice(), "NONE", &good, SignatureFailure::NotFound),
        (alice(), "PHONE", &json!([]), SignatureFailure::Malformed),
        (bob(), bobs, &by_master, SignatureFailure::InvalidSignature),
        (bob(), bobs_self, &signed_self, SignatureFailure::NotFound),
        (ruma::user_id!("@c:other.example").to_owned(), bobs, &by_master, SignatureFailure::NotFound),
    ] {
        let failures = sign(&home, &alice(), &signed, id, object).await;
        assert_eq!(failures[&signed][id], failure, "{id} of {signed}");
    }
    let request = json!({ alice(): { "PHONE": good, "NONE": good } });
    let request =
        ruma::api::client::keys::upload_signatures::v3::Request::new(serde_json::from_value(request).unwrap());
    let failures = home.keys.upload_signatures(&alice(), &request).await.unwrap();
    assert_eq!(failures[&alice()].len(), 1);
    let answer = home.query(&bob(), &alice()).await;
    assert_eq!(answer["device_keys"]["@alice:a.example"]["PHONE"]["signatures"], good["signatures"]);
}
