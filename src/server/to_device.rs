//! To-device messages: from one request to a queue per device, from there into `/sync`, and gone once acknowledged.
//!
//! A request is one batch: all its messages wait before it is answered, and its transaction id with them. A message is
//! known by its device and the commit position; a request has at most one message for a device, so that is enough, and a
//! sync token can say exactly which message was the last in an answer. A message is deleted only when a request comes
//! with a token of an answer that had it.
//!
//! A queue is bounded (`bounds::MAX_QUEUE`), and so is what one sender may have in it (`queues`). A device that has not
//! asked for so long that its queue is full gets no more, oldest first being what it will read; the other devices of the
//! request get theirs, and the log says so.
//!
//! Spec: [send-to-device messaging](https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging).

mod queues;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use depesche_rules::bounds::{
    MAX_DEVICE_ID_BYTES, MAX_EVENT_TYPE_BYTES, MAX_TO_DEVICE_BYTES, MAX_TO_DEVICE_PER_SYNC, MAX_TO_DEVICE_RECIPIENTS,
};
use depesche_store::{MAX_VALUE, Position, Stamp, StampAt};
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId,
    api::client::to_device::send_event_to_device::v3,
    events::{AnyToDeviceEvent, AnyToDeviceEventContent},
    serde::Raw,
    to_device::DeviceIdOrAllDevices,
};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use self::queues::Queues;
use crate::{
    Base, Fault,
    devices::Devices,
    expiry,
    keys::bounds::{MAX_TO_DEVICE_BATCH_BYTES, TRANSACTION_MEMORY_MS},
    keyspace::{TO_DEVICE, TO_DEVICE_TXN},
    records::keys::Message,
    table::Record,
    topic,
    tx::{FaultKind, Tx, View},
};

const _: () = assert!(MAX_TO_DEVICE_BYTES <= MAX_VALUE);

/// How often at most the log says that a queue is full.
const TELL_EVERY_MS: u64 = 60_000;

/// The to-device messages of this server's users.
pub struct ToDevice {
    base: Arc<Base>,
    devices: Arc<Devices>,
    queues: Queues,
    /// From when on the log may say again that a queue is full.
    tell_from_ms: AtomicU64,
}

/// Why a request was not taken. None of its messages was stored.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// A message is not a JSON object.
    #[error("the content of a message must be an object")]
    Malformed,
    /// A message, the request as a whole or a name in it is too large.
    #[error("too large: {0}")]
    TooLarge(&'static str),
    /// Not the caller's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Messages that wait for a device.
#[derive(Debug)]
pub struct Page {
    /// In the order of their arrival, as `/sync` says them.
    pub events: Vec<Raw<AnyToDeviceEvent>>,
    /// The last of them, or where the page began: the to-device part of the next sync token.
    pub last: Position,
    /// Whether more wait: the next request need not wait for a topic.
    pub more: bool,
}

/// Who gets which content.
type Recipients<'a> = BTreeMap<(&'a UserId, OwnedDeviceId), &'a Raw<AnyToDeviceEventContent>>;
type Owner = (OwnedUserId, OwnedDeviceId);

impl ToDevice {
    /// Over this database and these devices.
    pub fn new(base: Arc<Base>, devices: Arc<Devices>) -> Self {
        Self { base, devices, queues: Queues::default(), tell_from_ms: AtomicU64::new(0) }
    }

    /// Sends messages. The same transaction id of the same device (or of an application service without one) again
    /// sends nothing. Devices that do not exist are passed over, and so are users of other servers, since this server
    /// speaks with none. Answers how many bytes were written.
    pub async fn send(
        &self,
        sender: &UserId,
        device: Option<&DeviceId>,
        request: &v3::Request,
    ) -> Result<usize, SendError> {
        check(request)?;
        let sending = (sender.to_owned(), device.map_or_else(|| "".into(), ToOwned::to_owned));
        let sending = &sending;
        let reached = self.base.transact(|tx| self.put(tx, sending, request)).await?;
        self.queues.added(&reached);
        Ok(reached.iter().map(|(_, message)| message.kind.len() + message.content.len()).sum())
    }

