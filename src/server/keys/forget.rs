//! Devices and users that are no more.

use depesche_store::MAX_SCAN;
use ruma::{DeviceId, UserId};

use super::{signed::ED25519, touch};
use crate::{
    Fault, backup,
    keyspace::{
        CROSS_SIGNING_KEY, DEVICE_KEYS, FALLBACK_KEY, ONE_TIME_ID, ONE_TIME_KEY, OWN_SIGNATURE, SIGNED_HEAD,
        SIGNED_LOG, STOCK, USER_SIGNATURE,
    },
    to_device,
    tx::Tx,
};

/// Removes a device's keys and the messages that wait for it, in the batch that removes the device. Cross-signing keys
/// stay: they are the user's. What is under way for the device conflicts with that batch, for it relies on the device.
pub async fn forget_device(tx: &Tx, user: &UserId, device: &DeviceId) -> Result<(), Fault> {
    let owner = (user.to_owned(), device.to_owned());
    if tx.read(&DEVICE_KEYS, &owner).await?.is_some() {
        tx.delete(&DEVICE_KEYS, &owner);
        touch(tx, user).await?;
    }
    if tx.read(&STOCK, &owner).await?.is_some() {
        tx.delete(&STOCK, &owner);
        tx.delete_range(FALLBACK_KEY.under(&owner));
        tx.delete_range(ONE_TIME_KEY.under(&owner));
        tx.delete_range(ONE_TIME_ID.under(&owner));
    }
    let own_key = format!("{ED25519}{device}");
    let signatures = tx.view().scan(&OWN_SIGNATURE, OWN_SIGNATURE.under(&(user.to_owned(),)), MAX_SCAN).await?;
    for (signature, _) in signatures {
        if signature.1 == device.as_str() || signature.2 == own_key {
            tx.delete(&OWN_SIGNATURE, &signature);
        }
    }
    to_device::forget_device(tx, user, device).await
}

/// Removes all keys, messages and backups of a user, in the batch that ends the account.
pub async fn forget_user(tx: &Tx, user: &UserId) -> Result<(), Fault> {
    let user = &(user.to_owned(),);
    let ranges = [
        DEVICE_KEYS.under(user),
        STOCK.under(user),
        FALLBACK_KEY.under(user),
        ONE_TIME_KEY.under(user),
        ONE_TIME_ID.under(user),
        CROSS_SIGNING_KEY.under(user),
        OWN_SIGNATURE.under(user),
        USER_SIGNATURE.under(user),
        SIGNED_HEAD.under(user),
        SIGNED_LOG.under(user),
    ];
    for range in ranges {
        tx.delete_range(range);
    }
    to_device::forget_user(tx, &user.0);
    backup::forget_user(tx, &user.0);
    touch(tx, &user.0).await
}
