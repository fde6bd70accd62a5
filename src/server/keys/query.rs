//! `/keys/query`: a client reads the devices and cross-signing keys of users.
//!
//! Whoever asks sees a key with the signatures of its owner and with their own, and nobody else's: who verified whom is
//! between the two of them.
//!
//! Spec: [`POST /keys/query`](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery),
//! [key and signature security](https://spec.matrix.org/v1.19/client-server-api/#key-and-signature-security).

use std::collections::{BTreeMap, BTreeSet};

use depesche_rules::bounds::MAX_QUERIED_USERS;
use depesche_store::MAX_SCAN;
use ruma::{
    OwnedDeviceId, OwnedUserId, UserId,
    api::client::keys::get_keys::v3,
    encryption::{CrossSigningKey, DeviceKeys},
    serde::Raw,
};

use super::{
    Keys,
    claim::unreachable,
    cross_signing::{MASTER, SELF_SIGNING, USER_SIGNING, public_key},
    signed::Signed,
    stored,
};
use crate::{
    Fault,
    keyspace::{ACCOUNT, CROSS_SIGNING_KEY, DEVICE_KEYS, OWN_SIGNATURE, USER_SIGNATURE},
    tx::View,
};

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// More users than one request may name.
    #[error("too many users in one request")]
    TooMany,
    /// Not the caller's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Signatures that do not stand in the object they sign: by signed device or public key, the signer, the id of the
/// signing key and the signature.
type Signatures = BTreeMap<String, Vec<(OwnedUserId, String, String)>>;

impl Keys {
    /// The keys of users as `viewer` may see them. No devices named means all devices of the user.
    pub async fn query(&self, viewer: &UserId, request: &v3::Request) -> Result<v3::Response, QueryError> {
        if request.device_keys.len() > MAX_QUERIED_USERS {
            return Err(QueryError::TooMany);
        }
        let view = self.base.view();
        let mut answer = v3::Response::new();
        for (user, devices) in &request.device_keys {
            if self.is_local(user) {
                self.query_user(&view, viewer, user, devices, &mut answer).await?;
            } else {
                answer.failures.insert(user.server_name().to_string(), unreachable());
            }
        }
        Ok(answer)
    }

    async fn query_user(
        &self,
        view: &View,
        viewer: &UserId,
        user: &OwnedUserId,
        wanted: &[OwnedDeviceId],
        answer: &mut v3::Response,
    ) -> Result<(), Fault> {
        let known = self.devices.names(view, user).await?;
        let signatures = signatures(view, viewer, user).await?;
        // Only who is not known is left out: a client goes on asking for whom it gets no answer.
        if !known.is_empty() || view.get(&ACCOUNT, &(user.clone(),)).await?.is_some() {
            let rows = view.scan(&DEVICE_KEYS, DEVICE_KEYS.under(&(user.clone(),)), MAX_SCAN).await?;
            let mut texts: BTreeMap<_, _> = rows.into_iter().map(|((_, device), text)| (device, text)).collect();
            // The list is bounded by the body alone, and may name one device many times.
            let wanted: BTreeSet<_> = wanted.iter().collect();
            let mut answered = BTreeMap::new();
            for (device, name) in known.into_iter().filter(|(id, _)| wanted.is_empty() || wanted.contains(id)) {
                let Some(text) = texts.remove(&device) else { continue };
                let mut keys = parse(&text)?;
                add(&mut keys, signatures.get(device.as_str()));
                keys.keep_signatures_of(&[user, viewer]);
                keys.set_display_name(name);
                answered.insert(device, stored::<DeviceKeys>(keys.text())?);
            }
            answer.device_keys.insert(user.clone(), answered);
        }
        let cross_signing = async |usage| cross_signing_key(view, viewer, user, usage, &signatures).await;
        let (master, of_self) = (cross_signing(MASTER).await?, cross_signing(SELF_SIGNING).await?);
        answer.master_keys.extend(master.map(|key| (user.clone(), key)));
        answer.self_signing_keys.extend(of_self.map(|key| (user.clone(), key)));
        if viewer == user {
            let of_others = cross_signing(USER_SIGNING).await?;
            answer.user_signing_keys.extend(of_others.map(|key| (user.clone(), key)));
        }
        Ok(())
    }
}

async fn cross_signing_key(
    view: &View,
    viewer: &UserId,
    user: &UserId,
    usage: &str,
    signatures: &Signatures,
) -> Result<Option<Raw<CrossSigningKey>>, Fault> {
    let text = view.get(&CROSS_SIGNING_KEY, &(user.to_owned(), usage.to_owned())).await?;
    let Some(text) = text else { return Ok(None) };
    let mut key = parse(&text)?;
    let own = public_key(&key).and_then(|public| signatures.get(public)).cloned();
    add(&mut key, own.as_ref());
    key.keep_signatures_of(&[user, viewer]);
    stored(key.text()).map(Some)
}

/// The signatures on a user's keys that `viewer` may see.
async fn signatures(view: &View, viewer: &UserId, user: &UserId) -> Result<Signatures, Fault> {
    let mut signatures = Signatures::new();
    let own = view.scan(&OWN_SIGNATURE, OWN_SIGNATURE.under(&(user.to_owned(),)), MAX_SCAN).await?;
    for ((_, signed, key_id), signature) in own {
        signatures.entry(signed).or_default().push((user.to_owned(), key_id, signature));
    }
    let by_viewer = USER_SIGNATURE.under(&(viewer.to_owned(), user.to_owned()));
    for ((_, _, signed, key_id), signature) in view.scan(&USER_SIGNATURE, by_viewer, MAX_SCAN).await? {
        signatures.entry(signed).or_default().push((viewer.to_owned(), key_id, signature));
    }
    Ok(signatures)
}

fn add(keys: &mut Signed, signatures: Option<&Vec<(OwnedUserId, String, String)>>) {
    for (signer, key_id, signature) in signatures.into_iter().flatten() {
        keys.add_signature(signer, key_id.clone(), signature.clone());
    }
}

/// A stored object.
pub(super) fn parse(text: &str) -> Result<Signed, Fault> {
    Signed::stored(text).ok_or_else(|| Fault::Bug("stored keys are not an object of canonical JSON".to_owned()))
}