    async fn put(&self, tx: Tx, sending: &Owner, request: &v3::Request) -> Result<Vec<(Owner, Message)>, SendError> {
        if !self.remember(&tx, sending, request).await? {
            return Ok(Vec::new());
        }
        let mut reached = Vec::new();
        for ((user, device), content) in self.recipients(tx.view(), request).await? {
            if !self.devices.hold(&tx, user, &device).await? {
                continue;
            }
            let owner = (user.to_owned(), device);
            if !self.queues.takes(&self.base, tx.view(), &owner, &sending.0).await? {
                self.tell_of_a_full_queue(&owner);
                continue;
            }
            let content = content.json().get().to_owned();
            let message = Message { sender: sending.0.clone(), kind: request.event_type.to_string(), content };
            put_message(&tx, &owner, &message)?;
            reached.push((owner, message));
        }
        Ok(reached)
    }

    fn tell_of_a_full_queue(&self, (user, device): &Owner) {
        if self.may_tell(self.base.clock.now_ms()) {
            tracing::warn!(%user, %device, "a to-device message was refused: the queue is full (told once a minute)");
        }
    }

    fn may_tell(&self, now_ms: u64) -> bool {
        let from_ms = self.tell_from_ms.load(Ordering::Relaxed);
        // Farther ahead than it is ever put, it is of a clock that has been set back since.
        let may = now_ms >= from_ms || from_ms - now_ms > TELL_EVERY_MS;
        if may {
            self.tell_from_ms.store(now_ms.saturating_add(TELL_EVERY_MS), Ordering::Relaxed);
        }
        may
    }

    /// Notes the transaction id; false if it was noted before.
    async fn remember(&self, tx: &Tx, sending: &Owner, request: &v3::Request) -> Result<bool, Fault> {
        let mut hash = Sha256::new();
        hash.update(request.event_type.to_string().as_bytes());
        hash.update([0]);
        hash.update(request.txn_id.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let key = (sending.0.clone(), sending.1.clone(), hash);
        if tx.read(&TO_DEVICE_TXN, &key).await?.is_some() {
            return Ok(false);
        }
        let now_ms = self.base.clock.now_ms();
        tx.put(&TO_DEVICE_TXN, &key, &now_ms);
        expiry::put(tx, &TO_DEVICE_TXN, &key, &now_ms, now_ms.saturating_add(TRANSACTION_MEMORY_MS));
        Ok(true)
    }

    /// The local devices a request names, each once: what is sent to one by name goes before what is sent to all.
    async fn recipients<'a>(&self, view: &View, request: &'a v3::Request) -> Result<Recipients<'a>, SendError> {
        let mut recipients = Recipients::new();
        let local = request.messages.iter().filter(|(user, _)| user.server_name() == self.base.name);
        for (user, messages) in local {
            if let Some(content) = messages.get(&DeviceIdOrAllDevices::AllDevices) {
                let devices = self.devices.names(view, user).await?;
                recipients.extend(devices.into_iter().map(|(device, _)| ((user.as_ref(), device), content)));
            }
            for (device, content) in messages {
                let DeviceIdOrAllDevices::DeviceId(device) = device else { continue };
                if device.as_str().len() <= MAX_DEVICE_ID_BYTES {
                    recipients.insert((user, device.clone()), content);
                }
            }
            if recipients.len() > MAX_TO_DEVICE_RECIPIENTS {
                return Err(SendError::TooLarge("too many devices"));
            }
        }
        Ok(recipients)
    }

    /// The messages that wait for a device above a position, at most `limit` (and at most a hundred).
    pub async fn read(
        &self,
        view: &View,
        user: &UserId,
        device: &DeviceId,
        since: Position,
        limit: usize,
    ) -> Result<Page, Fault> {
        let limit = limit.clamp(1, MAX_TO_DEVICE_PER_SYNC);
        let owner = (user.to_owned(), device.to_owned());
        let range = TO_DEVICE.from(&owner, &(owner.0.clone(), owner.1.clone(), after(since)));
        let mut rows = view.scan(&TO_DEVICE, range, limit + 1).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().map_or(since, |((_, _, position), _)| *position);
        let events = rows.into_iter().map(|(_, message)| event(&message)).collect::<Result<_, _>>()?;
        Ok(Page { events, last, more })
    }

    /// Deletes the messages up to a position, which is that of a token the device came back with. To be called before
    /// the next answer. The deletes are not synced to disk: a crash brings back messages that the device will not be
    /// sent again, because its token is above them.
    pub async fn acknowledge(&self, user: &UserId, device: &DeviceId, upto: Position) -> Result<(), Fault> {
        /// How many rows share a batch.
        const ROWS: usize = 500;
        let owner = (user.to_owned(), device.to_owned());
        loop {
            let tx = self.base.tx();
            tx.lazy();
            let range = TO_DEVICE.before(&owner, &(owner.0.clone(), owner.1.clone(), after(upto)));
            let rows = tx.view().scan(&TO_DEVICE, range, ROWS).await?;
            for (row, _) in &rows {
                tx.delete(&TO_DEVICE, row);
            }
            if !rows.is_empty() {
                match self.base.commit(&tx).await {
                    // Reading goes on: the messages stay, and the token keeps them from being sent again.
                    Err(fault) if fault.kind() == FaultKind::NothingWritten => return Ok(()),
                    committed => committed?,
                };
                self.queues.removed(&owner, rows.iter().map(|(_, message)| message));
            }
            if rows.len() < ROWS {
                return Ok(());
            }
        }
    }
}

