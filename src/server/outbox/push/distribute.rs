//! Distributing: from an event's one row to the queues of the pushers it is told to.
//!
//! Works on the members who have a pusher, not on all (`candidates.rs`).

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use depesche_rules::{
    bounds::MAX_PUSH_ACTIONS_BYTES,
    push::{self, EventFields, Named},
};
use depesche_store::{CommitError, Position, Range};
use ruma::{
    OwnedUserId, UserId,
    events::room::member::MembershipState,
    push::{Action, Ruleset},
};
use serde_json::value::to_raw_value;

use super::{
    candidates::Candidates,
    rules::{Known, Rules},
};
use crate::{
    Base, Fault,
    keyspace::{PUSH_OUTBOX, PUSH_QUEUE, PUSHER},
    pushers::{self, PusherKey},
    records::{events::Status, push::Notice},
    rooms::{
        push::{Context, concerns},
        view::{Event, RoomView},
    },
    tx::{Tx, View},
};

/// Events of one batch.
const EVENTS: usize = 100;
/// A batch is committed once it has this many bytes.
const BYTES: usize = 1 << 20;
/// Users whose rules run before others have a turn: rules may be many, and events long.
const AT_ONCE: usize = 8;

/// Where an event stands in the outbox: position, place in the batch.
type Place = (Position, u16);

/// Finds whom events notify.
pub struct Distributor {
    base: Arc<Base>,
    /// Rows up to here are gone: the next look begins behind them.
    done: Option<Place>,
    /// An event of which a part is committed, and the users whose part it was.
    halfway: Option<(Place, BTreeSet<OwnedUserId>)>,
    /// Events of the next batch, at most.
    at_once: usize,
    pub(super) candidates: Candidates,
    rules: Known,
}

/// An event at hand, ready for many rules.
struct Heard<'a> {
    room: &'a RoomView,
    event: &'a Event,
    place: Place,
    fields: &'a EventFields,
    context: Context,
    /// Whom it names.
    named: Named,
    /// What the default rules say to all others, once somebody has them.
    by_default: OnceLock<Option<Verdict>>,
}

/// How somebody is notified.
#[derive(Clone)]
struct Verdict {
    /// JSON.
    actions: String,
    highlight: bool,
}

/// A batch in the making, and what is looked up once for its events.
struct Batch {
    /// No newer than the view.
    generation: u64,
    view: View,
    tx: Tx,
    woken: Vec<PusherKey>,
    /// Whose part of the event at hand is in it.
    users: Vec<OwnedUserId>,
}

impl Distributor {
    /// From the beginning of the outbox.
    pub fn new(base: Arc<Base>) -> Self {
        let rules = Known::new(Arc::clone(&base));
        Self { base, done: None, halfway: None, at_once: EVENTS, candidates: Candidates::default(), rules }
    }

    /// Distributes some of what is in the outbox, and adds to `woken` the pushers for which something waits now. Says
    /// whether there is more.
    pub async fn distribute(&mut self, woken: &mut BTreeSet<PusherKey>) -> Result<bool, Fault> {
        match self.distribute_some(woken).await {
            Ok(more) => {
                self.at_once = (self.at_once * 2).min(EVENTS);
                Ok(more)
            }
            // A pusher went or came meanwhile: once more, with less, or whoever sets one all the time would stop it.
            Err(Fault::Commit(CommitError::Conflict(_))) => {
                self.at_once = (self.at_once / 2).max(1);
                Ok(true)
            }
            Err(Fault::Commit(CommitError::Contract(_))) if self.at_once > 1 => {
                // One of them cannot be stored: which, each alone says.
                self.at_once = 1;
                Ok(true)
            }
            Err(Fault::Commit(CommitError::Contract(why))) => {
                self.pass_over(&why).await?;
                Ok(true)
            }
            Err(fault) => Err(fault),
        }
    }

    /// What a batch begins with: the set of pushers, at the latest as the view shows it.
    pub(super) fn begin(&self) -> (u64, View) {
        // In this order: a pusher that the view does not show is of a later generation.
        let generation = self.base.pushers.load(Ordering::Acquire);
        (generation, self.base.view())
    }

