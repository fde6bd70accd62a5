//! How long the queues are, about: so that a device nobody reads does not fill the disk.
//!
//! Kept in memory, for devices with something in their queue. A queue is counted when it is first written to; from then
//! on the count follows what this node adds and removes, and is taken anew before a message is refused. That is exact
//! enough for a bound, and costs no row that senders to one device would conflict on.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use depesche_store::Position;

use super::Owner;
use crate::{Base, Fault, keys::bounds::MAX_QUEUE, keyspace::TO_DEVICE, tx::View};

/// For how long a full queue is believed to be full.
const RECOUNT_MS: u64 = 60_000;
/// How many rows are read at a time to count them.
const PAGE: usize = 1000;

/// The queues of all devices that have one.
#[derive(Default)]
pub struct Queues(Mutex<HashMap<Owner, Queue>>);

#[derive(Clone, Copy)]
struct Queue {
    length: usize,
    counted_ms: u64,
}

impl Queues {
    /// Whether a device's queue takes no more.
    pub async fn is_full(&self, base: &Base, view: &View, owner: &Owner) -> Result<bool, Fault> {
        let known = self.lock().get(owner).copied();
        let now_ms = base.clock.now_ms();
        if let Some(queue) = known {
            let recent = now_ms < queue.counted_ms.saturating_add(RECOUNT_MS);
            if queue.length < MAX_QUEUE || recent {
                return Ok(queue.length >= MAX_QUEUE);
            }
        }
        let length = count(view, owner).await?;
        self.lock().insert(owner.clone(), Queue { length, counted_ms: now_ms });
        Ok(length >= MAX_QUEUE)
    }

    /// A message was added to each of these.
    pub fn added(&self, owners: &[Owner]) {
        let mut queues = self.lock();
        for owner in owners {
            if let Some(queue) = queues.get_mut(owner) {
                queue.length += 1;
            }
        }
    }

    /// Messages were removed. An empty queue is forgotten.
    pub fn removed(&self, owner: &Owner, count: usize) {
        let mut queues = self.lock();
        if let Some(queue) = queues.get_mut(owner) {
            queue.length = queue.length.saturating_sub(count);
            if queue.length == 0 {
                queues.remove(owner);
            }
        }
    }

    /// A panic leaves no half of anything behind: the operations on the map are single.
    fn lock(&self) -> MutexGuard<'_, HashMap<Owner, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a queue, up to the bound.
async fn count(view: &View, owner: &Owner) -> Result<usize, Fault> {
    let mut length = 0;
    let mut from = Position(0);
    loop {
        let range = TO_DEVICE.from(owner, &(owner.0.clone(), owner.1.clone(), from));
        let rows = view.scan(&TO_DEVICE, range, PAGE).await?;
        length += rows.len();
        match rows.last() {
            Some(((_, _, last), _)) if rows.len() == PAGE && length < MAX_QUEUE => from = super::after(*last),
            _ => return Ok(length),
        }
    }
}
