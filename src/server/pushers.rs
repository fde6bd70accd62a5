//! Pushers: over which gateways a user's apps are told of events.
//!
//! A pusher belongs to the device that set it and ends with it, and so with its access token: after a logout, or a
//! change of the password that logs devices out, nothing is pushed there any more.
//!
//! Spec: [pushers](https://spec.matrix.org/v1.19/client-server-api/#client-behaviour-12).

#[cfg(test)]
mod tests;

use std::sync::{Arc, atomic::Ordering};

use depesche_rules::bounds::{MAX_APP_ID_CHARS, MAX_PUSHER_DATA_BYTES, MAX_PUSHER_TEXT_BYTES, MAX_PUSHKEY_BYTES};
use depesche_store::MAX_SCAN;
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId,
    api::client::push::{Pusher as ClientPusher, PusherIds, PusherInit, PusherKind},
};
use url::Url;

use crate::{
    Base, Fault,
    keyspace::{BADGE_DUE, DEVICE, PUSH_DELIVERY, PUSH_QUEUE, PUSHER, PUSHER_COUNT, PUSHER_OWNER},
    records::push::Pusher,
    stripes::Stripes,
    topic,
    tx::{Tx, View},
};

/// The path of a gateway, by the specification.
const GATEWAY_PATH: &str = "/_matrix/push/v1/notify";

/// Which pusher: user, app, pushkey.
pub type PusherKey = (OwnedUserId, String, String);

/// The pushers of this server's users.
pub struct Pushers {
    base: Arc<Base>,
    /// By app and pushkey: of two users who take a phone at once, one comes later. Between nodes both would keep it.
    takes: Stripes,
}

