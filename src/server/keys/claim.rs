//! `/keys/claim`: a client takes one-time keys of other devices to begin encrypted sessions with them.
//!
//! A key is read and deleted in one batch, before the client sees it: of two claims one conflicts, and a crash loses a
//! key at worst, never hands it out twice.
//!
//! Spec: [`POST /keys/claim`](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim).

use std::collections::BTreeMap;

use depesche_rules::bounds::{MAX_CLAIMS, MAX_DEVICE_ID_BYTES, MAX_KEY_NAME_BYTES};
use ruma::{
    OneTimeKeyAlgorithm, OwnedDeviceId, OwnedOneTimeKeyId, OwnedUserId, UserId, api::client::keys::claim_keys::v3,
};

use super::{Keys, bounds::CLAIMS_PER_BATCH, one_time, stored};
use crate::Fault;

/// Why nothing was claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// More devices than one request may name.
    #[error("too many devices in one request")]
    TooMany,
    /// Not the caller's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// One wish of a claim.
type Wish<'a> = (&'a OwnedUserId, &'a OwnedDeviceId, &'a OneTimeKeyAlgorithm);

impl Keys {
    /// Takes a key for each device named, as far as there is one. Users and devices without one are absent from the
    /// answer; servers of remote users are among its failures, for this server speaks with no other.
    pub async fn claim(&self, request: &v3::Request) -> Result<v3::Response, ClaimError> {
        if request.one_time_keys.values().map(BTreeMap::len).sum::<usize>() > MAX_CLAIMS {
            return Err(ClaimError::TooMany);
        }
        let users = request.one_time_keys.iter();
        let (local, remote): (Vec<_>, Vec<_>) = users.partition(|(user, _)| self.is_local(user));
        let wishes: Vec<Wish<'_>> = local
            .into_iter()
            .flat_map(|(user, devices)| devices.iter().map(move |(device, algorithm)| (user, device, algorithm)))
            .filter(|(_, device, algorithm)| {
                device.as_str().len() <= MAX_DEVICE_ID_BYTES && algorithm.as_str().len() <= MAX_KEY_NAME_BYTES
            })
            .collect();
        let mut answer = v3::Response::new(BTreeMap::new());
        for chunk in wishes.chunks(CLAIMS_PER_BATCH) {
            for ((user, device, _), found) in chunk.iter().zip(self.claim_chunk(chunk).await?) {
                let Some((id, text)) = found else { continue };
                let id = OwnedOneTimeKeyId::try_from(id).map_err(|error| Fault::Bug(error.to_string()))?;
                let devices = answer.one_time_keys.entry((*user).clone()).or_default();
                devices.entry((*device).clone()).or_default().insert(id, stored(text)?);
            }
        }
        let servers = remote.into_iter().map(|(user, _)| user.server_name().to_string());
        answer.failures = servers.map(|server| (server, unreachable())).collect();
        Ok(answer)
    }

    /// Takes keys in one batch.
    async fn claim_chunk(&self, chunk: &[Wish<'_>]) -> Result<Vec<Option<(String, String)>>, Fault> {
        let users: Vec<&UserId> = chunk.iter().map(|(user, ..)| user.as_ref()).collect();
        let _turns = self.turns.of_all(&users).await;
        self.base
            .transact(|tx| async move {
                let mut found = Vec::with_capacity(chunk.len());
                for (user, device, algorithm) in chunk {
                    found.push(one_time::take(&tx, user, device, algorithm.as_str()).await?);
                }
                Ok(found)
            })
            .await
    }

    pub(super) fn is_local(&self, user: &UserId) -> bool {
        user.server_name() == self.base.name
    }
}

/// What is said of a server that cannot be asked.
pub(super) fn unreachable() -> serde_json::Value {
    serde_json::json!({ "message": "federation is off" })
}
