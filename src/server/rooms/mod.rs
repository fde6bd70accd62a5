//! Rooms: one writer each (the lane), one module that writes events (append), one view for all readers.

pub mod aliases;
pub mod annotations;
pub mod append;
pub mod bundle;
pub mod children;
pub mod count;
pub mod erased;
pub mod history;
pub mod lane;
pub mod members;
pub mod membership;
pub mod push;
pub mod receipts;
pub mod relations;
pub mod send;
pub mod show;
pub mod shown;
pub mod state;
pub mod stay;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod threads;
pub mod timestamps;
pub mod tokens;
pub mod unread;
pub mod view;
pub mod viewed_state;
pub mod working;
pub mod write;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use depesche_rules::signing::SigningKey;
use ruma::{EventId, MilliSecondsSinceUnixEpoch, RoomId, UInt};
use tokio::sync::Mutex;

use self::{
    lane::{Intent, Lanes, Refusal, Sent},
    view::RoomView,
};
use crate::{
    base::Base,
    keyspace::{COUNTER, EVENT_NO, ROOM_NO, RoomNo},
    tx::Fault,
};

/// How far ahead of the clock a room's time of creation may be, of rooms that are created in the same moment.
const AHEAD_MS: u64 = 60_000;
/// How many room numbers are taken from the counter at once, so that creating rooms does not queue for it.
const NUMBERS: u64 = 1000;

/// The rooms of this server.
pub struct Rooms {
    /// The server.
    pub base: Arc<Base>,
    /// Signs what is built here.
    pub key: Arc<SigningKey>,
    lanes: Arc<Lanes>,
    numbers: Mutex<std::ops::Range<RoomNo>>,
    last_created_ms: AtomicU64,
}

impl Rooms {
    /// No room is in memory yet.
    pub fn new(base: Arc<Base>, key: Arc<SigningKey>) -> Arc<Self> {
        let lanes = Lanes::new(Arc::clone(&base), Arc::clone(&key));
        Arc::new(Self { base, key, lanes, numbers: Mutex::new(0..0), last_created_ms: AtomicU64::new(0) })
    }

    /// A room as the newest snapshot shows it.
    pub async fn find(&self, room: &RoomId) -> Result<Option<RoomView>, Fault> {
        RoomView::find(&self.base.view(), room).await
    }

    /// The room that an event is in, as the newest snapshot shows it.
    pub async fn of_event(&self, event: &EventId) -> Result<Option<RoomView>, Fault> {
        let view = self.base.view();
        match view.get(&EVENT_NO, &(event.to_owned(),)).await? {
            Some((room, _)) => RoomView::open(&view, room).await.map(Some),
            None => Ok(None),
        }
    }

    /// Hands an intent to the room's lane. A room that does not exist is answered like one the caller is not in.
    pub async fn submit(&self, room: &RoomId, intent: impl Intent) -> Result<Sent, Refusal> {
        match self.base.view().get(&ROOM_NO, &(room.to_owned(),)).await? {
            Some(no) => self.lanes.submit(no, intent).await,
            None => Err(Refusal::UnknownRoom),
        }
    }

    /// The time of a room's creation, which no other room of this process has: from version 12 on the room's id is the
    /// hash of its create event, and two that one user creates in the same millisecond would be one.
    pub fn creation_time(&self) -> MilliSecondsSinceUnixEpoch {
        let now = self.base.clock.now_ms();
        // Of a clock that was far ahead for a while nothing is to remain.
        let after = |last: u64| if last.saturating_sub(now) < AHEAD_MS { now.max(last + 1) } else { now };
        let next = |last: u64| Some(after(last));
        let last = self.last_created_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or(now);
        MilliSecondsSinceUnixEpoch(UInt::new_wrapping(after(last)))
    }

    /// A number no other room has. A crash may lose some numbers, which does no harm.
    pub async fn next_number(&self) -> Result<RoomNo, Fault> {
        let mut numbers = self.numbers.lock().await;
        if let Some(no) = numbers.next() {
            return Ok(no);
        }
        let name = || ("room".to_owned(),);
        let first = self
            .base
            .transact(|tx| async move {
                let next = tx.read(&COUNTER, &name()).await?.unwrap_or(1);
                tx.put(&COUNTER, &name(), &(next + NUMBERS));
                Ok::<_, Fault>(next)
            })
            .await?;
        *numbers = first + 1..first + NUMBERS;
        Ok(first)
    }
}
