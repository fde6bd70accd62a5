//! End-to-end keys as a client would make them, signed for real: a server may check what it is given.
//!
//! Every key is derived from the user id and a label, so that a case can make the same key twice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::User;

/// An ed25519 key with the id under which its signatures stand.
#[derive(Clone, Debug)]
pub struct Key {
    secret: SigningKey,
    user: String,
    name: Option<String>,
}

impl Key {
    fn new(user: &User, label: &str, name: Option<&str>) -> Self {
        let seed: [u8; 32] = Sha256::digest(format!("{} {label}", user.id)).into();
        Self { secret: SigningKey::from_bytes(&seed), user: user.id.clone(), name: name.map(str::to_owned) }
    }

    /// The key of the user's device.
    pub fn of_device(user: &User) -> Self {
        Self::new(user, &format!("device {}", user.device), Some(&user.device))
    }

    /// A cross-signing key; its name is its public part.
    pub fn cross(user: &User, usage: &str) -> Self {
        Self::new(user, usage, None)
    }

    /// The public part, unpadded base64.
    pub fn public(&self) -> String {
        STANDARD_NO_PAD.encode(self.secret.verifying_key().as_bytes())
    }

    /// The key id: `ed25519:<device or public part>`.
    pub fn id(&self) -> String {
        format!("ed25519:{}", self.name.clone().unwrap_or_else(|| self.public()))
    }

    /// Adds this key's signature to a JSON object.
    pub fn sign(&self, mut object: Value) -> Value {
        let fields = object.as_object_mut().expect("an object");
        let (signatures, unsigned) = (fields.remove("signatures"), fields.remove("unsigned"));
        let signature = STANDARD_NO_PAD.encode(self.secret.sign(canonical(&object).as_bytes()).to_bytes());
        object["signatures"] = signatures.unwrap_or_else(|| json!({}));
        object["signatures"][&self.user][self.id()] = json!(signature);
        if let Some(unsigned) = unsigned {
            object["unsigned"] = unsigned;
        }
        object
    }
}

/// The signed device keys of the user's device.
pub fn device_keys(user: &User) -> Value {
    let key = Key::of_device(user);
    let device = &user.device;
    key.sign(json!({
        "user_id": user.id, "device_id": device,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
        "keys": { format!("curve25519:{device}"): curve(user, "identity"), key.id(): key.public() }
    }))
}

/// A signed one-time key. The same label gives the same key.
pub fn one_time_key(user: &User, label: &str) -> Value {
    Key::of_device(user).sign(json!({ "key": curve(user, label) }))
}

/// A signed fallback key.
pub fn fallback_key(user: &User, label: &str) -> Value {
    Key::of_device(user).sign(json!({ "key": curve(user, label), "fallback": true }))
}

/// The body of an upload of the three cross-signing keys, without authentication.
pub fn cross_signing(user: &User, generation: &str) -> Value {
    let master = Key::cross(user, &format!("master {generation}"));
    let key = |usage: &str| {
        let key = Key::cross(user, &format!("{usage} {generation}"));
        json!({ "user_id": user.id, "usage": [usage], "keys": { key.id(): key.public() } })
    };
    let own = json!({ "user_id": user.id, "usage": ["master"], "keys": { master.id(): master.public() } });
    json!({
        "master_key": own,
        "self_signing_key": master.sign(key("self_signing")),
        "user_signing_key": master.sign(key("user_signing"))
    })
}

/// Any 32 bytes serve as a curve25519 key where nobody computes with it.
fn curve(user: &User, label: &str) -> String {
    STANDARD_NO_PAD.encode(Sha256::digest(format!("{} {} {label}", user.id, user.device)))
}

/// Canonical JSON of what the keys consist of: objects, lists, plain strings.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => canonical_object(map),
        Value::Array(list) => format!("[{}]", list.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn canonical_object(map: &Map<String, Value>) -> String {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_unstable();
    let fields: Vec<String> = keys.iter().map(|key| format!("{}:{}", json!(key), canonical(&map[*key]))).collect();
    format!("{{{}}}", fields.join(","))
}
