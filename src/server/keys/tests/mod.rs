mod bounds;
mod changes;
mod cross_signing;
mod one_time;
mod query;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::AtomicU64},
};

use depesche_config::Config;
use depesche_store::{
    Options,
    faults::{Control, Faults},
};
use ruma::{
    CanonicalJsonObject, DeviceId, OwnedDeviceId, OwnedUserId, UserId,
    api::client::keys::{claim_keys, get_keys, upload_keys, upload_signatures, upload_signing_keys},
    serde::{Base64, Raw},
    server_name,
    signatures::{Ed25519KeyPair, sign_json},
    user_id,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Keys;
use crate::{
    Base, Clock, Random, devices::Devices, keyspace::DEVICE, records::accounts::Device, testing::engine, tx::Tx,
};

/// A server without its other parts.
pub(crate) struct Home {
    pub base: Arc<Base>,
    pub devices: Arc<Devices>,
    pub keys: Keys,
    /// Sets the clock.
    pub hand: Arc<AtomicU64>,
    /// Makes commits fail.
    pub faults: Arc<Control>,
}

impl Home {
    pub fn new() -> Self {
        let engine = Faults::new(engine(Options::default()));
        let faults = engine.control();
        let (clock, hand) = Clock::paused(1_000_000_000);
        let config = Arc::new(Config::named(server_name!("a.example")));
        let base = Arc::new(Base::new(Arc::new(engine), clock, Random::seeded(1), config, watch::channel(false).1));
        let devices = Arc::new(Devices::new(Arc::clone(&base), Vec::new()));
        Self { keys: Keys::new(Arc::clone(&base), Arc::clone(&devices)), base, devices, hand, faults }
    }

    /// The keys as another node has them.
    pub fn node(&self) -> Keys {
        Keys::new(Arc::clone(&self.base), Arc::clone(&self.devices))
    }

    /// Logs a device in.
    pub async fn device(&self, user: &UserId, device: &str) {
        let row = Device { display_name: Some(format!("{device} of {user}")), created_ms: 0 };
        let key = &(user.to_owned(), device.into());
        self.write(|tx| tx.put(&DEVICE, key, &row)).await;
    }

    /// Logs a device out.
    pub async fn no_device(&self, user: &UserId, device: &str) {
        let device: &DeviceId = device.into();
        let forget = async |tx: Tx| {
            tx.delete(&DEVICE, &(user.to_owned(), device.to_owned()));
            super::forget_device(&tx, user, device).await
        };
        let tx = self.base.tx();
        forget(tx.clone()).await.unwrap();
        self.base.commit(&tx).await.unwrap();
    }

    /// Writes rows as they are.
    pub async fn write(&self, write: impl Fn(&Tx)) {
        let tx = self.base.tx();
        write(&tx);
        self.base.commit(&tx).await.unwrap();
    }

    pub async fn upload(&self, user: &UserId, device: &str, request: Value) -> Result<Value, super::UploadError> {
        let request: Value = request;
        let keys = |field: &str| serde_json::from_value(request.get(field).cloned().unwrap_or(json!({}))).unwrap();
        let request = upload_keys::v3::Request {
            device_keys: request.get("device_keys").map(|keys| Raw::new(keys).unwrap().cast_unchecked()),
            one_time_keys: keys("one_time_keys"),
            fallback_keys: keys("fallback_keys"),
        };
        let answer = self.keys.upload(user, device.into(), &request).await?;
        Ok(serde_json::to_value(answer.one_time_key_counts).unwrap())
    }

    /// Claims a key of each device named and answers their ids.
    pub async fn claim(&self, wishes: &[(&UserId, &str)]) -> Vec<String> {
        claimed(&self.keys, wishes).await.unwrap()
    }

    pub async fn query(&self, viewer: &UserId, user: &UserId) -> Value {
        self.query_devices(viewer, user, &[]).await
    }

    pub async fn query_devices(&self, viewer: &UserId, user: &UserId, devices: &[&str]) -> Value {
        let devices: Vec<OwnedDeviceId> = devices.iter().map(|device| (*device).into()).collect();
        let request =
            get_keys::v3::Request { timeout: None, device_keys: BTreeMap::from([(user.to_owned(), devices)]) };
        let answer = self.keys.query(viewer, &request).await.unwrap();
        json!({
            "device_keys": answer.device_keys,
            "master_keys": answer.master_keys,
            "self_signing_keys": answer.self_signing_keys,
            "user_signing_keys": answer.user_signing_keys,
            "failures": answer.failures,
        })
    }
}

pub(crate) async fn claimed(keys: &Keys, wishes: &[(&UserId, &str)]) -> Result<Vec<String>, super::ClaimError> {
    let mut request = claim_keys::v3::Request::new(BTreeMap::new());
    for (user, device) in wishes {
        let devices = request.one_time_keys.entry((*user).to_owned()).or_default();
        devices.insert((*device).into(), "signed_curve25519".into());
    }
    let answer = keys.claim(&request).await?;
    let ids = answer.one_time_keys.into_values().flat_map(BTreeMap::into_values).flat_map(BTreeMap::into_keys);
    Ok(ids.map(|id| id.to_string()).collect())
}

pub(crate) fn alice() -> OwnedUserId {
    user_id!("@alice:a.example").to_owned()
}

pub(crate) fn bob() -> OwnedUserId {
    user_id!("@bob:a.example").to_owned()
}

/// A one-time key; its text depends on `content`.
pub(crate) fn key(content: &str) -> Value {
    json!({ "key": content, "signatures": { "@alice:a.example": { "ed25519:PHONE": "c2ln" } } })
}

/// One-time keys of these ids.
pub(crate) fn one_time(ids: &[&str]) -> Value {
    let keys: BTreeMap<String, Value> = ids.iter().map(|id| (format!("signed_curve25519:{id}"), key(id))).collect();
    json!({ "one_time_keys": keys })
}

/// A key that signs.
pub(crate) struct Pair {
    pub public: String,
    der: Vec<u8>,
}

impl Pair {
    pub fn new() -> Self {
        let der = Ed25519KeyPair::generate().to_vec();
        let public = Ed25519KeyPair::from_der(&der, "x".into()).unwrap().public_key();
        Self { public: Base64::<ruma::serde::base64::Standard, _>::new(public).encode(), der }
    }

    /// Signs as `ed25519:name`.
    pub fn sign_as(&self, user: &UserId, name: &str, object: &Value) -> Value {
        let mut object: CanonicalJsonObject = serde_json::from_value(object.clone()).unwrap();
        let pair = Ed25519KeyPair::from_der(&self.der, name.to_owned()).unwrap();
        sign_json(user.as_str(), &pair, &mut object).unwrap();
        serde_json::to_value(object).unwrap()
    }

    /// Signs as a cross-signing key does.
    pub fn sign(&self, user: &UserId, object: &Value) -> Value {
        self.sign_as(user, &self.public, object)
    }

    /// This key as a cross-signing key.
    pub fn cross_signing(&self, user: &UserId, usage: &str) -> Value {
        let id = format!("ed25519:{}", self.public);
        json!({ "user_id": user, "usage": [usage], "keys": { id: self.public }, "x": "unknown fields stay" })
    }

    /// The identity keys of a device that has this key.
    pub fn device_keys(&self, user: &UserId, device: &str) -> Value {
        let keys = json!({
            "user_id": user,
            "device_id": device,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": { format!("ed25519:{device}"): self.public, format!("curve25519:{device}"): "c" },
        });
        self.sign_as(user, device, &keys)
    }
}

/// Handlers run on several threads.
#[tokio::test]
async fn futures_can_be_sent() {
    fn sent<T: Send>(future: T) {
        drop(future);
    }
    let (home, alice) = (Home::new(), alice());
    let (view, device): (_, &DeviceId) = (home.base.view(), "PHONE".into());
    let upload = upload_keys::v3::Request::new();
    sent(home.keys.upload(&alice, device, &upload));
    sent(home.keys.query(&alice, &get_keys::v3::Request::new()));
    sent(home.keys.claim(&claim_keys::v3::Request::new(BTreeMap::new())));
    sent(home.keys.upload_cross_signing(&alice, &upload_signing_keys::v3::Request::default(), true));
    sent(home.keys.upload_signatures(&alice, &upload_signatures::v3::Request::new(BTreeMap::new())));
    sent(home.keys.counts(&view, &alice, device));
    sent(home.keys.changed_among(&view, &alice, view.position(), &BTreeSet::new()));
    let tx = home.base.tx();
    sent(super::forget_device(&tx, &alice, device));
    sent(super::forget_user(&tx, &alice));
}
