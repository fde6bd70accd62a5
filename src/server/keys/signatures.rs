//! `/keys/signatures/upload`: a user publishes signatures on the own devices, the own master key and the master keys of
//! others.
//!
//! | signed | by |
//! |---|---|
//! | an own device | the own self-signing key |
//! | the own master key | an own device |
//! | another user's master key | the own user-signing key |
//!
//! Other signatures in a signed object (a device's of itself, say) were there before and are passed over. Each object is
//! taken or refused by itself.
//!
//! Spec:
//! [`POST /keys/signatures/upload`](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload).

use std::collections::BTreeMap;

use depesche_rules::bounds::{MAX_DEVICE_ID_BYTES, MAX_KEY_NAME_BYTES, MAX_SIGNED_OBJECTS};
use ruma::{OwnedUserId, UserId, api::client::keys::upload_signatures::v3};

use super::{
    Keys,
    changes::touch_signed,
    cross_signing::{MASTER, SELF_SIGNING, USER_SIGNING, current, public_key},
    query::parse,
    signed::{ED25519, Signed},
    touch,
};
use crate::{
    Fault,
    keyspace::{DEVICE_KEYS, OWN_SIGNATURE, USER_SIGNATURE},
    tx::Tx,
};

/// Why no signature was taken.
#[derive(Debug, thiserror::Error)]
pub enum SignaturesError {
    /// More objects than one request may have.
    #[error("too many signed objects in one request")]
    TooMany,
    /// Not the caller's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why one object's signatures were not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignatureFailure {
    /// It is not an object that can be signed.
    #[error("not an object of canonical JSON")]
    Malformed,
    /// There is no such device or key, or not one that this user may sign.
    #[error("no such key")]
    NotFound,
    /// The signed object is not the published one.
    #[error("the signed object is not the published one")]
    Mismatch,
    /// There is no valid signature by the right key.
    #[error("no valid signature by a key that may sign this")]
    InvalidSignature,
}

/// What was refused: by user and device or public key.
pub type SignatureFailures = BTreeMap<OwnedUserId, BTreeMap<String, SignatureFailure>>;

/// What a signature is by: an id and the public key behind it.
struct Signer {
    id: String,
    public: String,
}

/// What is signed and who may sign it.
struct Signable {
    published: Signed,
    signers: Vec<Signer>,
}

impl Keys {
    /// Publishes signatures and answers which were refused.
    pub async fn upload_signatures(
        &self,
        user: &UserId,
        request: &v3::Request,
    ) -> Result<SignatureFailures, SignaturesError> {
        if request.signed_keys.values().map(|keys| keys.iter().count()).sum::<usize>() > MAX_SIGNED_OBJECTS {
            return Err(SignaturesError::TooMany);
        }
        self.base
            .transact(|tx| async move {
                let mut failures = SignatureFailures::new();
                for (target, objects) in &request.signed_keys {
                    let mut taken = false;
                    for (id, object) in objects {
                        match self.take_signatures(&tx, user, target, id, object.get()).await? {
                            Ok(()) => taken = true,
                            Err(failure) => {
                                failures.entry(target.clone()).or_default().insert(id.to_owned(), failure);
                            }
                        }
                    }
                    match taken {
                        true if target == user => touch(&tx, user).await?,
                        true => touch_signed(&tx, user, target).await?,
                        false => {}
                    }
                }
                Ok(failures)
            })
            .await
    }

    async fn take_signatures(
        &self,
        tx: &Tx,
        user: &UserId,
        target: &UserId,
        id: &str,
        text: &str,
    ) -> Result<Result<(), SignatureFailure>, Fault> {
        let Some(object) = Signed::parse(text).filter(Signed::signatures_are_well_formed) else {
            return Ok(Err(SignatureFailure::Malformed));
        };
        if id.len() > MAX_KEY_NAME_BYTES || !self.is_local(target) {
            return Ok(Err(SignatureFailure::NotFound));
        }
        let signable = if user == target {
            self.own_signable(tx, user, id, &object).await?
        } else {
            signable_of_other(tx, user, target, id).await?
        };
        let Some(signable) = signable else { return Ok(Err(SignatureFailure::NotFound)) };
        if !signable.published.same_content(&object) {
            return Ok(Err(SignatureFailure::Mismatch));
        }
        let Some(valid) = signable.valid_signatures(user, &object) else {
            return Ok(Err(SignatureFailure::InvalidSignature));
        };
        for (key_id, signature) in valid {
            let (signer, target) = (user.to_owned(), target.to_owned());
            if signer == target {
                tx.put(&OWN_SIGNATURE, &(signer, id.to_owned(), key_id), &signature);
            } else {
                tx.put(&USER_SIGNATURE, &(signer, target, id.to_owned(), key_id), &signature);
            }
        }
        Ok(Ok(()))
    }

    /// One of the user's own devices, or the own master key.
    async fn own_signable(&self, tx: &Tx, user: &UserId, id: &str, object: &Signed) -> Result<Option<Signable>, Fault> {
        if let Some(published) = device_keys(tx, user, id).await? {
            let signer = signer(tx, user, SELF_SIGNING).await?;
            return Ok(Some(Signable { published, signers: signer.into_iter().collect() }));
        }
        let Some(published) = current(tx, user, MASTER).await?.filter(|key| public_key(key) == Some(id)) else {
            return Ok(None);
        };
        let mut signers = Vec::new();
        for (key_id, _) in object.signatures_of(user) {
            let device = key_id.strip_prefix(ED25519).unwrap_or_default();
            let keys = device_keys(tx, user, device).await?;
            let public = keys.as_ref().and_then(|keys| keys.key(key_id));
            signers.extend(public.map(|public| Signer { id: key_id.to_owned(), public: public.to_owned() }));
        }
        Ok(Some(Signable { published, signers }))
    }
}

/// Another user's master key.
async fn signable_of_other(tx: &Tx, user: &UserId, target: &UserId, id: &str) -> Result<Option<Signable>, Fault> {
    let master = current(tx, target, MASTER).await?.filter(|key| public_key(key) == Some(id));
    let Some(published) = master else { return Ok(None) };
    let signer = signer(tx, user, USER_SIGNING).await?;
    Ok(Some(Signable { published, signers: signer.into_iter().collect() }))
}

async fn device_keys(tx: &Tx, user: &UserId, device: &str) -> Result<Option<Signed>, Fault> {
    if device.is_empty() || device.len() > MAX_DEVICE_ID_BYTES {
        return Ok(None);
    }
    let text = tx.read(&DEVICE_KEYS, &(user.to_owned(), device.into())).await?;
    text.map(|text| parse(&text)).transpose()
}

async fn signer(tx: &Tx, user: &UserId, usage: &str) -> Result<Option<Signer>, Fault> {
    let key = current(tx, user, usage).await?;
    let public = key.as_ref().and_then(public_key);
    Ok(public.map(|public| Signer { id: format!("{ED25519}{public}"), public: public.to_owned() }))
}

impl Signable {
    /// The signatures by those who may sign; `None` if there is none or one of them is wrong.
    fn valid_signatures(&self, user: &UserId, object: &Signed) -> Option<Vec<(String, String)>> {
        let mut valid = Vec::new();
        for (id, signature) in object.signatures_of(user) {
            let Some(signer) = self.signers.iter().find(|signer| signer.id == id) else { continue };
            if !object.is_signature(&signer.public, signature) {
                return None;
            }
            valid.push((id.to_owned(), signature.to_owned()));
        }
        (!valid.is_empty()).then_some(valid)
    }
}
