//! Push: from an event to the gateways of those it notifies.
//!
//! Two steps, each of which a crash repeats rather than loses. **Distributing**: an event leaves one row in its own batch
//! (`rooms::append`); the worker finds the members who have a pusher, runs their rules on the event, and replaces the row
//! by one in each pusher's queue, in one batch. **Delivering**: each pusher's queue goes to its gateway, in order, many
//! pushers at a time; a row is deleted when its gateway has answered. A gateway that fails is asked again after a pause
//! that doubles and is kept in the database. A gateway may thus hear of an event twice, and knows it by its id.
//!
//! A count goes out without an event only after its user has read something that changed it. Who sets a pusher knows the
//! count, and an event that waits to be distributed tells it itself.
//!
//! A queue that grew while its gateway was away is coalesced: of each room the newest event and the highlights go out,
//! the counts say how many there are.
//!
//! Spec: [push notifications](https://spec.matrix.org/v1.19/client-server-api/#push-notifications),
//! [push gateway API](https://spec.matrix.org/v1.19/push-gateway-api/).

mod badge;
mod candidates;
mod deliver;
mod distribute;
mod gateway;
mod lines;
mod notice;
mod rules;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use depesche_store::{Position, Watch};
use tokio::{
    task::{self, JoinSet},
    time::{Instant, sleep_until},
};

pub use self::gateway::{GatewayError, PushGateway};
use self::{
    deliver::{Courier, LONGEST_PAUSE_MS, Next},
    distribute::Distributor,
    lines::Lines,
};
use crate::{
    Base, Fault,
    keyspace::{BADGE_DUE, PUSH_DELIVERY, PUSH_QUEUE},
    pushers::{self, PusherKey},
    topic,
    tx::View,
};

/// How long the worker pauses when the database fails.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a pusher pauses whose delivery broke off: a bug of ours.
const BROKEN_OFF_MS: u64 = 60_000;
/// Users whose counts changed, taken in one step.
const BADGES: usize = 100;

/// The worker. One for each server; it ends when the server stops.
pub struct Worker {
    base: Arc<Base>,
    courier: Arc<Courier>,
    distributor: Distributor,
    lines: Lines,
    /// There is more to distribute.
    more: bool,
    /// What the clock said last.
    now_ms: u64,
    /// When to distribute again after the database failed. Deliveries go on.
    pauses_until: Option<Instant>,
    running: JoinSet<(Next, bool)>,
    /// Which pusher a running delivery is for.
    tasks: HashMap<task::Id, PusherKey>,
    watch: Watch,
}

impl Worker {
    /// Delivers by this gateway.
    pub fn new(base: Arc<Base>, gateway: Arc<dyn PushGateway>) -> Self {
        let mut watch = base.topics().watch();
        watch.add(topic::push());
        Self {
            courier: Arc::new(Courier::new(Arc::clone(&base), gateway)),
            distributor: Distributor::new(Arc::clone(&base)),
            lines: Lines::default(),
            more: false,
            now_ms: 0,
            pauses_until: None,
            running: JoinSet::new(),
            tasks: HashMap::new(),
            watch,
            base,
        }
    }

    /// Works until the server stops. Deliveries under way then are given up: their rows stay for the next start.
    pub async fn run(mut self) {
        while let Err(fault) = self.resume().await {
            tracing::error!(%fault, "push cannot read what waits");
            if self.stopped_within(PAUSE).await {
                return;
            }
        }
        loop {
            let seen = self.step().await;
            if self.wait(seen).await {
                return;
            }
        }
    }

    /// What an earlier run left in the queues.
    async fn resume(&mut self) -> Result<(), Fault> {
        let view = self.base.view();
        let mut range = PUSH_QUEUE.under(&());
        // As they are stored: a row that cannot be read is its pusher's affair.
        while let Some((row, _)) = view.scan_stored(range.clone(), 1).await?.into_iter().next() {
            let Some((user, app, pushkey, ..)) = PUSH_QUEUE.parse(&row) else {
                range = range.behind(&row);
                continue;
            };
            let key = (user, app, pushkey);
            range.from = PUSH_QUEUE.under(&key).to;
            let due_ms = retry_at_ms(&view, &key, self.base.clock.now_ms()).await?;
            self.lines.wake_at(key, due_ms);
        }
        Ok(())
    }