/// Removes what waits for a device and what it sent of late, in the batch that removes the device.
pub async fn forget_device(tx: &Tx, user: &UserId, device: &DeviceId) -> Result<(), Fault> {
    let owner = (user.to_owned(), device.to_owned());
    // Most devices leave with an empty queue, and range deletes are not for free.
    if !tx.view().scan(&TO_DEVICE, TO_DEVICE.under(&owner), 1).await?.is_empty() {
        tx.delete_range(TO_DEVICE.under(&owner));
    }
    if !tx.view().scan(&TO_DEVICE_TXN, TO_DEVICE_TXN.under(&owner), 1).await?.is_empty() {
        tx.delete_range(TO_DEVICE_TXN.under(&owner));
    }
    Ok(())
}

/// Removes all of a user's messages, in the batch that ends the account.
pub fn forget_user(tx: &Tx, user: &UserId) {
    let user = &(user.to_owned(),);
    tx.delete_range(TO_DEVICE.under(user));
    tx.delete_range(TO_DEVICE_TXN.under(user));
}

fn check(request: &v3::Request) -> Result<(), SendError> {
    let contents: Vec<_> = request.messages.values().flat_map(BTreeMap::values).collect();
    if contents.len() > MAX_TO_DEVICE_RECIPIENTS {
        return Err(SendError::TooLarge("too many devices"));
    }
    if request.event_type.to_string().len() > MAX_EVENT_TYPE_BYTES {
        return Err(SendError::TooLarge("the event type"));
    }
    if contents.iter().any(|content| !content.json().get().starts_with('{')) {
        return Err(SendError::Malformed);
    }
    Ok(())
}

fn put_message(tx: &Tx, owner: &Owner, message: &Message) -> Result<(), SendError> {
    if message.encode().len() > MAX_TO_DEVICE_BYTES {
        return Err(SendError::TooLarge("a message"));
    }
    let order = Stamp { at: StampAt::Key, offset: TO_DEVICE.under(owner).from.len() };
    tx.put_stamped(&TO_DEVICE, &(owner.0.clone(), owner.1.clone(), Position(0)), message, vec![order]);
    tx.topic(topic::device(&owner.0, &owner.1));
    if tx.size() > MAX_TO_DEVICE_BATCH_BYTES {
        return Err(SendError::TooLarge("the request"));
    }
    Ok(())
}

/// A message as its device reads it.
fn event(message: &Message) -> Result<Raw<AnyToDeviceEvent>, Fault> {
    #[derive(Serialize)]
    struct Event<'a> {
        content: &'a RawValue,
        sender: &'a UserId,
        #[serde(rename = "type")]
        kind: &'a str,
    }
    let bug = |error: serde_json::Error| Fault::Bug(format!("a to-device message cannot be written: {error}"));
    let content = serde_json::from_str(&message.content).map_err(bug)?;
    let event = Event { content, sender: &message.sender, kind: &message.kind };
    let event = serde_json::value::to_raw_value(&event).map_err(bug)?;
    Ok(Raw::from_json(event))
}

fn after(position: Position) -> Position {
    Position(position.0.saturating_add(1))
}
