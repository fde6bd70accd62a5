//! `/keys/device_signing/upload`: a user publishes cross-signing keys.
//!
//! Who has an access token may publish the first keys, but not replace them: that needs the user (user-interactive
//! authentication, which is the caller's part). Whether it is needed is decided in the batch that writes the keys, so
//! that of two uploads at the same time only one is the first.
//!
//! Spec: [cross-signing](https://spec.matrix.org/v1.19/client-server-api/#cross-signing),
//! [the endpoint](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload).

use depesche_store::MAX_SCAN;
use ruma::{
    DeviceId, UserId,
    api::client::keys::upload_signing_keys::v3,
    encryption::CrossSigningKey,
    serde::{Base64, Raw, base64::Standard},
};

use super::{
    Keys,
    query::parse,
    signed::{ED25519, Signed},
    touch,
};
use crate::{
    Fault,
    keyspace::{CROSS_SIGNING_KEY, OWN_SIGNATURE},
    tx::Tx,
};

/// The usage of the key that is the user's identity.
pub const MASTER: &str = "master";
/// The usage of the key that signs the user's devices.
pub const SELF_SIGNING: &str = "self_signing";
/// The usage of the key that signs other users.
pub const USER_SIGNING: &str = "user_signing";

/// Why cross-signing keys were not taken. Nothing of the request was stored.
#[derive(Debug, thiserror::Error)]
pub enum CrossSigningError {
    /// A key is not such an object.
    #[error("the {usage} key is malformed: {reason}")]
    Malformed {
        /// What the key is used for.
        usage: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// The self-signing or user-signing key is not signed by the master key.
    #[error("the {usage} key is not signed by the master key")]
    InvalidSignature {
        /// What the key is used for.
        usage: &'static str,
    },
    /// There is no master key, neither in the request nor from before.
    #[error("there is no master key")]
    NoMasterKey,
    /// A public key is also the id of one of the user's devices.
    #[error("the public key of the {usage} key is the id of a device")]
    KeyIdInUse {
        /// What the key is used for.
        usage: &'static str,
    },
    /// The request changes keys: the user must authenticate, then the request may come again.
    #[error("the keys exist: the user must authenticate to replace them")]
    AuthenticationNeeded,
    /// Not the caller's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A key of the request, checked by itself.
struct NewKey {
    usage: &'static str,
    key: Signed,
    public: String,
}

impl Keys {
    /// Publishes cross-signing keys. `authenticated` says that the user has authenticated for this very request, or need
    /// not (an application service); call with `false` first and act on
    /// [`CrossSigningError::AuthenticationNeeded`]. The same keys again are no change.
    pub async fn upload_cross_signing(
        &self,
        user: &UserId,
        request: &v3::Request,
        authenticated: bool,
    ) -> Result<(), CrossSigningError> {
        let given = [
            (MASTER, &request.master_key),
            (SELF_SIGNING, &request.self_signing_key),
            (USER_SIGNING, &request.user_signing_key),
        ];
        let given = given.into_iter().filter_map(|(usage, key)| Some((usage, key.as_ref()?)));
        let keys: Vec<NewKey> = given.map(|(usage, key)| check(user, usage, key)).collect::<Result<_, _>>()?;
        let keys = &keys;
        self.base.transact(|tx| async move { self.put_cross_signing(&tx, user, keys, authenticated).await }).await
    }

    async fn put_cross_signing(
        &self,
        tx: &Tx,
        user: &UserId,
        keys: &[NewKey],
        authenticated: bool,
    ) -> Result<(), CrossSigningError> {
        // Clients ask so whether an upload would need the user.
        if keys.is_empty() {
            return Ok(());
        }
        let master_before = current(tx, user, MASTER).await?;
        let master = keys.iter().find(|key| key.usage == MASTER).map(|key| &key.key).or(master_before.as_ref());
        let Some(master_key) = master.and_then(public_key).map(ToOwned::to_owned) else {
            return Err(CrossSigningError::NoMasterKey);
        };
        let mut changed = Vec::new();
        for key in keys {
            if key.usage != MASTER && !key.is_signed_by(user, &master_key) {
                return Err(CrossSigningError::InvalidSignature { usage: key.usage });
            }
            if self.devices.hold(tx, user, <&DeviceId>::from(key.public.as_str())).await? {
                return Err(CrossSigningError::KeyIdInUse { usage: key.usage });
            }
            if !current(tx, user, key.usage).await?.is_some_and(|before| before.same_content(&key.key)) {
                changed.push(key);
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        if master_before.is_some() && !authenticated {
            return Err(CrossSigningError::AuthenticationNeeded);
        }
        if changed.iter().any(|key| key.usage == MASTER) {
            for usage in [MASTER, SELF_SIGNING, USER_SIGNING] {
                remove(tx, user, usage).await?;
            }
            // Unchanged ones of the request were removed as well, and are written again.
            changed = keys.iter().collect();
        }
        for key in changed {
            tx.put(&CROSS_SIGNING_KEY, &(user.to_owned(), key.usage.to_owned()), &key.key.text());
        }
        touch(tx, user).await?;
        Ok(())
    }
}

/// Whether a user has a cross-signing key whose public key is this: such an id must not be given to a device. With the
/// requirement that this is still so at the commit.
pub async fn is_cross_signing_key(tx: &Tx, user: &UserId, device: &DeviceId) -> Result<bool, Fault> {
    for usage in [MASTER, SELF_SIGNING, USER_SIGNING] {
        if current(tx, user, usage).await?.as_ref().and_then(public_key) == Some(device.as_str()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The public key of a stored cross-signing key.
pub fn public_key(key: &Signed) -> Option<&str> {
    key.keys()?.first().map(|(_, public)| *public)
}

/// A user's key of a usage, with the requirement that it stays.
pub async fn current(tx: &Tx, user: &UserId, usage: &str) -> Result<Option<Signed>, Fault> {
    let text = tx.read(&CROSS_SIGNING_KEY, &(user.to_owned(), usage.to_owned())).await?;
    text.map(|text| parse(&text)).transpose()
}

/// Removes a key and the signatures on it: a key that the master key of today has not signed is worth nothing.
async fn remove(tx: &Tx, user: &UserId, usage: &str) -> Result<(), Fault> {
    let Some(key) = current(tx, user, usage).await? else { return Ok(()) };
    tx.delete(&CROSS_SIGNING_KEY, &(user.to_owned(), usage.to_owned()));
    if let Some(public) = public_key(&key) {
        let signed = OWN_SIGNATURE.under(&(user.to_owned(), public.to_owned()));
        for (signature, _) in tx.view().scan(&OWN_SIGNATURE, signed, MAX_SCAN).await? {
            tx.delete(&OWN_SIGNATURE, &signature);
        }
    }
    Ok(())
}

fn check(user: &UserId, usage: &'static str, key: &Raw<CrossSigningKey>) -> Result<NewKey, CrossSigningError> {
    let wrong = |reason| CrossSigningError::Malformed { usage, reason };
    let key = Signed::parse(key.json().get()).ok_or(wrong("not an object of canonical JSON, or too large"))?;
    if key.text_of("user_id") != Some(user.as_str()) {
        return Err(wrong("user_id is not that of the access token"));
    }
    if !key.texts_of("usage").is_some_and(|usages| usages.contains(&usage)) {
        return Err(wrong("usage does not name it"));
    }
    if !key.signatures_are_well_formed() {
        return Err(wrong("signatures is not a map of users to maps of strings"));
    }
    let keys = key.keys().ok_or(wrong("keys is not a map of key ids to strings"))?;
    let [(id, public)] = keys.as_slice() else { return Err(wrong("keys must have exactly one entry")) };
    if id.strip_prefix(ED25519) != Some(*public) {
        return Err(wrong("the key id is not `ed25519:` and the public key"));
    }
    if public.contains('=') || !Base64::<Standard>::parse(public).is_ok_and(|key| key.as_bytes().len() == 32) {
        return Err(wrong("the public key is not 32 bytes in unpadded base64"));
    }
    let public = (*public).to_owned();
    Ok(NewKey { usage, key, public })
}

impl NewKey {
    fn is_signed_by(&self, user: &UserId, master: &str) -> bool {
        let by_master = |id: &str| id.strip_prefix(ED25519) == Some(master);
        let mut signatures = self.key.signatures_of(user).into_iter();
        signatures.any(|(id, signature)| by_master(id) && self.key.is_signature(master, signature))
    }
}