    /// Distributes what is new and begins the deliveries that are due. Says what the newest commit was that it saw.
    async fn step(&mut self) -> Position {
        let seen = self.base.view().position();
        let now_ms = self.base.clock.now_ms();
        if now_ms < self.now_ms {
            self.lines.set_back(self.now_ms - now_ms);
        }
        self.now_ms = now_ms;
        if self.pauses_until.is_none_or(|until| until <= Instant::now()) {
            self.pauses_until = None;
            let mut woken = BTreeSet::new();
            let distributed = self.distributor.distribute(&mut woken).await;
            // What was committed before something failed waits now.
            for key in woken {
                self.lines.wake(key, now_ms);
            }
            let badges = self.take_badges(now_ms).await;
            self.more = *distributed.as_ref().unwrap_or(&true);
            if let Err(fault) = distributed.and(badges) {
                tracing::error!(%fault, "push cannot go on");
                self.pauses_until = Some(Instant::now() + PAUSE);
            }
        }
        self.deliver_due(now_ms);
        seen
    }

    async fn take_badges(&mut self, now_ms: u64) -> Result<(), Fault> {
        let view = self.base.view();
        let due = view.scan(&BADGE_DUE, BADGE_DUE.under(&()), BADGES).await?;
        if due.is_empty() {
            return Ok(());
        }
        let tx = self.base.tx();
        // What a crash loses of this is told with the next event.
        tx.lazy();
        for (of_user, ()) in due {
            let pushers = match pushers::of(&view, &of_user.0).await {
                Err(fault) if fault.is_damage() => {
                    tracing::error!(%fault, user = %of_user.0, "a user's pushers cannot be read");
                    Vec::new()
                }
                pushers => pushers?,
            };
            for (key, _) in pushers {
                // A pusher that was set anew does not go on with the pause of the old gateway.
                let due_ms = retry_at_ms(&view, &key, now_ms).await?.max(now_ms);
                self.lines.wake_for_badge(key, due_ms);
            }
            tx.delete(&BADGE_DUE, &of_user);
        }
        self.base.commit(&tx).await?;
        Ok(())
    }

    fn deliver_due(&mut self, now_ms: u64) {
        while self.running.len() < self.base.config.push.concurrency
            && let Some((key, badge)) = self.lines.begin(now_ms)
        {
            let (courier, pusher, rest) = (Arc::clone(&self.courier), key.clone(), self.distributor.rest());
            let task = self.running.spawn(async move { courier.deliver(&pusher, badge, &rest).await });
            self.tasks.insert(task.id(), key);
        }
    }

    /// Waits for something to do: a commit above `seen`, the end of a delivery, the end of a pause. Says whether the
    /// server stops.
    async fn wait(&mut self, seen: Position) -> bool {
        let now_ms = self.base.clock.now_ms();
        let now = Instant::now();
        let delivery = self.lines.next_pause(now_ms).map(|due_ms| now + Duration::from_millis(due_ms - now_ms));
        let more = self.more.then_some(now);
        let until = delivery.into_iter().chain(self.pauses_until.or(more)).min();
        let pause = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let base = Arc::clone(&self.base);
        let done = tokio::select! {
            biased;
            () = base.stopped() => return true,
            Some(done) = self.running.join_next_with_id(), if !self.running.is_empty() => Some(done),
            () = self.watch.wait(seen) => None,
            () = pause => None,
        };
        match done {
            Some(Ok((task, (next, badge)))) => self.delivered(task, next, badge),
            Some(Err(error)) => {
                tracing::error!(%error, "a delivery broke off");
                self.delivered(error.id(), Next::At(self.base.clock.now_ms() + BROKEN_OFF_MS), false);
            }
            None => {}
        }
        false
    }

    /// With `badge` the count is still to be told.
    fn delivered(&mut self, task: task::Id, next: Next, badge: bool) {
        if let Some(key) = self.tasks.remove(&task) {
            self.lines.end(key, next, badge, self.base.clock.now_ms());
        }
    }

    async fn stopped_within(&self, pause: Duration) -> bool {
        tokio::time::timeout(pause, self.base.stopped()).await.is_ok()
    }
}

/// Until when a pusher pauses; one whose row cannot be read does not. Only a clock that was set back makes it later than
/// the longest pause.
async fn retry_at_ms(view: &View, key: &PusherKey, now_ms: u64) -> Result<u64, Fault> {
    match view.get(&PUSH_DELIVERY, key).await {
        Ok(delivery) => Ok(delivery.unwrap_or_default().retry_at_ms.min(now_ms.saturating_add(LONGEST_PAUSE_MS))),
        Err(fault) if fault.is_damage() => Ok(0),
        Err(fault) => Err(fault),
    }
}
