//! How long the queues are, about: so that a device nobody reads does not fill the disk, and no sender fills its queue for
//! the others.
//!
//! Who is not the device's own user may have at most half as much in a queue as there is still room for. So a queue that
//! many write to becomes scarce for each of them, is never full for one who comes later, and is nearly all for whoever
//! writes alone. The user's own devices may fill it.
//!
//! Kept in memory, for devices with something in their queue; by sender only for those that are so long that it matters.
//! A queue is counted when it is first written to; from then on the count follows what this node adds and removes, and is
//! taken anew before a message is refused. That is exact enough for a bound, and costs no row that senders to one device
//! would conflict on.

use std::collections::HashMap;

use depesche_store::Mutex;
use ruma::{OwnedUserId, UserId};

use super::Owner;
use crate::{
    Base, Fault,
    keys::bounds::{MAX_QUEUE, MAX_QUEUE_BYTES},
    keyspace::TO_DEVICE,
    records::keys::Message,
    tx::{Pages, View},
};

/// For how long a full queue is believed to be full.
const RECOUNT_MS: u64 = 60_000;
/// How many rows are read at a time to count them.
const PAGE: usize = 1000;

/// The queues of all devices that have one. What a panic may leave counted wrong is counted anew before it is believed.
#[derive(Default)]
pub struct Queues(Mutex<HashMap<Owner, Queue>>);

#[derive(Default)]
struct Queue {
    all: Load,
    /// Of each sender; nothing while the queue is so short that everybody may write.
    by_sender: Option<HashMap<OwnedUserId, Load>>,
    counted_ms: u64,
}

/// Messages, and what they take.
#[derive(Clone, Copy, Default)]
struct Load {
    messages: usize,
    bytes: usize,
}

impl Load {
    fn of(message: &Message) -> Self {
        Self { messages: 1, bytes: message.kind.len() + message.content.len() }
    }

    fn plus(self, more: Self) -> Self {
        Self { messages: self.messages + more.messages, bytes: self.bytes + more.bytes }
    }

    fn minus(self, less: Self) -> Self {
        let (messages, bytes) = (self.messages.saturating_sub(less.messages), self.bytes.saturating_sub(less.bytes));
        Self { messages, bytes }
    }

    /// What is left beside it.
    fn room(self) -> Self {
        Self { messages: MAX_QUEUE, bytes: MAX_QUEUE_BYTES }.minus(self)
    }

    fn is_full(self) -> bool {
        self.messages >= MAX_QUEUE || self.bytes >= MAX_QUEUE_BYTES
    }

    /// Whether it is at most half of what is left beside `all`, and less than it.
    fn is_within_the_share(self, all: Self) -> bool {
        let room = all.room();
        self.messages < room.messages.div_ceil(2) && self.bytes < room.bytes.div_ceil(2)
    }
}

impl Queue {
    /// Whether it takes a message of this sender; `None` if that takes a count by sender.
    fn takes(&self, owner: &UserId, sender: &UserId) -> Option<bool> {
        if sender == owner || self.all.is_full() {
            return Some(!self.all.is_full());
        }
        // No sender has more than all together.
        if self.all.is_within_the_share(self.all) {
            return Some(true);
        }
        let of_sender = self.by_sender.as_ref()?.get(sender).copied().unwrap_or_default();
        Some(of_sender.is_within_the_share(self.all))
    }

    fn change(&mut self, sender: &UserId, change: impl Fn(Load) -> Load) {
        self.all = change(self.all);
        let Some(by_sender) = &mut self.by_sender else { return };
        let of_sender = change(by_sender.get(sender).copied().unwrap_or_default());
        if of_sender.messages == 0 {
            by_sender.remove(sender);
        } else {
            by_sender.insert(sender.to_owned(), of_sender);
        }
    }
}

impl Queues {
    /// Whether a device's queue takes a message of this sender.
    pub async fn takes(&self, base: &Base, view: &View, owner: &Owner, sender: &UserId) -> Result<bool, Fault> {
        let now_ms = base.clock.now_ms();
        if let Some(queue) = self.0.lock().get(owner)
            && let Some(takes) = queue.takes(&owner.0, sender)
            && (takes || now_ms < queue.counted_ms.saturating_add(RECOUNT_MS))
        {
            return Ok(takes);
        }
        let queue = count(view, owner, now_ms).await?;
        let takes = queue.takes(&owner.0, sender).unwrap_or(true);
        self.0.lock().insert(owner.clone(), queue);
        Ok(takes)
    }

    /// This message was added to each of these.
    pub fn added(&self, added: &[(Owner, Message)]) {
        let mut queues = self.0.lock();
        for (owner, message) in added {
            if let Some(queue) = queues.get_mut(owner) {
                queue.change(&message.sender, |load| load.plus(Load::of(message)));
            }
        }
    }

    /// These messages were removed. An empty queue is forgotten.
    pub fn removed<'a>(&self, owner: &Owner, removed: impl Iterator<Item = &'a Message>) {
        let mut queues = self.0.lock();
        let Some(queue) = queues.get_mut(owner) else { return };
        for message in removed {
            queue.change(&message.sender, |load| load.minus(Load::of(message)));
        }
        if queue.all.is_within_the_share(queue.all) {
            queue.by_sender = None;
        }
        if queue.all.messages == 0 {
            queues.remove(owner);
        }
    }
}

/// Counts a queue, up to the bound.
async fn count(view: &View, owner: &Owner, now_ms: u64) -> Result<Queue, Fault> {
    let mut queue = Queue { by_sender: Some(HashMap::new()), counted_ms: now_ms, ..Queue::default() };
    let mut messages = Pages::new(&TO_DEVICE, TO_DEVICE.under(owner), PAGE);
    while !queue.all.is_full()
        && let Some(rows) = messages.next(view).await?
    {
        for (_, message) in &rows {
            queue.change(&message.sender, |load| load.plus(Load::of(message)));
        }
    }
    if queue.all.is_within_the_share(queue.all) {
        queue.by_sender = None;
    }
    Ok(queue)
}
