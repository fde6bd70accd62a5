//! Delivering: one pusher's queue to its gateway.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use depesche_store::{MAX_SCAN, Mutex, Position, Range};
use ruma::{OwnedUserId, UserId, events::room::member::MembershipState};
use serde::Deserialize;

use super::{
    badge::Badges,
    gateway::{GatewayError, PushGateway},
    notice::Device,
};
use crate::{
    Base, Fault,
    keyspace::{MEMBER, PUSH_DELIVERY, PUSH_OUTBOX, PUSH_QUEUE, PUSHER, RoomNo},
    pushers::{self, PusherKey},
    records::push::{Delivery, Notice, Pusher},
    rooms::{unread, view::RoomView},
    tx::{Tx, View},
};

/// Events delivered in one turn; then other pushers have theirs.
const GO: usize = 50;
/// After so much time, too, a turn is over.
const TURN_MS: u64 = 5000;
/// Rows of a queue read in one step.
const PAGE: usize = 500;
/// With more than this many events of one room waiting, only the newest of them and the highlights are told.
const COALESCE_ABOVE: usize = 10;
/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE_MS: u64 = 1000;
/// The longest pause.
pub(super) const LONGEST_PAUSE_MS: u64 = 60 * 60 * 1000;
/// The pause after the first failure of ours. It doubles with each further one, up to the longest.
const FAULT_PAUSE_MS: u64 = 10_000;

/// Where a row stands: pusher, position and place of the event.
type QueueKey = (OwnedUserId, String, String, Position, u16);
/// A row of a queue.
type Row = (QueueKey, Notice);

/// Takes queues to their gateways.
pub struct Courier {
    base: Arc<Base>,
    gateway: Arc<dyn PushGateway>,
    badges: Badges,
    /// Of pushers whose last deliveries the database did not take.
    troubles: Mutex<HashMap<PusherKey, Trouble>>,
}

/// What stands between a pusher and the database.
#[derive(Clone, Default)]
struct Trouble {
    /// Failures in a row.
    faults: u32,
    /// What the gateway has answered, and is not written down: that is not sent again.
    answered: Option<Answered>,
}

