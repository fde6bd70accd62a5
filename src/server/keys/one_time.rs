//! One-time keys and fallback keys: putting them in stock and handing them out.
//!
//! All of it happens under the device's [`Stock`] row, which each change reads and rewrites. The other rows can
//! therefore be read from the snapshot: a batch whose snapshot is old conflicts on that row.
//!
//! Spec: [one-time and fallback keys](https://spec.matrix.org/v1.19/client-server-api/#one-time-and-fallback-keys).

use std::collections::BTreeMap;

use depesche_rules::bounds::{MAX_FALLBACK_KEYS, MAX_KEY_NAME_BYTES, MAX_ONE_TIME_KEY_BYTES, MAX_ONE_TIME_KEYS};
use depesche_store::{MAX_SCAN, Position, Stamp, StampAt};
use ruma::{
    CanonicalJsonValue, DeviceId, OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedUserId, UInt, UserId,
    encryption::OneTimeKey, serde::Raw,
};
use sha2::{Digest, Sha256};

use super::{Keys, UploadError, bounds::MAX_CLAIMED_IDS};
use crate::{
    Fault,
    keyspace::{FALLBACK_KEY, ONE_TIME_ID, ONE_TIME_KEY, STOCK},
    records::keys::{FallbackKey, OneTimeId, Stock},
    topic,
    tx::{Tx, View},
};

/// A one-time or fallback key that a client sent, checked.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The algorithm.
    pub algorithm: String,
    /// The id, with the algorithm.
    pub id: String,
    /// Canonical JSON.
    pub text: String,
}

impl NewKey {
    /// Checks the shape: a string, or an object with `key` and `signatures` as `signed_curve25519` demands it.
    pub fn check(id: &OwnedOneTimeKeyId, key: &Raw<OneTimeKey>) -> Option<Self> {
        // Before it is read: parsed, a text takes many times its own size.
        if key.json().get().len() > MAX_ONE_TIME_KEY_BYTES {
            return None;
        }
        let value: CanonicalJsonValue = serde_json::from_str(key.json().get()).ok()?;
        let algorithm = id.algorithm();
        let well_formed = match &value {
            CanonicalJsonValue::String(_) => algorithm != OneTimeKeyAlgorithm::SignedCurve25519,
            CanonicalJsonValue::Object(object) => {
                object.get("key").is_some_and(CanonicalJsonValue::is_string)
                    && object.get("signatures").is_some_and(CanonicalJsonValue::is_object)
            }
            _ => false,
        };
        let text = value.to_string();
        let fits = id.as_str().len() <= MAX_KEY_NAME_BYTES && text.len() <= MAX_ONE_TIME_KEY_BYTES;
        let id = id.as_str().to_owned();
        (well_formed && fits).then_some(Self { algorithm: algorithm.as_ref().to_owned(), id, text })
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }
}

/// What a device has to be claimed, as `/keys/upload` and `/sync` say it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyCounts {
    /// One-time keys by algorithm; the one that clients use is always there, be it zero, since a client that is not
    /// told would not upload more.
    pub one_time: BTreeMap<OneTimeKeyAlgorithm, UInt>,
    /// Algorithms with a fallback key that nobody was given.
    pub unused_fallback: Vec<OneTimeKeyAlgorithm>,
}

impl From<Stock> for KeyCounts {
    fn from(stock: Stock) -> Self {
        let mut one_time = BTreeMap::from([(OneTimeKeyAlgorithm::SignedCurve25519, UInt::MIN)]);
        for (algorithm, count) in stock.one_time {
            one_time.insert(algorithm.as_str().into(), count.into());
        }
        let unused = stock.fallback.iter().filter(|(_, used)| !**used);
        Self { one_time, unused_fallback: unused.map(|(algorithm, _)| algorithm.as_str().into()).collect() }
    }
}

impl Keys {
    /// What a device has to be claimed.
    pub async fn counts(&self, view: &View, user: &UserId, device: &DeviceId) -> Result<KeyCounts, Fault> {
        let stock = view.get(&STOCK, &(user.to_owned(), device.to_owned())).await?;
        Ok(stock.unwrap_or_default().into())
    }
}

/// Adds keys to a device's stock and answers what it has then.
pub async fn add(
    tx: &Tx,
    (user, device): (&UserId, &DeviceId),
    one_time: &[NewKey],
    fallback: &[NewKey],
) -> Result<Stock, UploadError> {
    let owner = (user.to_owned(), device.to_owned());
    let before = tx.read(&STOCK, &owner).await?.unwrap_or_default();
    let mut stock = before.clone();
    if !one_time.is_empty() {
        add_one_time(tx, &owner, one_time, &mut stock).await?;
        forget_old_ids(tx, &owner).await?;
    }
    for key in fallback {
        set_fallback(tx, &owner, key, &mut stock).await?;
    }
    let total: usize = stock.one_time.values().map(|count| *count as usize).sum();
    if total > MAX_ONE_TIME_KEYS || stock.fallback.len() > MAX_FALLBACK_KEYS {
        return Err(UploadError::TooMany);
    }
    if stock != before {
        tx.put(&STOCK, &owner, &stock);
        tx.topic(topic::device(user, device));
    }
    Ok(stock)
}

