//! A JSON object that users and devices sign: device keys, cross-signing keys.
//!
//! It is stored as canonical JSON: unknown fields stay, and two readers cannot see two different values of one field.
//!
//! Spec: [signing JSON](https://spec.matrix.org/v1.19/appendices/#signing-json).

use depesche_rules::bounds::{MAX_KEY_NAME_BYTES, MAX_KEY_OBJECT_BYTES};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, SigningKeyAlgorithm, UserId,
    serde::Base64,
    signatures::{to_canonical_json_string_for_signing, verify_canonical_json_bytes},
};

/// The algorithm of every key that signs.
pub const ED25519: &str = "ed25519:";

/// A parsed object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed(CanonicalJsonObject);

impl Signed {
    /// An object a client sent; `None` if it is none, is not canonical or is too large.
    pub fn parse(text: &str) -> Option<Self> {
        // Before it is read: parsed, a text takes many times its own size.
        if text.len() > MAX_KEY_OBJECT_BYTES {
            return None;
        }
        Self::stored(text).filter(|signed| signed.text().len() <= MAX_KEY_OBJECT_BYTES)
    }

    /// An object that was checked before it was stored.
    pub fn stored(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(Self)
    }

    /// The text to store and to send.
    pub fn text(&self) -> String {
        CanonicalJsonValue::Object(self.0.clone()).to_string()
    }

    /// A field that must be a string.
    pub fn text_of(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }

    /// A field that must be a list of strings.
    pub fn texts_of(&self, field: &str) -> Option<Vec<&str>> {
        self.0.get(field)?.as_array()?.iter().map(CanonicalJsonValue::as_str).collect()
    }

    /// `keys`: ids and public keys; `None` unless all are strings and the ids are `algorithm:name`.
    pub fn keys(&self) -> Option<Vec<(&str, &str)>> {
        let keys = self.0.get("keys")?.as_object()?;
        let keys = keys.iter().map(|(id, key)| {
            let well_formed = id.split_once(':').is_some_and(|(algorithm, _)| !algorithm.is_empty());
            (well_formed && id.len() <= MAX_KEY_NAME_BYTES).then_some(())?;
            Some((id.as_str(), key.as_str()?))
        });
        keys.collect()
    }

    /// One of `keys`.
    pub fn key(&self, id: &str) -> Option<&str> {
        self.0.get("keys")?.as_object()?.get(id)?.as_str()
    }

    /// Whether there is a field `signatures`, whatever it is.
    pub fn has_signatures(&self) -> bool {
        self.0.contains_key("signatures")
    }

    /// Whether `signatures` is absent or a map of maps of strings.
    pub fn signatures_are_well_formed(&self) -> bool {
        let strings = |by_key: &CanonicalJsonValue| {
            by_key.as_object().is_some_and(|by_key| by_key.values().all(CanonicalJsonValue::is_string))
        };
        self.0.get("signatures").is_none_or(|by_user| by_user.as_object().is_some_and(|all| all.values().all(strings)))
    }

    /// A user's signatures: ids of the keys and signatures.
    pub fn signatures_of(&self, user: &UserId) -> Vec<(&str, &str)> {
        let of_user = || self.0.get("signatures")?.as_object()?.get(user.as_str())?.as_object();
        let entries = of_user().into_iter().flatten();
        entries.filter_map(|(id, signature)| Some((id.as_str(), signature.as_str()?))).collect()
    }

    /// Whether two objects are the same but for signatures and what servers add.
    pub fn same_content(&self, other: &Self) -> bool {
        let content = |object: &Self| {
            let mut object = object.0.clone();
            object.remove("signatures");
            object.remove("unsigned");
            object
        };
        content(self) == content(other)
    }

    /// Whether a signature (base64) is one of this object by the owner of a public key (base64).
    pub fn is_signature(&self, public_key: &str, signature: &str) -> bool {
        let check = || {
            let public_key = Base64::<ruma::serde::base64::Standard>::parse(public_key).ok()?;
            let signature = Base64::<ruma::serde::base64::Standard>::parse(signature).ok()?;
            let text = to_canonical_json_string_for_signing(&self.0).ok()?;
            let algorithm = SigningKeyAlgorithm::Ed25519;
            let (key, signature) = (public_key.as_bytes(), signature.as_bytes());
            verify_canonical_json_bytes(&algorithm, key, signature, text.as_bytes()).ok()
        };
        check().is_some()
    }

    /// Adds a signature.
    pub fn add_signature(&mut self, user: &UserId, key_id: String, signature: String) {
        let signatures = object_in(&mut self.0, "signatures");
        object_in(signatures, user.as_str()).insert(key_id, CanonicalJsonValue::String(signature));
    }

    /// Takes off the signatures of everybody else.
    pub fn keep_signatures_of(&mut self, users: &[&UserId]) {
        if let Some(CanonicalJsonValue::Object(signatures)) = self.0.get_mut("signatures") {
            signatures.retain(|signer, _| users.iter().any(|user| user.as_str() == signer));
        }
    }

    /// Sets what servers say of a device.
    pub fn set_display_name(&mut self, name: Option<String>) {
        let name = name.map(|name| ("device_display_name".to_owned(), CanonicalJsonValue::String(name)));
        self.0.insert("unsigned".to_owned(), CanonicalJsonValue::Object(name.into_iter().collect()));
    }
}

/// The object under a key, made if there is none.
fn object_in<'a>(object: &'a mut CanonicalJsonObject, key: &str) -> &'a mut CanonicalJsonObject {
    let value = object.entry(key.to_owned()).or_default();
    if !value.is_object() {
        *value = CanonicalJsonValue::Object(CanonicalJsonObject::new());
    }
    value.as_object_mut().expect("it was made an object above")
}
