//! `/keys`.

use ruma::{
    CanonicalJsonObject,
    serde::Base64,
    signatures::{Ed25519KeyPair, sign_json},
};
use serde_json::{Value, json};

use super::{Home, Person, refused};

const UPLOAD: &str = "POST /_matrix/client/v3/keys/upload";
const QUERY: &str = "POST /_matrix/client/v3/keys/query";
const CLAIM: &str = "POST /_matrix/client/v3/keys/claim";
const CROSS_SIGNING: &str = "POST /_matrix/client/v3/keys/device_signing/upload";
const SIGNATURES: &str = "POST /_matrix/client/v3/keys/signatures/upload";

/// A key that signs.
struct Pair {
    der: Vec<u8>,
    public: String,
}

impl Pair {
    fn new() -> Self {
        let der = Ed25519KeyPair::generate();
        let pair = Ed25519KeyPair::from_der(&der, String::new()).unwrap();
        let public = Base64::<ruma::serde::base64::Standard, _>::new(pair.public_key().to_vec()).encode();
        Self { der: der.to_vec(), public }
    }

    fn sign(&self, user: &str, name: &str, object: Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(object).unwrap();
        sign_json(user, &Ed25519KeyPair::from_der(&self.der, name.to_owned()).unwrap(), &mut object).unwrap();
        serde_json::to_value(object).unwrap()
    }

    fn cross_signing(&self, user: &str, usage: &str) -> Value {
        json!({ "user_id": user, "usage": [usage], "keys": { format!("ed25519:{}", self.public): self.public } })
    }
}

fn device_keys(person: &Person) -> Value {
    let Person { id, device, .. } = person;
    let keys = json!({ format!("ed25519:{device}"): "k" });
    json!({ "user_id": id, "device_id": device, "algorithms": [], "keys": keys, "signatures": {} })
}

#[tokio::test]
async fn keys_are_published_queried_and_claimed_once() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let one_time = json!({ "signed_curve25519:A": { "key": "a", "signatures": {} } });
    let body = json!({ "device_keys": device_keys(&alice), "one_time_keys": one_time });
    let counts = home.send_as(&alice, UPLOAD, body).await.body;
    assert_eq!(counts, json!({ "one_time_key_counts": { "signed_curve25519": 1 } }));

    let found = home.send_as(&bob, QUERY, json!({ "device_keys": { &alice.id: [] } })).await.body;
    assert_eq!(found["device_keys"][&alice.id]["PHONE"]["keys"], json!({ "ed25519:PHONE": "k" }));

    let wish = json!({ "one_time_keys": { &alice.id: { "PHONE": "signed_curve25519" } } });
    let claimed = home.send_as(&bob, CLAIM, wish.clone()).await.body;
    assert_eq!(claimed["one_time_keys"][&alice.id]["PHONE"], one_time);
    assert_eq!(home.send_as(&bob, CLAIM, wish).await.body["one_time_keys"], json!({}));
}

#[tokio::test]
async fn who_has_no_device_is_told_from_who_is_not_there() {
    let home = Home::open().await;
    let (alice, bob, carol) = (home.user("alice").await, home.user("bob").await, home.user("carol").await);
    home.ask_as(&bob, "POST /_matrix/client/v3/logout", "").await;
    home.app.server.deactivate(ruma::user_id!("@carol:test"), false).await.unwrap();
    let body = json!({ "device_keys": { &bob.id: [], &carol.id: [], "@nobody:test": [] } });
    let found = home.send_as(&alice, QUERY, body).await.body;
    assert_eq!(found["device_keys"], json!({ &bob.id: {}, &carol.id: {} }));
}

#[tokio::test]
async fn keys_that_are_not_taken_have_the_right_code() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let one_time = |key: &str| json!({ "one_time_keys": { "signed_curve25519:A": { "key": key, "signatures": {} } } });
    assert_eq!(home.send_as(&alice, UPLOAD, one_time("a")).await.status, 200);
    for body in [
        one_time("b"),
        json!({ "device_keys": device_keys(&bob) }),
        json!({ "one_time_keys": { "signed_curve25519:B": 7 } }),
    ] {
        assert_eq!(refused(&home.send_as(&alice, UPLOAD, body.clone()).await), (400, "M_INVALID_PARAM"), "{body}");
    }
    for field in ["user_id", "device_id", "algorithms", "keys", "signatures"] {
        let mut keys = device_keys(&alice);
        keys.as_object_mut().unwrap().remove(field);
        let answer = home.send_as(&alice, UPLOAD, json!({ "device_keys": keys })).await;
        assert_eq!(refused(&answer), (400, "M_BAD_JSON"), "{field}");
    }
    assert_eq!(refused(&home.send_as(&alice, QUERY, json!({})).await), (400, "M_BAD_JSON"));
    assert_eq!(refused(&home.send_as(&alice, CLAIM, json!({ "one_time_keys": [] })).await), (400, "M_BAD_JSON"));
    for line in [UPLOAD, QUERY, CLAIM, CROSS_SIGNING, SIGNATURES] {
        assert_eq!(refused(&home.send(line, json!({})).await), (401, "M_MISSING_TOKEN"), "{line}");
    }
}

