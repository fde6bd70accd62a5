//! Delivering: one pusher's queue to its gateway.

use std::{collections::BTreeMap, sync::Arc};

use depesche_store::{MAX_SCAN, Position};
use ruma::{OwnedUserId, UserId};
use serde::Deserialize;

use super::{
    badge,
    gateway::{GatewayError, PushGateway},
    notice::Device,
};
use crate::{
    Base, Fault,
    keyspace::{PUSH_DELIVERY, PUSH_QUEUE, PUSHER, RoomNo},
    pushers::{self, PusherKey},
    records::push::{Delivery, Notice},
    rooms::{
        unread::{self, Counter},
        view::RoomView,
    },
    tx::{Tx, View},
};

/// Events delivered in one go; then other pushers have their turn.
const GO: usize = 50;
/// With more than this many events of one room waiting, only the newest of them and the highlights are told.
const COALESCE_ABOVE: usize = 10;
/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE_MS: u64 = 1000;
/// The longest pause.
const LONGEST_PAUSE_MS: u64 = 60 * 60 * 1000;
/// The pause after a failure of ours.
const FAULT_PAUSE_MS: u64 = 10_000;

/// Where a row stands: pusher, position and place of the event.
type QueueKey = (OwnedUserId, String, String, Position, u16);
/// A row of a queue.
type Row = (QueueKey, Notice);

/// Takes queues to their gateways.
pub struct Courier {
    base: Arc<Base>,
    gateway: Arc<dyn PushGateway>,
    counter: Counter,
}

/// What a delivery comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// The pusher is no more.
    Gone,
    /// Nothing waits.
    Nothing,
    /// There is more.
    More,
    /// The gateway failed: not before then.
    At(u64),
}

/// Why nothing went out.
enum Setback {
    Gateway(GatewayError),
    Fault(Fault),
}

impl Courier {
    /// Delivers by this gateway.
    pub fn new(base: Arc<Base>, gateway: Arc<dyn PushGateway>) -> Self {
        Self { base, gateway, counter: Counter::default() }
    }

    /// Tells a pusher's gateway what waits, up to a bound; with `badge` of the count too, if it has changed.
    pub async fn deliver(&self, key: &PusherKey, badge: bool) -> Next {
        for _ in 0..GO {
            match self.next(key, badge).await {
                Ok(Next::More) => {}
                Ok(next) => return next,
                Err(Setback::Gateway(why)) => return self.failed(key, &why).await,
                Err(Setback::Fault(fault)) => {
                    tracing::error!(%fault, "a push queue cannot be read or written");
                    return Next::At(self.base.clock.now_ms() + FAULT_PAUSE_MS);
                }
            }
        }
        Next::More
    }

    /// One notification.
    async fn next(&self, key: &PusherKey, badge: bool) -> Result<Next, Setback> {
        let view = self.base.view();
        let Some(pusher) = view.get(&PUSHER, key).await? else { return Ok(Next::Gone) };
        let device = Device::new(key, &pusher)?;
        let delivery = view.get(&PUSH_DELIVERY, key).await?.unwrap_or_default();
        let rows = view.scan(&PUSH_QUEUE, PUSH_QUEUE.under(key), MAX_SCAN).await?;
        let (stale, first) = self.sort(rows);
        if first.is_none() && (!badge || !self.base.config.push.enabled) {
            self.settle(key, &stale, delivery).await?;
            return Ok(Next::Nothing);
        }
        let unread = badge::count(&self.base, &self.counter, &view, &key.0).await?;
        let Some((row, notice)) = first else {
            if unread == delivery.told {
                self.settle(key, &stale, delivery).await?;
                return Ok(Next::Nothing);
            }
            return self.send(key, &device.url, device.count(unread), &stale, unread).await;
        };
        let Some(body) = self.body(&view, &key.0, &device, &notice, unread).await? else {
            self.settle(key, &[stale, vec![row]].concat(), delivery).await?;
            return Ok(Next::More);
        };
        self.send(key, &device.url, body, &[stale, vec![row]].concat(), unread).await
    }