/// Why a pusher is not set.
#[derive(Debug, thiserror::Error)]
pub enum PusherError {
    /// Only pushers over HTTP are there.
    #[error("pushers of this kind are not offered; there is \"http\"")]
    KindNotOffered,
    /// Something is longer than it may be.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// The URL is not one of a gateway.
    #[error("the url of a push gateway is an https URL with the path {GATEWAY_PATH}")]
    BadUrl,
    /// The user has as many pushers as allowed.
    #[error("there are too many pushers")]
    TooMany,
    /// The device is logged out.
    #[error("the device has been logged out")]
    NoDevice,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Pushers {
    /// Over this base, which then knows whether anybody has a pusher.
    pub async fn open(base: Arc<Base>) -> Result<Self, Fault> {
        let any = base.view().scan(&PUSHER, PUSHER.under(&()), 1).await?;
        base.pushers.store(any.len() as u64, Ordering::Relaxed);
        Ok(Self { base, takes: Stripes::default() })
    }

    /// A user's pushers, as their clients set them.
    pub async fn list(&self, user: &UserId) -> Result<Vec<ClientPusher>, Fault> {
        let rows = of(&self.base.view(), user).await?;
        rows.into_iter().map(|(key, pusher)| shown(key, pusher)).collect()
    }

    /// Sets a pusher for a device of the user. Unless it is `append`ed, others who share the app and the pushkey lose
    /// theirs: the phone has changed hands.
    pub async fn set(
        &self,
        user: &UserId,
        device: &DeviceId,
        pusher: &ClientPusher,
        append: bool,
    ) -> Result<(), PusherError> {
        let row = &self.row(device, pusher)?;
        let key = &(user.to_owned(), pusher.ids.app_id.clone(), pusher.ids.pushkey.clone());
        // Also who appends: nobody is taken from while they set theirs.
        let _turn = self.takes.of(&(&key.1, &key.2)).await;
        let is_first = self
            .base
            .transact(|tx| async move {
                // The device may end in this moment: nobody would end its pusher.
                if tx.read(&DEVICE, &(user.to_owned(), device.to_owned())).await?.is_none() {
                    return Err(PusherError::NoDevice);
                }
                if !append {
                    take_from_others(&tx, key).await?;
                }
                let mut is_first = false;
                if tx.read(&PUSHER, key).await?.is_none() {
                    is_first = self.count_one_more(&tx, user).await?;
                    tx.put(&PUSHER_OWNER, &(key.1.clone(), key.2.clone(), key.0.clone()), &());
                } else {
                    // Another URL perhaps: the pauses of the old one are not the new one's.
                    tx.delete(&PUSH_DELIVERY, key);
                }
                tx.put(&PUSHER, key, row);
                // Its queue goes on at once. Of the count nothing is told: the app that sets a pusher knows it.
                tx.put(&BADGE_DUE, &(user.to_owned(),), &());
                tx.topic(topic::push());
                Ok::<_, PusherError>(is_first)
            })
            .await?;
        // Before the client has its answer: what is sent after it leaves a row. Who has lost their last one is found out
        // when it is asked for.
        if is_first {
            self.base.pushers.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Removes a pusher, with what waits for it. One that is not there is no error.
    pub async fn remove(&self, user: &UserId, ids: &PusherIds) -> Result<(), Fault> {
        let key = &(user.to_owned(), ids.app_id.clone(), ids.pushkey.clone());
        self.base.transact(|tx| async move { remove(&tx, key).await }).await
    }

    /// Says whether it is the user's first.
    async fn count_one_more(&self, tx: &Tx, user: &UserId) -> Result<bool, PusherError> {
        let of_user = (user.to_owned(),);
        let count = tx.read(&PUSHER_COUNT, &of_user).await?.unwrap_or_default();
        if usize::try_from(count).is_ok_and(|count| count >= self.base.config.push.pushers_per_user) {
            return Err(PusherError::TooMany);
        }
        tx.put(&PUSHER_COUNT, &of_user, &(count + 1));
        Ok(count == 0)
    }

    fn row(&self, device: &DeviceId, pusher: &ClientPusher) -> Result<Pusher, PusherError> {
        let PusherKind::Http(data) = &pusher.kind else { return Err(PusherError::KindNotOffered) };
        if !is_gateway(&data.url, self.base.config.push.allow_http) {
            return Err(PusherError::BadUrl);
        }
        let data = serde_json::to_string(data).map_err(|why| Fault::Bug(format!("pusher data is no JSON: {why}")))?;
        let text = MAX_PUSHER_TEXT_BYTES;
        for (name, is_too_long) in [
            ("pushkey", pusher.ids.pushkey.len() > MAX_PUSHKEY_BYTES),
            ("app_id", pusher.ids.app_id.chars().count() > MAX_APP_ID_CHARS),
            ("app_display_name", pusher.app_display_name.len() > text),
            ("device_display_name", pusher.device_display_name.len() > text),
            ("profile_tag", pusher.profile_tag.as_ref().is_some_and(|tag| tag.len() > text)),
            ("lang", pusher.lang.len() > text),
            ("data", data.len() > MAX_PUSHER_DATA_BYTES),
        ] {
            if is_too_long {
                return Err(PusherError::TooLong(name));
            }
        }
        Ok(Pusher {
            device: device.to_string(),
            app_display_name: pusher.app_display_name.clone(),
            device_display_name: pusher.device_display_name.clone(),
            profile_tag: pusher.profile_tag.clone(),
            lang: pusher.lang.clone(),
            data,
            set_ms: self.base.clock.now_ms(),
        })
    }
}

/// A user's pushers.
pub async fn of(view: &View, user: &UserId) -> Result<Vec<(PusherKey, Pusher)>, Fault> {
    view.scan(&PUSHER, PUSHER.under(&(user.to_owned(),)), MAX_SCAN).await
}

/// Puts it into the batch that a user has read something: pushers tell how much is left, if that has
/// changed.
pub async fn count_changed(base: &Base, tx: &Tx, user: &UserId) -> Result<(), Fault> {
    if base.pushers.load(Ordering::Relaxed) == 0 {
        return Ok(());
    }
    let of_user = (user.to_owned(),);
    // Looked up without a requirement: who sets a pusher in this moment knows the count by themselves.
    if tx.view().get(&PUSHER_COUNT, &of_user).await?.is_some() {
        tx.put(&BADGE_DUE, &of_user, &());
        tx.topic(topic::push());
    }
    Ok(())
}

/// Puts the end of a pusher, and of what waits for it, into the batch.
pub(crate) async fn remove(tx: &Tx, key: &PusherKey) -> Result<(), Fault> {
    if tx.read(&PUSHER, key).await?.is_none() {
        return Ok(());
    }
    let of_user = (key.0.clone(),);
    match tx.read(&PUSHER_COUNT, &of_user).await? {
        Some(count) if count > 1 => tx.put(&PUSHER_COUNT, &of_user, &(count - 1)),
        _ => tx.delete(&PUSHER_COUNT, &of_user),
    }
    tx.delete(&PUSHER, key);
    tx.delete(&PUSHER_OWNER, &(key.1.clone(), key.2.clone(), key.0.clone()));
    tx.delete(&PUSH_DELIVERY, key);
    tx.delete_range(PUSH_QUEUE.under(key));
    Ok(())
}

/// Puts the end of these devices' pushers into the batch.
pub(crate) async fn forget_devices(tx: &Tx, user: &UserId, devices: &[OwnedDeviceId]) -> Result<(), Fault> {
    for (key, pusher) in held(tx, user).await? {
        if devices.iter().any(|device| device.as_str() == pusher.device) {
            remove(tx, &key).await?;
        }
    }
    Ok(())
}

/// Puts the end of all of a user's pushers into the batch.
pub(crate) async fn forget_user(tx: &Tx, user: &UserId) -> Result<(), Fault> {
    for (key, _) in held(tx, user).await? {
        remove(tx, &key).await?;
    }
    Ok(())
}

/// A user's pushers, and the requirement that at the commit they are all and belong to the same devices: one that is set in
/// this moment would outlive its device.
async fn held(tx: &Tx, user: &UserId) -> Result<Vec<(PusherKey, Pusher)>, Fault> {
    // Every new pusher counts one more.
    tx.read(&PUSHER_COUNT, &(user.to_owned(),)).await?;
    let mut held = Vec::new();
    for (key, _) in of(tx.view(), user).await? {
        let pusher = tx.read(&PUSHER, &key).await?;
        held.extend(pusher.map(|pusher| (key, pusher)));
    }
    Ok(held)
}

async fn take_from_others(tx: &Tx, key: &PusherKey) -> Result<(), Fault> {
    let shared = PUSHER_OWNER.under(&(key.1.clone(), key.2.clone()));
    for ((app_id, pushkey, other), ()) in tx.view().scan(&PUSHER_OWNER, shared, MAX_SCAN).await? {
        if other != key.0 {
            remove(tx, &(other, app_id, pushkey)).await?;
        }
    }
    Ok(())
}

fn is_gateway(url: &str, allow_http: bool) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let scheme = url.scheme() == "https" || (allow_http && url.scheme() == "http");
    scheme && url.has_host() && url.path() == GATEWAY_PATH
}

fn shown(key: PusherKey, pusher: Pusher) -> Result<ClientPusher, Fault> {
    let data =
        serde_json::from_str(&pusher.data).map_err(|_| Fault::Corrupt { table: PUSHER.name, key: PUSHER.key(&key) })?;
    let (_, app_id, pushkey) = key;
    Ok(PusherInit {
        ids: PusherIds::new(pushkey, app_id),
        kind: PusherKind::Http(data),
        app_display_name: pusher.app_display_name,
        device_display_name: pusher.device_display_name,
        profile_tag: pusher.profile_tag,
        lang: pusher.lang,
    }
    .into())
}
