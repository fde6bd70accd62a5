//! Device keys, one-time and fallback keys, cross-signing keys, their signatures, and who must hear of changes.
//!
//! The server verifies what it can and never what it need not: signatures that clients verify anyway (of device keys
//! and one-time keys by their device) are only passed on; signatures that make the server accept something (a
//! self-signing key, an uploaded signature) are verified here.
//!
//! Invariants: a one-time key is handed out at most once, also when its upload is repeated; a signature on another
//! user's key is read by its signer alone; every change that others can see goes through [`touch`].
//!
//! Spec: [key distribution](https://spec.matrix.org/v1.19/client-server-api/#key-distribution),
//! [cross-signing](https://spec.matrix.org/v1.19/client-server-api/#cross-signing).

pub mod bounds;
mod changes;
mod claim;
mod cross_signing;
mod forget;
mod one_time;
mod query;
mod signatures;
mod signed;
#[cfg(test)]
pub(crate) mod tests;
mod upload;

use std::sync::Arc;

use ruma::serde::Raw;

pub use changes::{touch, touch_renamed};
pub use claim::ClaimError;
pub use cross_signing::{CrossSigningError, is_cross_signing_key};
pub use forget::{forget_device, forget_user};
pub use one_time::{KeyCounts, spend_all};
pub use query::QueryError;
pub use signatures::{SignatureFailure, SignatureFailures, SignaturesError};
pub use upload::UploadError;

use crate::{Base, Fault, devices::Devices, turns::Turns};

/// The end-to-end keys of this server's users.
pub struct Keys {
    base: Arc<Base>,
    devices: Arc<Devices>,
    turns: Turns,
}

impl Keys {
    /// Over this database and these devices.
    pub fn new(base: Arc<Base>, devices: Arc<Devices>) -> Self {
        Self { base, devices, turns: Turns::default() }
    }
}

/// JSON that was checked before it was stored.
pub(crate) fn stored<T>(text: String) -> Result<Raw<T>, Fault> {
    Raw::from_json_string(text).map_err(|error| Fault::Bug(format!("stored JSON is not JSON: {error}")))
}