    /// Which rows are not told, and the first that is.
    fn sort(&self, rows: Vec<Row>) -> (Vec<QueueKey>, Option<Row>) {
        let keep_for_ms = u64::try_from(self.base.config.push.keep_for.as_millis()).unwrap_or(u64::MAX);
        let oldest_ms = self.base.clock.now_ms().saturating_sub(keep_for_ms);
        let enabled = self.base.config.push.enabled;
        let mut left: BTreeMap<RoomNo, usize> = BTreeMap::new();
        for (_, notice) in &rows {
            *left.entry(notice.room).or_default() += 1;
        }
        let crowded: Vec<RoomNo> =
            left.iter().filter(|(_, count)| **count > COALESCE_ABOVE).map(|(room, _)| *room).collect();
        let (mut stale, mut first) = (Vec::new(), None);
        for (key, notice) in rows {
            let behind = left.get_mut(&notice.room).map_or(0, |left| {
                *left -= 1;
                *left
            });
            let superseded = crowded.contains(&notice.room) && behind > 0 && !notice.highlight;
            if !enabled || superseded || notice.since_ms < oldest_ms {
                stale.push(key);
            } else if first.is_none() {
                first = Some((key, notice));
            }
        }
        (stale, first)
    }

    /// What to say of an event; `None` if its user is not to know of it any more.
    async fn body(
        &self,
        view: &View,
        user: &UserId,
        device: &Device,
        notice: &Notice,
        unread: u32,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let room = RoomView::open(view, notice.room).await?;
        let event = room.event(notice.event).await?;
        // On another device perhaps, while the gateway was away.
        if unread::is_read(&room, user, &event).await? {
            return Ok(None);
        }
        device.event(&room, event, notice, unread, self.base.config.push.include_content).await
    }

    /// Sends; then the rows go, or the pusher, if the gateway says that it is no more.
    async fn send(
        &self,
        key: &PusherKey,
        url: &str,
        body: Vec<u8>,
        rows: &[QueueKey],
        unread: u32,
    ) -> Result<Next, Setback> {
        let answer = self.gateway.notify(url, body).await.map_err(Setback::Gateway)?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|_| Setback::Gateway(GatewayError("the gateway's answer is not what it has to be".to_owned())))?;
        if answer.rejected.contains(&key.2) {
            self.base.transact(|tx| async move { pushers::remove(&tx, key).await }).await?;
            count("rejected");
            tracing::info!(user = %key.0, app = key.1, "a push gateway has rejected a pushkey; its pusher is removed");
            return Ok(Next::Gone);
        }
        count("delivered");
        self.settle(key, rows, Delivery { told: unread, ..Delivery::default() }).await?;
        Ok(Next::More)
    }

    /// Deletes rows that are done with, and writes down how the gateway did. A crash that loses this has it told again.
    async fn settle(&self, key: &PusherKey, rows: &[QueueKey], delivery: Delivery) -> Result<(), Fault> {
        let delivery = &delivery;
        self.base
            .transact(|tx| async move {
                tx.lazy();
                // A pusher that went meanwhile took all of it along.
                if tx.read(&PUSHER, key).await?.is_none() {
                    return Ok(());
                }
                for row in rows {
                    tx.delete(&PUSH_QUEUE, row);
                }
                note(&tx, key, delivery).await
            })
            .await
    }

    async fn failed(&self, key: &PusherKey, why: &GatewayError) -> Next {
        count("failed");
        let now_ms = self.base.clock.now_ms();
        let noted = self.base.transact(|tx| async move {
            if tx.read(&PUSHER, key).await?.is_none() {
                return Ok(None);
            }
            let mut delivery = tx.read(&PUSH_DELIVERY, key).await?.unwrap_or_default();
            delivery.retry_at_ms = now_ms.saturating_add(pause_ms(delivery.failures));
            delivery.failures = delivery.failures.saturating_add(1);
            tx.put(&PUSH_DELIVERY, key, &delivery);
            Ok::<_, Fault>(Some(delivery))
        });
        match noted.await {
            Ok(Some(delivery)) => {
                let failures = delivery.failures;
                tracing::info!(user = %key.0, app = key.1, failures, %why, "a push gateway does not take a notification");
                Next::At(delivery.retry_at_ms)
            }
            Ok(None) => Next::Gone,
            Err(fault) => {
                tracing::error!(%fault, "the failure of a push gateway could not be stored");
                Next::At(now_ms + FAULT_PAUSE_MS)
            }
        }
    }
}

/// What a gateway answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    rejected: Vec<String>,
}

async fn note(tx: &Tx, key: &PusherKey, delivery: &Delivery) -> Result<(), Fault> {
    let before = tx.read(&PUSH_DELIVERY, key).await?.unwrap_or_default();
    if before != *delivery {
        tx.put(&PUSH_DELIVERY, key, delivery);
    }
    Ok(())
}

/// The pause after so many failures in a row before this one.
fn pause_ms(failures: u32) -> u64 {
    FIRST_PAUSE_MS.saturating_mul(1 << failures.min(20)).min(LONGEST_PAUSE_MS)
}

fn count(outcome: &'static str) {
    metrics::counter!("depesche_push_notifications_total", "outcome" => outcome).increment(1);
}

impl From<Fault> for Setback {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