async fn add_one_time(
    tx: &Tx,
    owner: &(OwnedUserId, OwnedDeviceId),
    keys: &[NewKey],
    stock: &mut Stock,
) -> Result<(), UploadError> {
    let ids: Vec<_> = keys.iter().map(|key| (owner.0.clone(), owner.1.clone(), key.id.clone())).collect();
    let known = tx.view().get_many(&ONE_TIME_ID, &ids).await?;
    for ((key, id), known) in keys.iter().zip(&ids).zip(known) {
        match known {
            Some(known) if known.hash == key.hash() => continue,
            Some(_) => return Err(UploadError::OneTimeKeyExists { id: key.id.clone() }),
            None => {}
        }
        let row = (owner.0.clone(), owner.1.clone(), key.algorithm.clone(), Position(0), key.id.clone());
        let prefix = ONE_TIME_KEY.under(&(owner.0.clone(), owner.1.clone(), key.algorithm.clone()));
        let order = Stamp { at: StampAt::Key, offset: prefix.from.len() };
        tx.put_stamped(&ONE_TIME_KEY, &row, &key.text, vec![order]);
        put_id(tx, id, key.hash(), false);
        *stock.one_time.entry(key.algorithm.clone()).or_default() += 1;
    }
    Ok(())
}

async fn set_fallback(
    tx: &Tx,
    owner: &(OwnedUserId, OwnedDeviceId),
    key: &NewKey,
    stock: &mut Stock,
) -> Result<(), Fault> {
    let row = (owner.0.clone(), owner.1.clone(), key.algorithm.clone());
    let new = FallbackKey { id: key.id.clone(), key: key.text.clone() };
    // A repeated upload does not make a used key unused.
    if tx.read(&FALLBACK_KEY, &row).await?.as_ref() != Some(&new) {
        tx.put(&FALLBACK_KEY, &row, &new);
        stock.fallback.insert(key.algorithm.clone(), false);
    }
    Ok(())
}

/// Keeps the ids of claimed keys from growing for ever.
async fn forget_old_ids(tx: &Tx, owner: &(OwnedUserId, OwnedDeviceId)) -> Result<(), Fault> {
    let ids = tx.view().scan(&ONE_TIME_ID, ONE_TIME_ID.under(owner), MAX_SCAN).await?;
    let mut claimed: Vec<_> = ids.into_iter().filter(|(_, id)| id.claimed).collect();
    claimed.sort_by_key(|(_, id)| std::cmp::Reverse(id.position));
    for (key, _) in claimed.iter().skip(MAX_CLAIMED_IDS) {
        tx.delete(&ONE_TIME_ID, key);
    }
    Ok(())
}

/// Takes a key out of a device's stock: the oldest one-time key, else the fallback key. Answers its id and JSON.
pub async fn take(
    tx: &Tx,
    user: &UserId,
    device: &DeviceId,
    algorithm: &str,
) -> Result<Option<(String, String)>, Fault> {
    let owner = (user.to_owned(), device.to_owned());
    let Some(mut stock) = tx.read(&STOCK, &owner).await? else { return Ok(None) };
    let of_algorithm = (owner.0.clone(), owner.1.clone(), algorithm.to_owned());
    let oldest = tx.view().scan(&ONE_TIME_KEY, ONE_TIME_KEY.under(&of_algorithm), 1).await?.pop();
    if let Some((row, text)) = oldest {
        let id = row.4.clone();
        tx.delete(&ONE_TIME_KEY, &row);
        put_id(tx, &(row.0, row.1, row.4), Sha256::digest(text.as_bytes()).into(), true);
        match stock.one_time.get_mut(algorithm) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(stock.one_time.remove(algorithm)),
        }
        tx.put(&STOCK, &owner, &stock);
        tx.topic(topic::device(user, device));
        return Ok(Some((id, text)));
    }
    let Some(fallback) = tx.view().get(&FALLBACK_KEY, &of_algorithm).await? else { return Ok(None) };
    if stock.fallback.insert(algorithm.to_owned(), true) != Some(true) {
        tx.put(&STOCK, &owner, &stock);
        tx.topic(topic::device(user, device));
    }
    Ok(Some((fallback.id, fallback.key)))
}

/// Takes all one-time keys of a device out of its stock without giving them to anybody, and counts its fallback keys as
/// used: in a restored copy nobody knows which of them were handed out.
pub async fn spend_all(tx: &Tx, user: &UserId, device: &DeviceId) -> Result<(), Fault> {
    let owner = (user.to_owned(), device.to_owned());
    let Some(mut stock) = tx.read(&STOCK, &owner).await? else { return Ok(()) };
    // There are at most MAX_ONE_TIME_KEYS, which one read returns.
    for (row, text) in tx.view().scan(&ONE_TIME_KEY, ONE_TIME_KEY.under(&owner), MAX_SCAN).await? {
        tx.delete(&ONE_TIME_KEY, &row);
        put_id(tx, &(row.0, row.1, row.4), Sha256::digest(text.as_bytes()).into(), true);
    }
    stock.one_time.clear();
    stock.fallback.values_mut().for_each(|used| *used = true);
    tx.put(&STOCK, &owner, &stock);
    tx.topic(topic::device(user, device));
    Ok(())
}

fn put_id(tx: &Tx, id: &(OwnedUserId, OwnedDeviceId, String), hash: [u8; 32], claimed: bool) {
    let record = OneTimeId { position: 0, claimed, hash };
    let position = Stamp { at: StampAt::Value, offset: OneTimeId::POSITION };
    tx.put_stamped_value(&ONE_TIME_ID, id, &record, vec![position]);
}
