//! What the keys need to know of devices. The module of devices stands below this one (it calls
//! [`crate::keys::forget_device`]), so it is reached through a trait.

use futures::future::BoxFuture;
use ruma::{DeviceId, OwnedDeviceId, UserId};

use crate::{
    Fault,
    tx::{Tx, View},
};

/// A device that is logged in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownDevice {
    /// Its id.
    pub id: OwnedDeviceId,
    /// What its user calls it.
    pub display_name: Option<String>,
}

/// The devices of local users.
pub trait KnownDevices: Send + Sync {
    /// A user's devices as a snapshot shows them; none for a user who is not known or not local.
    fn list<'a>(&'a self, view: &'a View, user: &'a UserId) -> BoxFuture<'a, Result<Vec<KnownDevice>, Fault>>;

    /// Whether a device exists, and the requirement that this is still so at the commit: `tx.read` of its row.
    fn hold<'a>(
        &'a self,
        tx: &'a Tx,
        user: &'a UserId,
        device: &'a DeviceId,
    ) -> BoxFuture<'a, Result<bool, Fault>>;
}