#[tokio::test]
async fn cross_signing_keys_are_replaced_only_by_their_user() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let keys = |master: &Pair, own: &Pair| {
        let own = master.sign(&alice.id, &master.public, own.cross_signing(&alice.id, "self_signing"));
        json!({ "master_key": master.cross_signing(&alice.id, "master"), "self_signing_key": own })
    };
    let first = keys(&Pair::new(), &Pair::new());
    for _ in 0..2 {
        let answer = home.send_as(&alice, CROSS_SIGNING, first.clone()).await;
        assert_eq!((answer.status, answer.body), (200, json!({})), "the first keys, and the same again");
    }
    let second = keys(&Pair::new(), &Pair::new());
    assert_eq!(home.confirm_as(&alice, CROSS_SIGNING, second.clone()).await.body, json!({}));
    let found = home.send_as(&alice, QUERY, json!({ "device_keys": { &alice.id: [] } })).await.body;
    assert_eq!(found["master_keys"][&alice.id], second["master_key"]);
}

#[tokio::test]
async fn cross_signing_keys_that_are_not_taken_have_the_right_code() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let (master, own) = (Pair::new(), Pair::new());
    let unsigned = own.cross_signing(&alice.id, "self_signing");
    let forged = own.sign(&alice.id, &master.public, unsigned.clone());
    home.device("alice", &own.public).await;
    let device = master.sign(&alice.id, &master.public, unsigned.clone());
    let master = master.cross_signing(&alice.id, "master");
    for (body, expected) in [
        (json!({}), (200, "none")),
        (json!({ "self_signing_key": unsigned }), (400, "M_MISSING_PARAM")),
        (json!({ "master_key": master, "self_signing_key": unsigned }), (400, "M_INVALID_SIGNATURE")),
        (json!({ "master_key": master, "self_signing_key": forged }), (400, "M_INVALID_SIGNATURE")),
        (json!({ "master_key": master, "self_signing_key": device }), (403, "M_FORBIDDEN")),
        (json!({ "master_key": { "usage": [] } }), (400, "M_INVALID_PARAM")),
    ] {
        assert_eq!(refused(&home.send_as(&alice, CROSS_SIGNING, body.clone()).await), expected, "{body}");
    }
}

#[tokio::test]
async fn signatures_are_taken_or_refused_one_by_one() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let (master, phone) = (Pair::new(), Pair::new());
    let mut keys = device_keys(&alice);
    keys["keys"]["ed25519:PHONE"] = json!(phone.public);
    home.send_as(&alice, UPLOAD, json!({ "device_keys": keys })).await;
    let key = master.cross_signing(&alice.id, "master");
    home.send_as(&alice, CROSS_SIGNING, json!({ "master_key": key })).await;
    let signed = phone.sign(&alice.id, "PHONE", key.clone());
    let answer = home.send_as(&alice, SIGNATURES, json!({ &alice.id: { &master.public: signed } })).await;
    assert_eq!((answer.status, answer.body), (200, json!({})));
    let forged = master.sign(&alice.id, "PHONE", key);
    let body = json!({ &alice.id: { &master.public: forged, "NOTHING": {} } });
    let failures = home.send_as(&alice, SIGNATURES, body).await.body["failures"].clone();
    assert_eq!(failures[&alice.id][&master.public]["errcode"], "M_INVALID_SIGNATURE");
    assert_eq!(failures[&alice.id]["NOTHING"]["errcode"], "M_NOT_FOUND");
}

#[tokio::test]
async fn changes_are_told_between_tokens() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let token = async || {
        let sync = home.ask_as(&alice, "GET /_matrix/client/v3/sync", "").await.body;
        sync["next_batch"].as_str().unwrap().to_owned()
    };
    let from = token().await;
    home.send_as(&alice, UPLOAD, json!({ "device_keys": device_keys(&alice) })).await;
    let to = token().await;
    let changes = "GET /_matrix/client/v3/keys/changes";
    let answer = home.ask_as(&alice, &format!("{changes}?from={from}&to={to}"), "").await;
    assert_eq!(answer.body, json!({ "changed": [&alice.id], "left": [] }));
    assert_eq!(refused(&home.ask_as(&alice, &format!("{changes}?from={from}"), "").await), (400, "M_MISSING_PARAM"));
    assert_eq!(refused(&home.ask_as(&alice, &format!("{changes}?from=x&to=y"), "").await), (400, "M_INVALID_PARAM"));
}