    async fn distribute_some(&mut self, woken: &mut BTreeSet<PusherKey>) -> Result<bool, Fault> {
        let mut batch = Batch::new(self.begin());
        let rows = batch.view.scan(&PUSH_OUTBOX, self.rest(), self.at_once).await?;
        let mut more = rows.len() == self.at_once;
        let mut last = None;
        for (place, (room, no)) in rows {
            self.event(&mut batch, woken, place, room, no).await?;
            batch.tx.delete(&PUSH_OUTBOX, &place);
            last = Some(place);
            if batch.tx.size() > BYTES {
                more = true;
                break;
            }
        }
        batch.commit(&self.base, woken).await?;
        (self.done, self.halfway) = (last.or(self.done), None);
        Ok(more)
    }

    /// Passes over the next event: it would stop all others for ever.
    async fn pass_over(&mut self, why: &str) -> Result<(), Fault> {
        let tx = self.base.tx();
        for (place, (room, no)) in tx.view().scan(&PUSH_OUTBOX, self.rest(), 1).await? {
            tracing::error!(why, room, no, "what an event notifies of cannot be stored; it is not pushed");
            tx.delete(&PUSH_OUTBOX, &place);
            self.base.commit(&tx).await?;
            (self.done, self.halfway) = (Some(place), None);
        }
        self.at_once = EVENTS;
        Ok(())
    }

    /// Where the events stand that are not distributed yet.
    pub fn rest(&self) -> Range {
        match self.done {
            Some((position, sub)) => {
                let next = sub.checked_add(1).map_or((Position(position.0 + 1), 0), |sub| (position, sub));
                PUSH_OUTBOX.from(&(), &next)
            }
            None => PUSH_OUTBOX.under(&()),
        }
    }

    /// Puts one event into the queues of those it notifies. One that cannot be read is passed over: it would stop all
    /// others for ever.
    async fn event(
        &mut self,
        batch: &mut Batch,
        woken: &mut BTreeSet<PusherKey>,
        place: Place,
        room: u64,
        no: u32,
    ) -> Result<(), Fault> {
        match self.try_event(batch, woken, place, room, no).await {
            Err(fault) if fault.is_damage() => {
                tracing::error!(%fault, room, no, "an event cannot be pushed");
                Ok(())
            }
            other => other,
        }
    }

    async fn try_event(
        &mut self,
        batch: &mut Batch,
        woken: &mut BTreeSet<PusherKey>,
        place: Place,
        room: u64,
        no: u32,
    ) -> Result<(), Fault> {
        let room = RoomView::open(&batch.view, room).await?;
        let event = room.event(no).await?;
        if event.meta.facts.status != Status::Accepted || event.meta.facts.redacted_by.is_some() {
            return Ok(());
        }
        let mut users = self.candidates.of(&room, batch.generation).await?.to_vec();
        let invited = invited(&event).filter(|user| !users.contains(user));
        users.extend(invited);
        let queued = self.halfway.as_ref().filter(|(halfway, _)| *halfway == place).map(|(_, users)| users);
        users.retain(|user| user != event.pdu.sender() && !queued.is_some_and(|queued| queued.contains(user)));
        if users.is_empty() {
            return Ok(());
        }
        batch.users.clear();
        let fields = EventFields::new(&event.pdu);
        let heard = Heard {
            room: &room,
            event: &event,
            place,
            fields: &fields,
            context: Context::of(&room).await?,
            named: fields.named(),
            by_default: OnceLock::new(),
        };
        for (at, user) in users.into_iter().enumerate() {
            if at % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            if batch.tx.size() > BYTES {
                // The event's own row stays until its last part: a crash distributes it again, into the same rows.
                batch.commit(&self.base, woken).await?;
                let users = batch.users.drain(..);
                match &mut self.halfway {
                    Some((halfway, queued)) if *halfway == place => queued.extend(users),
                    other => *other = Some((place, users.collect())),
                }
            }
            match self.judge(batch, &heard, &user).await {
                Err(fault) if fault.is_damage() => {
                    tracing::error!(%fault, %user, room = room.no, "an event cannot be pushed to one of those it tells");
                }
                judged => judged?,
            }
            batch.users.push(user);
        }
        Ok(())
    }

    /// Runs a user's rules on an event, and queues what they say.
    async fn judge(&mut self, batch: &mut Batch, heard: &Heard<'_>, user: &UserId) -> Result<(), Fault> {
        let rules = self.rules.of(user).await?;
        if rules.ignored.contains(heard.event.pdu.sender()) {
            return Ok(());
        }
        let Some(Verdict { actions, highlight }) = heard.verdict(user, &rules).await? else { return Ok(()) };
        if !concerns(heard.room, heard.event, user).await? {
            return Ok(());
        }
        let (room, event, since_ms) = (heard.room.no, heard.event.no, self.base.clock.now_ms());
        batch.queue(user, heard.place, &Notice { room, event, actions, highlight, since_ms }).await
    }
}

