//! A user's devices: their names, when they were last seen, and how they end.
//!
//! A device ends with its tokens, its transaction ids and whatever other parts keep for it, in one batch: those parts
//! implement [`DeviceFollower`], because they stand above this one.
//!
//! Spec: [device management](https://spec.matrix.org/v1.19/client-server-api/#device-management).

#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use depesche_rules::bounds::{MAX_DEVICE_DISPLAY_NAME_BYTES, MAX_DEVICE_ID_BYTES};
use depesche_store::{CommitError, MAX_SCAN, Mutex};
use futures::future::BoxFuture;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};

use crate::{
    Base, Fault,
    accounts::sessions::{self, NewSession},
    keyspace::{DEVICE, DEVICE_LIST, DEVICE_SEEN, TRANSACTION},
    records::accounts::{Device, Seen},
    topic,
    tx::{Tx, View},
};

/// Letters of a device id that the server chooses.
const CHOSEN_LETTERS: usize = 10;
/// How often at most a device's last-seen row is written.
const SEEN_EVERY_MS: u64 = 60_000;
/// Devices whose last write is remembered; beyond it, some are written more often.
const SEEN_REMEMBERED: usize = 10_000;

/// A part that keeps something for devices: keys, to-device messages, pushers.
pub trait DeviceFollower: Send + Sync {
    /// Puts into the batch that removes these devices what goes with them, and the news of it.
    fn removed<'a>(
        &'a self,
        tx: &'a Tx,
        user: &'a UserId,
        devices: &'a [OwnedDeviceId],
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Puts into the batch that renames a device the news of it.
    fn renamed<'a>(&'a self, tx: &'a Tx, user: &'a UserId, device: &'a DeviceId) -> BoxFuture<'a, Result<(), Fault>>;

    /// Puts into the batch that deactivates a user the end of what is kept for the user beside the devices.
    fn user_gone<'a>(&'a self, tx: &'a Tx, user: &'a UserId) -> BoxFuture<'a, Result<(), Fault>>;

    /// Whether a device must not have this id, because it is one of the user's cross-signing keys.
    fn claims<'a>(&'a self, tx: &'a Tx, user: &'a UserId, device: &'a DeviceId) -> BoxFuture<'a, Result<bool, Fault>>;
}

/// A device as its user sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceInfo {
    /// Its id.
    pub id: OwnedDeviceId,
    /// What is stored.
    pub device: Device,
    /// When it was last seen.
    pub seen: Option<Seen>,
}

/// Why a device cannot log in.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnfitDevice {
    /// The id is empty or too long.
    #[error("a device id has 1 to {MAX_DEVICE_ID_BYTES} bytes")]
    InvalidId,
    /// The id is that of a cross-signing key.
    #[error("a device cannot have the id of a cross-signing key")]
    CrossSigningKey,
    /// The display name is too long.
    #[error("a device's display name may have at most {MAX_DEVICE_DISPLAY_NAME_BYTES} bytes")]
    DisplayNameTooLong,
    /// The user has as many devices as allowed.
    #[error("there are too many devices: log out some first")]
    TooMany,
}

