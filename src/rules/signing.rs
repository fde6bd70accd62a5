//! The server's signing key.
//!
//! Text form, one line: `ed25519 <version> <unpadded base64 of the seed>`, as other homeservers write it, so that a key
//! can move with its server. The seed is random bytes that the caller hands in.
//!
//! ruma says what is signed and how it is put together; the signature itself is aws-lc's, which is there for TLS anyway
//! and takes half the instructions of ruma's own pair: the largest part of a send.
//!
//! Spec: [signing details](https://spec.matrix.org/v1.19/appendices/#signing-details).

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use ruma::{
    AnyKeyName, CanonicalJsonObject, OwnedServerSigningKeyId, OwnedSigningKeyId, ServerName, ServerSigningKeyId,
    SigningKeyAlgorithm, SigningKeyId,
    room_version_rules::RedactionRules,
    serde::Base64,
    signatures::{JsonError, KeyPair, PublicKeyMap, PublicKeySet, Signature, hash_and_sign_event, sign_json},
};

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// Reads text with and without padding and with loose last bits, as the specification's own test vector has them;
/// writes it without either.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why a key cannot be read. Quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing key is one line `ed25519 <version> <seed in base64>`")]
pub struct BadSigningKey;

/// An Ed25519 key with the version that names it.
pub struct SigningKey {
    seed: [u8; SEED_BYTES],
    version: String,
    pair: Pair,
}

/// A pair that ruma signs with.
struct Pair {
    id: OwnedSigningKeyId<AnyKeyName>,
    key: Ed25519KeyPair,
}

impl KeyPair for Pair {
    fn sign(&self, message: &[u8]) -> Signature {
        Signature::new(self.id.clone(), self.key.sign(message).as_ref().to_vec())
    }
}

impl SigningKey {
    /// The key of a seed. The version is one to 32 of `[a-zA-Z0-9_]`.
    pub fn from_seed(seed: [u8; SEED_BYTES], version: &str) -> Result<Self, BadSigningKey> {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if version.is_empty() || version.len() > 32 || !version.chars().all(valid) {
            return Err(BadSigningKey);
        }
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| BadSigningKey)?;
        let id = SigningKeyId::from_parts(SigningKeyAlgorithm::Ed25519, version.into());
        Ok(Self { seed, version: version.to_owned(), pair: Pair { id, key } })
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, BadSigningKey> {
        let mut words = text.split_whitespace();
        let (Some("ed25519"), Some(version), Some(seed), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BadSigningKey);
        };
        let seed = BASE64.decode(seed).map_err(|_| BadSigningKey)?;
        Self::from_seed(seed.try_into().map_err(|_| BadSigningKey)?, version)
    }

    /// Writes the text form, which is the secret itself.
    pub fn to_text(&self) -> String {
        format!("ed25519 {} {}\n", self.version, BASE64.encode(self.seed))
    }

    /// `ed25519:<version>`.
    pub fn key_id(&self) -> OwnedServerSigningKeyId {
        let id = format!("{}:{}", SigningKeyAlgorithm::Ed25519, self.version);
        ServerSigningKeyId::parse(id).expect("the version was checked")
    }

    /// The public half.
    pub fn public_key(&self) -> Base64 {
        Base64::new(self.pair.key.public_key().as_ref().to_vec())
    }

    /// A map with this one key, to verify our own signatures.
    pub fn public_key_map(&self, server_name: &ServerName) -> PublicKeyMap {
        let keys = PublicKeySet::from([(self.key_id().to_string(), self.public_key())]);
        PublicKeyMap::from([(server_name.to_string(), keys)])
    }

    /// Signs any object but an event.
    pub fn sign_json(&self, server_name: &ServerName, object: &mut CanonicalJsonObject) -> Result<(), JsonError> {
        sign_json(server_name.as_str(), &self.pair, object)
    }

    /// Adds content hash and signature to an event.
    pub fn hash_and_sign_event(
        &self,
        server_name: &ServerName,
        event: &mut CanonicalJsonObject,
        rules: &RedactionRules,
    ) -> Result<(), JsonError> {
        hash_and_sign_event(server_name.as_str(), &self.pair, event, rules)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SigningKey({})", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{canonical_text, parse_object};

    /// The key of the specification's appendix "Cryptographic Test Vectors".
    const SPEC: &str = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1";

    fn domain() -> &'static ServerName {
        <&ServerName>::try_from("domain").unwrap()
    }

    #[test]
    fn signs_objects_as_the_specification_does() {
        let cases = [
            ("{}", "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"),
            (
                r#"{"one":1,"two":"Two"}"#,
                "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw",
            ),
        ];
        for (text, signature) in cases {
            let mut object = parse_object(text.as_bytes()).unwrap();
            SigningKey::parse(SPEC).unwrap().sign_json(domain(), &mut object).unwrap();
            assert!(canonical_text(&object).contains(signature), "{text}");
        }
    }

    #[test]
    fn signs_events_as_the_specification_does() {
        let minimal = r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,
            "signatures":{},"hashes":{},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,
            "unsigned":{"age_ts":1000000}}"#;
        let redactable = r#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain",
            "origin":"domain","origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain",
            "sender":"@u:domain","signatures":{},"unsigned":{"age_ts":1000000}}"#;
        let cases = [
            (
                minimal,
                "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
                "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg",
            ),
            (
                redactable,
                "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
                "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA",
            ),
        ];
        for (text, hash, signature) in cases {
            let mut event = parse_object(text.as_bytes()).unwrap();
            SigningKey::parse(SPEC).unwrap().hash_and_sign_event(domain(), &mut event, &RedactionRules::V1).unwrap();
            let text = canonical_text(&event);
            assert!(text.contains(hash) && text.contains(signature), "{text}");
        }
    }

    #[test]
    fn the_text_form_survives_a_round_trip() {
        let key = SigningKey::from_seed([7; SEED_BYTES], "a_Bc1").unwrap();
        let again = SigningKey::parse(&key.to_text()).unwrap();
        assert_eq!((key.key_id(), key.public_key()), (again.key_id(), again.public_key()));
        assert_eq!(key.key_id(), "ed25519:a_Bc1");
    }

    #[test]
    fn what_is_not_a_key() {
        let short = "ed25519 1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3";
        for text in ["", "ed25519", "rsa 1 AAAA", short, "ed25519 a:b YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"] {
            assert!(SigningKey::parse(text).is_err(), "{text}");
        }
        assert!(SigningKey::parse(&format!("{SPEC} more")).is_err());
        assert!(!format!("{:?}", SigningKey::parse(SPEC).unwrap()).contains("YJDB"));
    }
}
