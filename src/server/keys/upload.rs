//! `/keys/upload`: a device publishes its identity keys, one-time keys and fallback keys.
//!
//! Spec: [uploading keys](https://spec.matrix.org/v1.19/client-server-api/#uploading-keys).

use std::collections::BTreeSet;

use depesche_rules::bounds::MAX_ONE_TIME_KEYS;
use ruma::{
    DeviceId, OwnedOneTimeKeyId, UserId, api::client::keys::upload_keys::v3, encryption::OneTimeKey, serde::Raw,
};

use super::{Keys, one_time, one_time::NewKey, signed::Signed, touch};
use crate::{
    Fault,
    keyspace::{DEVICE_KEYS, OWN_SIGNATURE, STOCK},
    tx::Tx,
};

/// Why keys were not taken. Nothing of the request was stored.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The device keys are not such an object, or lack what it must have.
    #[error("device_keys is malformed: {0}")]
    DeviceKeys(&'static str),
    /// The device keys are those of another device.
    #[error("device_keys is of another device: {0}")]
    Foreign(&'static str),
    /// A one-time or fallback key is not such an object.
    #[error("the key {id} is malformed")]
    Malformed {
        /// Its id.
        id: String,
    },
    /// Two fallback keys of one algorithm.
    #[error("there can be only one fallback key for an algorithm")]
    Fallbacks,
    /// Another key has this id, or had it and was claimed.
    #[error("another one-time key {id} exists")]
    OneTimeKeyExists {
        /// The id.
        id: String,
    },
    /// More keys than a device may have.
    #[error("too many keys")]
    TooMany,
    /// The device is not logged in (any more).
    #[error("the device does not exist")]
    UnknownDevice,
    /// Not the caller's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

struct Upload {
    device_keys: Option<Signed>,
    one_time: Vec<NewKey>,
    fallback: Vec<NewKey>,
}

impl Keys {
    /// Publishes keys of a device: all of them or, with an error, none.
    pub async fn upload(
        &self,
        user: &UserId,
        device: &DeviceId,
        request: &v3::Request,
    ) -> Result<v3::Response, UploadError> {
        let upload = &Upload::check(user, device, request)?;
        let _turn = self.turns.of(user).await;
        let stock = self
            .base
            .transact(|tx| async move {
                if !self.devices.hold(&tx, user, device).await? {
                    return Err(UploadError::UnknownDevice);
                }
                if let Some(keys) = &upload.device_keys {
                    put_device_keys(&tx, user, device, keys).await?;
                }
                if upload.one_time.is_empty() && upload.fallback.is_empty() {
                    let stock = tx.view().get(&STOCK, &(user.to_owned(), device.to_owned())).await?;
                    return Ok(stock.unwrap_or_default());
                }
                one_time::add(&tx, (user, device), &upload.one_time, &upload.fallback).await
            })
            .await?;
        Ok(v3::Response { one_time_key_counts: super::KeyCounts::from(stock).one_time })
    }
}

impl Upload {
    fn check(user: &UserId, device: &DeviceId, request: &v3::Request) -> Result<Self, UploadError> {
        if request.one_time_keys.len() > MAX_ONE_TIME_KEYS || request.fallback_keys.len() > MAX_ONE_TIME_KEYS {
            return Err(UploadError::TooMany);
        }
        let device_keys = request.device_keys.as_ref();
        let device_keys = device_keys.map(|keys| check_device_keys(user, device, keys.json().get())).transpose()?;
        let one_time = new_keys(&request.one_time_keys)?;
        let fallback = new_keys(&request.fallback_keys)?;
        let algorithms: BTreeSet<_> = fallback.iter().map(|key| &key.algorithm).collect();
        if algorithms.len() < fallback.len() {
            return Err(UploadError::Fallbacks);
        }
        Ok(Self { device_keys, one_time, fallback })
    }
}

fn check_device_keys(user: &UserId, device: &DeviceId, text: &str) -> Result<Signed, UploadError> {
    let wrong = UploadError::DeviceKeys;
    let keys = Signed::parse(text).ok_or(wrong("not an object of canonical JSON, or too large"))?;
    let said_user = keys.text_of("user_id").ok_or(wrong("user_id is not a string"))?;
    let said_device = keys.text_of("device_id").ok_or(wrong("device_id is not a string"))?;
    keys.texts_of("algorithms").ok_or(wrong("algorithms is not a list of strings"))?;
    let named = keys.keys().ok_or(wrong("keys is not a map of key ids to strings"))?;
    if !keys.has_signatures() || !keys.signatures_are_well_formed() {
        return Err(wrong("signatures is not a map of users to maps of strings"));
    }
    let foreign = UploadError::Foreign;
    if said_user != user.as_str() {
        return Err(foreign("user_id is not that of the access token"));
    }
    if said_device != device.as_str() {
        return Err(foreign("device_id is not that of the access token"));
    }
    let own = |id: &str| id.split_once(':').is_some_and(|(_, name)| name == device.as_str());
    if !named.iter().all(|(id, _)| own(id)) {
        return Err(foreign("a key id does not end in the device id"));
    }
    Ok(keys)
}

fn new_keys<'a>(
    keys: impl IntoIterator<Item = (&'a OwnedOneTimeKeyId, &'a Raw<OneTimeKey>)>,
) -> Result<Vec<NewKey>, UploadError> {
    let check = |(id, key): (&OwnedOneTimeKeyId, &Raw<OneTimeKey>)| {
        NewKey::check(id, key).ok_or_else(|| UploadError::Malformed { id: id.to_string() })
    };
    keys.into_iter().map(check).collect()
}

/// Stores a device's identity keys. Signatures that others made of earlier ones go with those.
async fn put_device_keys(tx: &Tx, user: &UserId, device: &DeviceId, keys: &Signed) -> Result<(), Fault> {
    let row = (user.to_owned(), device.to_owned());
    let text = keys.text();
    let before = tx.read(&DEVICE_KEYS, &row).await?;
    if before.as_ref() == Some(&text) {
        return Ok(());
    }
    let same = before.and_then(|before| Signed::stored(&before)).is_some_and(|before| before.same_content(keys));
    if !same {
        let signed = (user.to_owned(), device.to_string());
        let signatures = tx.view().scan(&OWN_SIGNATURE, OWN_SIGNATURE.under(&signed), depesche_store::MAX_SCAN).await?;
        for (signature, _) in signatures {
            tx.delete(&OWN_SIGNATURE, &signature);
        }
    }
    tx.put(&DEVICE_KEYS, &row, &text);
    touch(tx, user).await
}