/// What became of a notification.
#[derive(Clone)]
enum Answered {
    /// These rows, and this count, are told.
    Told(Vec<QueueKey>, u32),
    /// The pushkey of this pusher is no more.
    Rejected(Pusher),
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
    /// The count is to be told, but events are to be distributed before.
    Behind,
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
        Self { badges: Badges::new(Arc::clone(&base)), base, gateway, troubles: Mutex::default() }
    }

    /// Tells a pusher's gateway what waits, up to a bound; with `badge` of the count too, if it has changed. Events that
    /// are not distributed yet stand in `rest`. Says too whether the count is still to be told.
    pub async fn deliver(&self, key: &PusherKey, mut badge: bool, rest: &Range) -> (Next, bool) {
        let next = match self.go(key, &mut badge, rest).await {
            Ok(next) => Ok(next),
            Err(Setback::Gateway(why)) => self.failed(key, &why).await,
            Err(Setback::Fault(fault)) => Err(fault),
        };
        let next = match next {
            Ok(next) => {
                self.troubles.lock().remove(key);
                next
            }
            Err(fault) => {
                tracing::error!(%fault, "a push queue cannot be read or written");
                let mut troubles = self.troubles.lock();
                let trouble = troubles.entry(key.clone()).or_default();
                let pause_ms = doubled(FAULT_PAUSE_MS, trouble.faults);
                trouble.faults = trouble.faults.saturating_add(1);
                Next::At(self.base.clock.now_ms().saturating_add(pause_ms))
            }
        };
        (next, badge && !matches!(next, Next::Gone | Next::Nothing))
    }

    async fn go(&self, key: &PusherKey, badge: &mut bool, rest: &Range) -> Result<Next, Setback> {
        let answered = self.troubles.lock().get(key).and_then(|trouble| trouble.answered.clone());
        if let Some(answered) = answered {
            let next = self.write_down(key, &answered).await?;
            self.troubles.lock().remove(key);
            if next == Next::Gone {
                return Ok(next);
            }
        }
        if *badge && self.begin(key).await? {
            *badge = false;
        }
        let end_ms = self.base.clock.now_ms().saturating_add(TURN_MS);
        for _ in 0..GO {
            match self.next(key, *badge, rest).await? {
                Next::More if self.base.clock.now_ms() < end_ms => {}
                next => return Ok(next),
            }
        }
        Ok(Next::More)
    }

    /// An app that sets its pusher shows the count of that moment by itself: it is written down as told. Says whether the
    /// pusher was set and nothing told since.
    async fn begin(&self, key: &PusherKey) -> Result<bool, Fault> {
        let view = self.base.view();
        if !self.base.config.push.enabled || view.get(&PUSH_DELIVERY, key).await?.is_some() {
            return Ok(false);
        }
        let unread = self.badges.count(&view, &key.0).await?;
        self.settle(key, &[], Some(unread)).await?;
        Ok(true)
    }

    /// One notification.
    async fn next(&self, key: &PusherKey, badge: bool, rest: &Range) -> Result<Next, Setback> {
        let view = self.base.view();
        let Some(pusher) = view.get(&PUSHER, key).await? else { return Ok(Next::Gone) };
        let device = Device::new(key, &pusher)?;
        let rows = view.scan(&PUSH_QUEUE, PUSH_QUEUE.under(key), PAGE).await?;
        let is_page = rows.len() == PAGE;
        // Of a long queue, its end says which events are not the newest of their rooms.
        let newest = if is_page { view.scan_back(&PUSH_QUEUE, PUSH_QUEUE.under(key), PAGE).await? } else { Vec::new() };
        let (stale, first) = self.sort(rows, &newest);
        if first.is_none() && is_page {
            self.settle(key, &stale, None).await?;
            return Ok(Next::More);
        }
        if first.is_none() && (!badge || !self.base.config.push.enabled) {
            self.settle(key, &stale, None).await?;
            return Ok(Next::Nothing);
        }
        let unread = self.badges.count(&view, &key.0).await?;
        let Some((row, notice)) = first else {
            if unread == view.get(&PUSH_DELIVERY, key).await?.unwrap_or_default().told {
                self.settle(key, &stale, None).await?;
                return Ok(Next::Nothing);
            }
            if self.is_behind(&view, &key.0, rest).await? {
                return Ok(Next::Behind);
            }
            return self.send((key, &pusher), &device.url, device.count(unread), &stale, unread).await;
        };
        let Some(body) = self.body(&view, &key.0, &device, &notice, unread).await? else {
            self.settle(key, &[stale, vec![row]].concat(), None).await?;
            return Ok(Next::More);
        };
        self.send((key, &pusher), &device.url, body, &[stale, vec![row]].concat(), unread).await
    }

    /// Whether events of the user's rooms are not distributed yet. They are in the count already, and those that notify
    /// the user tell it themselves.
    async fn is_behind(&self, view: &View, user: &UserId, rest: &Range) -> Result<bool, Fault> {
        let rows = view.scan(&PUSH_OUTBOX, rest.clone(), MAX_SCAN).await?;
        let rooms: BTreeSet<RoomNo> = rows.into_iter().map(|(_, (room, _))| room).collect();
        let keys: Vec<_> = rooms.into_iter().map(|room| (user.to_owned(), room)).collect();
        let members = view.get_many(&MEMBER, &keys).await?;
        Ok(members.into_iter().flatten().any(|member| member.state == MembershipState::Join))
    }

    /// Which of these rows are not told, and the first that is. The newest of the queue may be among them, or later.
    fn sort(&self, rows: Vec<Row>, newest: &[Row]) -> (Vec<QueueKey>, Option<Row>) {
        let keep_for_ms = u64::try_from(self.base.config.push.keep_for.as_millis()).unwrap_or(u64::MAX);
        let oldest_ms = self.base.clock.now_ms().saturating_sub(keep_for_ms);
        let enabled = self.base.config.push.enabled;
        let mut left: BTreeMap<RoomNo, usize> = BTreeMap::new();
        let last = rows.last().map(|(key, _)| key);
        let later = newest.iter().filter(|(key, _)| Some(key) > last);
        for (_, notice) in rows.iter().chain(later) {
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
        (key, pusher): (&PusherKey, &Pusher),
        url: &str,
        body: Vec<u8>,
        rows: &[QueueKey],
        unread: u32,
    ) -> Result<Next, Setback> {
        let answer = self.gateway.notify(url, body).await.map_err(Setback::Gateway)?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|_| Setback::Gateway(GatewayError("the gateway's answer is not what it has to be".to_owned())))?;
        let answered = if answer.rejected.contains(&key.2) {
            count("rejected");
            Answered::Rejected(pusher.clone())
        } else {
            count("delivered");
            Answered::Told(rows.to_vec(), unread)
        };
        let written = self.write_down(key, &answered).await;
        if written.is_err() {
            self.troubles.lock().entry(key.clone()).or_default().answered = Some(answered);
        }
        Ok(written?)
    }

    /// Writes down what the gateway has answered. May be repeated.
    async fn write_down(&self, key: &PusherKey, answered: &Answered) -> Result<Next, Fault> {
        let pusher = match answered {
            Answered::Told(rows, unread) => {
                self.settle(key, rows, Some(*unread)).await?;
                return Ok(Next::More);
            }
            Answered::Rejected(pusher) => pusher,
        };
        let removed = self.base.transact(|tx| async move {
            // The gateway does not speak of what the app has set meanwhile.
            if tx.read(&PUSHER, key).await?.as_ref() != Some(pusher) {
                return Ok(false);
            }
            pushers::remove(&tx, key).await?;
            Ok::<_, Fault>(true)
        });
        if !removed.await? {
            return Ok(Next::More);
        }
        tracing::info!(user = %key.0, app = key.1, "a push gateway has rejected a pushkey; its pusher is removed");
        Ok(Next::Gone)
    }

    /// Deletes rows that are done with, and writes down the count that was told, if it was. A crash that loses this has
    /// it told again.
    async fn settle(&self, key: &PusherKey, rows: &[QueueKey], told: Option<u32>) -> Result<(), Fault> {
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
                match told {
                    Some(told) => note(&tx, key, told).await,
                    None => Ok(()),
                }
            })
            .await
    }

    async fn failed(&self, key: &PusherKey, why: &GatewayError) -> Result<Next, Fault> {
        count("failed");
        let now_ms = self.base.clock.now_ms();
        let noted = self.base.transact(|tx| async move {
            if tx.read(&PUSHER, key).await?.is_none() {
                return Ok(None);
            }
            let mut delivery = tx.read(&PUSH_DELIVERY, key).await?.unwrap_or_default();
            delivery.retry_at_ms = now_ms.saturating_add(doubled(FIRST_PAUSE_MS, delivery.failures));
            delivery.failures = delivery.failures.saturating_add(1);
            tx.put(&PUSH_DELIVERY, key, &delivery);
            Ok::<_, Fault>(Some(delivery))
        });
        let Some(delivery) = noted.await? else { return Ok(Next::Gone) };
        let failures = delivery.failures;
        tracing::info!(user = %key.0, app = key.1, failures, %why, "a push gateway does not take a notification");
        Ok(Next::At(delivery.retry_at_ms))
    }
}

/// What a gateway answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    rejected: Vec<String>,
}

/// A success: the next failure is the first one. That there is a row says that the pusher was told a count.
async fn note(tx: &Tx, key: &PusherKey, told: u32) -> Result<(), Fault> {
    let delivery = Delivery { told, ..Delivery::default() };
    if tx.read(&PUSH_DELIVERY, key).await?.as_ref() != Some(&delivery) {
        tx.put(&PUSH_DELIVERY, key, &delivery);
    }
    Ok(())
}

/// The pause after so many failures in a row before this one.
fn doubled(first_ms: u64, failures: u32) -> u64 {
    first_ms.saturating_mul(1 << failures.min(20)).min(LONGEST_PAUSE_MS)
}

fn count(outcome: &'static str) {
    metrics::counter!("depesche_push_notifications_total", "outcome" => outcome).increment(1);
}

impl From<Fault> for Setback {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