/// Why a session does not begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenDeviceError {
    /// The device does not do.
    #[error(transparent)]
    Unfit(#[from] UnfitDevice),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a device is not shown or renamed.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The user has no such device.
    #[error("there is no such device")]
    NotFound,
    /// The display name is too long.
    #[error("a device's display name may have at most {MAX_DEVICE_DISPLAY_NAME_BYTES} bytes")]
    DisplayNameTooLong,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The devices of this server's users.
pub struct Devices {
    base: Arc<Base>,
    followers: Vec<Arc<dyn DeviceFollower>>,
    /// When a last-seen row was last written.
    seen: Mutex<SeenAt>,
}

/// When devices were last noted to be there: two generations, of which the older goes as a whole.
#[derive(Default)]
struct SeenAt {
    young: HashMap<(OwnedUserId, OwnedDeviceId), u64>,
    old: HashMap<(OwnedUserId, OwnedDeviceId), u64>,
}

impl SeenAt {
    fn lately(&self, device: &(OwnedUserId, OwnedDeviceId), now_ms: u64) -> bool {
        let last = self.young.get(device).or_else(|| self.old.get(device));
        last.is_some_and(|at_ms| at_ms + SEEN_EVERY_MS > now_ms)
    }
}

impl Devices {
    /// Over this base; the followers are asked in this order.
    pub fn new(base: Arc<Base>, followers: Vec<Arc<dyn DeviceFollower>>) -> Self {
        Self { base, followers, seen: Mutex::default() }
    }

    /// A user's devices.
    pub async fn list(&self, user: &UserId) -> Result<Vec<DeviceInfo>, Fault> {
        let view = self.base.view();
        let prefix = (user.to_owned(),);
        let devices = view.scan(&DEVICE, DEVICE.under(&prefix), MAX_SCAN).await?;
        let seen = view.scan(&DEVICE_SEEN, DEVICE_SEEN.under(&prefix), MAX_SCAN).await?;
        let mut seen: HashMap<_, _> = seen.into_iter().map(|((_, id), seen)| (id, seen)).collect();
        let infos = devices.into_iter().map(|((_, id), device)| DeviceInfo { seen: seen.remove(&id), id, device });
        Ok(infos.collect())
    }

    /// One device.
    pub async fn get(&self, user: &UserId, device: &DeviceId) -> Result<DeviceInfo, DeviceError> {
        let (view, key) = (self.base.view(), (user.to_owned(), device.to_owned()));
        let device = view.get(&DEVICE, &key).await?.ok_or(DeviceError::NotFound)?;
        let seen = view.get(&DEVICE_SEEN, &key).await?;
        Ok(DeviceInfo { id: key.1, device, seen })
    }

    /// Whether the user has this device.
    pub async fn exists(&self, view: &View, user: &UserId, device: &DeviceId) -> Result<bool, Fault> {
        Ok(view.get(&DEVICE, &(user.to_owned(), device.to_owned())).await?.is_some())
    }

    /// Whether the user has this device, and the requirement that this is still so at the commit.
    pub async fn hold(&self, tx: &Tx, user: &UserId, device: &DeviceId) -> Result<bool, Fault> {
        Ok(tx.read(&DEVICE, &(user.to_owned(), device.to_owned())).await?.is_some())
    }

    /// The ids and names of a user's devices.
    pub async fn names(&self, view: &View, user: &UserId) -> Result<Vec<(OwnedDeviceId, Option<String>)>, Fault> {
        let rows = view.scan(&DEVICE, DEVICE.under(&(user.to_owned(),)), MAX_SCAN).await?;
        Ok(rows.into_iter().map(|((_, id), device)| (id, device.display_name)).collect())
    }

    /// The ids of a user's devices.
    pub async fn ids(&self, view: &View, user: &UserId) -> Result<Vec<OwnedDeviceId>, Fault> {
        let rows = view.scan(&DEVICE, DEVICE.under(&(user.to_owned(),)), MAX_SCAN).await?;
        Ok(rows.into_iter().map(|((_, id), _)| id).collect())
    }

    /// Names a device.
    pub async fn rename(&self, user: &UserId, device: &DeviceId, display_name: &str) -> Result<(), DeviceError> {
        if display_name.len() > MAX_DEVICE_DISPLAY_NAME_BYTES {
            return Err(DeviceError::DisplayNameTooLong);
        }
        let key = &(user.to_owned(), device.to_owned());
        self.base
            .transact(|tx| async move {
                let mut row = tx.read(&DEVICE, key).await?.ok_or(DeviceError::NotFound)?;
                if row.display_name.as_deref() == Some(display_name) {
                    return Ok(());
                }
                row.display_name = Some(display_name.to_owned());
                tx.put(&DEVICE, key, &row);
                for follower in &self.followers {
                    follower.renamed(&tx, user, device).await?;
                }
                Ok(())
            })
            .await
    }

    /// Ends these devices. Unknown ones have ended before.
    pub async fn delete(&self, user: &UserId, devices: &[OwnedDeviceId]) -> Result<(), Fault> {
        self.base.transact(|tx| async move { self.remove(&tx, user, devices).await }).await
    }

    /// Logs a device out: it ends with its tokens.
    pub async fn log_out(&self, user: &UserId, device: &DeviceId) -> Result<(), Fault> {
        self.delete(user, &[device.to_owned()]).await
    }

    /// Logs all of a user's devices out.
    pub async fn log_out_all(&self, user: &UserId) -> Result<(), Fault> {
        self.base
            .transact(|tx| async move {
                let devices = self.ids(tx.view(), user).await?;
                self.remove(&tx, user, &devices).await
            })
            .await
    }

    /// The device that logs in, made in the batch if it is new.
    pub(crate) async fn open(
        &self,
        tx: &Tx,
        user: &UserId,
        new: &NewSession,
    ) -> Result<OwnedDeviceId, OpenDeviceError> {
        let id = new.device.clone().unwrap_or_else(|| self.base.random.letters(CHOSEN_LETTERS).into());
        if !(1..=MAX_DEVICE_ID_BYTES).contains(&id.as_str().len()) {
            return Err(UnfitDevice::InvalidId.into());
        }
        if new.display_name.as_ref().is_some_and(|name| name.len() > MAX_DEVICE_DISPLAY_NAME_BYTES) {
            return Err(UnfitDevice::DisplayNameTooLong.into());
        }
        let key = (user.to_owned(), id);
        // A display name given for a known device is ignored, as the specification asks.
        if tx.read(&DEVICE, &key).await?.is_some() {
            return Ok(key.1);
        }
        for follower in &self.followers {
            if follower.claims(tx, user, &key.1).await? {
                return Err(UnfitDevice::CrossSigningKey.into());
            }
        }
        let of_user = (user.to_owned(),);
        let mut list = tx.read(&DEVICE_LIST, &of_user).await?.unwrap_or_default();
        let most = self.base.config.limits.devices_per_user;
        if usize::try_from(list.count).is_ok_and(|count| count >= most) {
            return Err(UnfitDevice::TooMany.into());
        }
        list.count += 1;
        list.added = list.added.wrapping_add(1);
        tx.put(&DEVICE_LIST, &of_user, &list);
        let device = Device { display_name: new.display_name.clone(), created_ms: self.base.clock.now_ms() };
        tx.put(&DEVICE, &key, &device);
        Ok(key.1)
    }

    /// Puts into the batch that something concerns all of a user's devices: those that wait for news look again.
    pub(crate) async fn tell(&self, tx: &Tx, user: &UserId) -> Result<(), Fault> {
        for device in self.ids(tx.view(), user).await? {
            tx.topic(topic::device(user, &device));
        }
        Ok(())
    }

    /// Puts the end of these devices into the batch. It costs what the user has, however many ids somebody made up.
    pub(crate) async fn remove(&self, tx: &Tx, user: &UserId, devices: &[OwnedDeviceId]) -> Result<(), Fault> {
        let of_user = (user.to_owned(),);
        let list = tx.read(&DEVICE_LIST, &of_user).await?;
        let named: HashSet<_> = devices.iter().collect();
        let mut removed = Vec::new();
        for id in self.ids(tx.view(), user).await?.into_iter().filter(|id| named.contains(id)) {
            let key = (user.to_owned(), id);
            if tx.read(&DEVICE, &key).await?.is_none() {
                continue;
            }
            tx.delete(&DEVICE, &key);
            tx.delete(&DEVICE_SEEN, &key);
            sessions::end(tx, user, &key.1).await?;
            // Another device of the same id must not take over the transaction ids.
            tx.delete_range(TRANSACTION.under(&key));
            tx.topic(topic::device(user, &key.1));
            removed.push(key.1);
        }
        if removed.is_empty() {
            return Ok(());
        }
        if let Some(mut list) = list {
            list.count = list.count.saturating_sub(u32::try_from(removed.len()).unwrap_or(u32::MAX));
            tx.put(&DEVICE_LIST, &of_user, &list);
        }
        for follower in &self.followers {
            follower.removed(tx, user, &removed).await?;
        }
        Ok(())
    }

    /// Puts the end of a user's devices, and of what others keep for the user, into the batch.
    pub(crate) async fn remove_user(&self, tx: &Tx, user: &UserId) -> Result<(), Fault> {
        let devices = self.ids(tx.view(), user).await?;
        self.remove(tx, user, &devices).await?;
        for follower in &self.followers {
            follower.user_gone(tx, user).await?;
        }
        Ok(())
    }

    /// Notes that a device was there, at most once a minute. Nothing is lost if this fails, so it only logs.
    pub async fn saw(&self, user: &UserId, device: &DeviceId, ip: Option<IpAddr>) {
        let now_ms = self.base.clock.now_ms();
        let key = &(user.to_owned(), device.to_owned());
        if self.is_due(key, now_ms) {
            self.note_seen(key, now_ms, ip).await;
        }
    }

    /// Notes that a device has logged in, also where one of the same id was there a moment ago: that one may have ended.
    pub async fn saw_login(&self, user: &UserId, device: &DeviceId, ip: Option<IpAddr>) {
        let now_ms = self.base.clock.now_ms();
        let key = &(user.to_owned(), device.to_owned());
        // Whatever it says: what the device asks next is not due.
        self.is_due(key, now_ms);
        self.note_seen(key, now_ms, ip).await;
    }

    async fn note_seen(&self, key: &(OwnedUserId, OwnedDeviceId), now_ms: u64, ip: Option<IpAddr>) {
        let saw = self.base.transact(|tx| async move {
            tx.lazy();
            // A device that ends in this moment must not leave a row behind.
            if tx.read(&DEVICE, key).await?.is_some() {
                tx.put(&DEVICE_SEEN, key, &Seen { at_ms: now_ms, ip });
            }
            Ok::<_, Fault>(())
        });
        match saw.await {
            Ok(()) | Err(Fault::Commit(CommitError::Conflict(_))) => {}
            Err(fault) => tracing::warn!(%fault, "the time a device was last seen could not be stored"),
        }
    }

    /// Whether [`Self::saw`] has nothing to note of this device now.
    pub fn saw_lately(&self, device: &(OwnedUserId, OwnedDeviceId)) -> bool {
        self.seen.lock().lately(device, self.base.clock.now_ms())
    }

    fn is_due(&self, key: &(OwnedUserId, OwnedDeviceId), now_ms: u64) -> bool {
        let mut seen = self.seen.lock();
        if seen.lately(key, now_ms) {
            return false;
        }
        if seen.young.len() >= SEEN_REMEMBERED && !seen.young.contains_key(key) {
            seen.old = std::mem::take(&mut seen.young);
        }
        seen.young.insert(key.clone(), now_ms);
        true
    }
}
