//! How many polls of one device wait at a time. A client has one, or a few while it loses connections; each that waits
//! keeps a watch of all rooms. Beyond [`MOST`] the oldest is answered at once.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, MutexGuard},
};

use depesche_store::Mutex;
use ruma::{OwnedDeviceId, OwnedUserId};
use tokio::sync::Notify;

/// The most polls of one device that wait.
pub const MOST: usize = 16;

type Owner = (OwnedUserId, OwnedDeviceId);

/// The polls of all devices, by device from the oldest on.
#[derive(Default)]
pub struct Polls(Mutex<HashMap<Owner, VecDeque<Arc<Notify>>>>);

/// One poll, until it is dropped.
pub struct Poll<'a> {
    polls: &'a Polls,
    owner: Owner,
    ended: Arc<Notify>,
}

impl Polls {
    /// A poll of a device begins. If there are too many, its oldest ends.
    pub fn begin(&self, owner: Owner) -> Poll<'_> {
        let ended = Arc::new(Notify::new());
        let mut polls = self.lock();
        let own = polls.entry(owner.clone()).or_default();
        own.push_back(Arc::clone(&ended));
        if own.len() > MOST {
            own.pop_front().inspect(|oldest| oldest.notify_one());
        }
        Poll { polls: self, owner, ended }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, VecDeque<Arc<Notify>>>> {
        self.0.lock()
    }
}

impl Poll<'_> {
    /// Resolves, once, when the poll is to end.
    pub async fn ended(&self) {
        self.ended.notified().await;
    }
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        let mut polls = self.polls.lock();
        if let Some(own) = polls.get_mut(&self.owner) {
            own.retain(|other| !Arc::ptr_eq(other, &self.ended));
            if own.is_empty() {
                polls.remove(&self.owner);
            }
        }
    }
}