impl Heard<'_> {
    /// What a user's rules say; `None` if they are not notified.
    async fn verdict(&self, user: &UserId, rules: &Rules) -> Result<Option<Verdict>, Fault> {
        if let Some(own) = &rules.own {
            return self.judged(user, own).await;
        }
        if self.named.has(user) {
            return self.judged(user, &Ruleset::server_default(user)).await;
        }
        if let Some(known) = self.by_default.get() {
            return Ok(known.clone());
        }
        let verdict = self.judged(user, &Ruleset::server_default(user)).await?;
        Ok(self.by_default.get_or_init(|| verdict).clone())
    }

    async fn judged(&self, user: &UserId, rules: &Ruleset) -> Result<Option<Verdict>, Fault> {
        let context = self.context.for_user(user, rules).await?;
        let outcome = push::outcome(rules, self.fields, &context);
        if !outcome.notify {
            return Ok(None);
        }
        Ok(Some(Verdict { actions: written(outcome.actions)?, highlight: outcome.highlight }))
    }
}

impl Batch {
    fn new((generation, view): (u64, View)) -> Self {
        let tx = Tx::over(view.clone());
        Self { generation, view, tx, woken: Vec::new(), users: Vec::new() }
    }

    /// Commits what there is so far; the batch goes on, empty, with the same view.
    async fn commit(&mut self, base: &Base, woken: &mut BTreeSet<PusherKey>) -> Result<(), Fault> {
        // What a crash loses of this comes back with the outbox rows, which it loses the end of too.
        self.tx.lazy();
        base.commit(&self.tx).await?;
        woken.extend(self.woken.drain(..));
        Ok(())
    }

    /// Puts a notice into the queue of each of the user's pushers.
    async fn queue(&mut self, user: &UserId, (position, sub): Place, notice: &Notice) -> Result<(), Fault> {
        for (key, _) in pushers::of(&self.view, user).await? {
            // Read with its requirement: a pusher that goes in this moment must not leave a queue behind.
            if self.tx.read(&PUSHER, &key).await?.is_some() {
                let (user, app, pushkey) = key.clone();
                self.tx.put(&PUSH_QUEUE, &(user, app, pushkey, position, sub), notice);
                self.woken.push(key);
            }
        }
        Ok(())
    }
}

/// Actions as JSON. Rules from before there was a bound may have more than are kept: those are left out.
fn written(actions: &[Action]) -> Result<String, Fault> {
    let mut written = Vec::new();
    let mut bytes = "[]".len();
    for action in actions {
        let action = to_raw_value(action).map_err(|why| Fault::Bug(format!("an action is no JSON: {why}")))?;
        let with = bytes + action.get().len() + usize::from(!written.is_empty());
        if with <= MAX_PUSH_ACTIONS_BYTES {
            bytes = with;
            written.push(action);
        }
    }
    serde_json::to_string(&written).map_err(|why| Fault::Bug(format!("actions are no JSON: {why}")))
}

/// The user whom the event invites.
fn invited(event: &Event) -> Option<OwnedUserId> {
    let is_invite = event.pdu.membership() == Some(MembershipState::Invite);
    let user = event.pdu.state_key().and_then(|user| OwnedUserId::try_from(user).ok());
    user.filter(|_| is_invite)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn actions_that_are_too_much_are_left_out() {
        let sound = json!({ "set_tweak": "sound", "value": "default" });
        let long = json!({ "set_tweak": "org.example", "value": "x".repeat(55_000) });
        let actions: Vec<Action> = serde_json::from_value(json!(["notify", long, sound])).unwrap();
        assert_eq!(written(&actions).unwrap(), json!(["notify", sound]).to_string());
        let most = MAX_PUSH_ACTIONS_BYTES - json!([{ "set_tweak": "x", "value": "" }]).to_string().len();
        for (bytes, expected) in [(most, MAX_PUSH_ACTIONS_BYTES), (most + 1, "[]".len())] {
            let actions = json!([{ "set_tweak": "x", "value": "x".repeat(bytes) }]);
            let actions: Vec<Action> = serde_json::from_value(actions).unwrap();
            assert_eq!(written(&actions).unwrap().len(), expected);
        }
    }
}
