//! Distributing: from an event's one row to the queues of the pushers it is told to.
//!
//! Works on the members who have a pusher, not on all: they are looked up once for each state of a room and kept.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
};

use depesche_rules::push::{self, EventFields};
use depesche_store::{CommitError, MAX_SCAN, Position, Range};
use ruma::{OwnedUserId, UserId, events::room::member::MembershipState, push::Ruleset};

use crate::{
    Base, Fault, account_data,
    keyspace::{KEY, MEMBER, PUSH_OUTBOX, PUSH_QUEUE, PUSHER, PUSHER_COUNT},
    push_rules,
    pushers::{self, PusherKey},
    records::{events::Status, push::Notice, rooms::RootRecord},
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
/// In a room with no more pairs of state than this, its members are looked through for pushers; in a larger one, those
/// who have pushers for members.
const FEW_KEYS: u32 = 500;
/// Rooms whose members with pushers are remembered.
const ROOMS: usize = 10_000;

/// Where an event stands in the outbox: position, place in the batch.
type Place = (Position, u16);

/// Finds whom events notify.
pub struct Distributor {
    base: Arc<Base>,
    /// Rows up to here are gone: the next look begins behind them.
    done: Option<Place>,
    rooms: HashMap<u64, Candidates>,
}

/// The members of a room who have a pusher, while neither its state nor the set of pushers changes.
struct Candidates {
    root: RootRecord,
    generation: u64,
    users: Arc<[OwnedUserId]>,
}

/// Whom and what a user does not want to hear.
struct Rules {
    rules: Ruleset,
    ignored: BTreeSet<OwnedUserId>,
}

/// What is looked up once for the events of a batch.
struct Batch {
    view: View,
    tx: Tx,
    rules: HashMap<OwnedUserId, Arc<Rules>>,
    woken: Vec<PusherKey>,
}

impl Distributor {
    /// From the beginning of the outbox.
    pub fn new(base: Arc<Base>) -> Self {
        Self { base, done: None, rooms: HashMap::new() }
    }

    /// Distributes what is in the outbox and says for which pushers something waits now.
    pub async fn distribute(&mut self) -> Result<BTreeSet<PusherKey>, Fault> {
        let mut woken = BTreeSet::new();
        loop {
            let tx = self.base.tx();
            let view = tx.view().clone();
            let rows = view.scan(&PUSH_OUTBOX, self.rest(), EVENTS).await?;
            if rows.is_empty() {
                return Ok(woken);
            }
            // What a crash loses of this comes back with the outbox rows, which it loses the end of too.
            tx.lazy();
            let mut batch = Batch { view, tx, rules: HashMap::new(), woken: Vec::new() };
            let mut last = None;
            for (place, (room, no)) in rows {
                self.event(&mut batch, place, room, no).await?;
                batch.tx.delete(&PUSH_OUTBOX, &place);
                last = Some(place);
                if batch.tx.size() > BYTES {
                    break;
                }
            }
            match self.base.commit(&batch.tx).await {
                Ok(_) => self.done = last.or(self.done),
                // A pusher went or came meanwhile: once more.
                Err(Fault::Commit(CommitError::Conflict(_))) => continue,
                Err(fault) => return Err(fault),
            }
            woken.extend(batch.woken);
        }
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
    async fn event(&mut self, batch: &mut Batch, place: Place, room: u64, no: u32) -> Result<(), Fault> {
        match self.try_event(batch, place, room, no).await {
            Err(fault @ (Fault::Corrupt { .. } | Fault::Bug(_))) => {
                tracing::error!(%fault, room, no, "an event cannot be pushed");
                Ok(())
            }
            other => other,
        }
    }

    async fn try_event(&mut self, batch: &mut Batch, place: Place, room: u64, no: u32) -> Result<(), Fault> {
        let room = RoomView::open(&batch.view, room).await?;
        let event = room.event(no).await?;
        if event.meta.facts.status != Status::Accepted || event.meta.facts.redacted_by.is_some() {
            return Ok(());
        }
        let mut users = self.candidates(&room).await?.to_vec();
        let invited = invited(&event).filter(|user| !users.contains(user));
        users.extend(invited);
        users.retain(|user| user != event.pdu.sender());
        if users.is_empty() {
            return Ok(());
        }
        let (fields, context) = (EventFields::new(&event.pdu), Context::of(&room).await?);
        for user in users {
            let rules = batch.rules(&user).await?;
            if rules.ignored.contains(event.pdu.sender()) || !concerns(&room, &event, &user).await? {
                continue;
            }
            let rules = &rules.rules;
            let condition = context.for_user(&user, rules).await?;
            let outcome = push::outcome(rules, &fields, &condition);
            if !outcome.notify {
                continue;
            }
            let actions = serde_json::to_string(outcome.actions)
                .map_err(|why| Fault::Bug(format!("actions are no JSON: {why}")))?;
            let since_ms = self.base.clock.now_ms();
            let notice = Notice { room: room.no, event: no, actions, highlight: outcome.highlight, since_ms };
            batch.queue(&user, place, &notice).await?;
        }
        Ok(())
    }

    /// The joined members who have a pusher.
    async fn candidates(&mut self, room: &RoomView) -> Result<Arc<[OwnedUserId]>, Fault> {
        let (root, generation) = (room.root(), self.base.pushers.load(Ordering::Relaxed));
        if let Some(known) = self.rooms.get(&room.no)
            && (known.root, known.generation) == (root, generation)
        {
            return Ok(Arc::clone(&known.users));
        }
        let with_pusher = if room.head.next_key <= FEW_KEYS {
            let members = named_in(room).await?;
            let keys: Vec<_> = members.iter().map(|user| (user.clone(),)).collect();
            let counts = room.view.get_many(&PUSHER_COUNT, &keys).await?;
            members.into_iter().zip(counts).filter_map(|(user, count)| count.map(|_| user)).collect()
        } else {
            everyone_with_pusher(&room.view).await?
        };
        let keys: Vec<_> = with_pusher.iter().map(|user| (user.clone(), room.no)).collect();
        let members = room.view.get_many(&MEMBER, &keys).await?;
        let joined = with_pusher
            .into_iter()
            .zip(members)
            .filter(|(_, member)| member.as_ref().is_some_and(|member| member.state == MembershipState::Join));
        let users: Arc<[OwnedUserId]> = joined.map(|(user, _)| user).collect();
        if self.rooms.len() >= ROOMS {
            self.rooms.clear();
        }
        self.rooms.insert(room.no, Candidates { root, generation, users: Arc::clone(&users) });
        Ok(users)
    }
}

impl Batch {
    async fn rules(&mut self, user: &UserId) -> Result<Arc<Rules>, Fault> {
        if let Some(known) = self.rules.get(user) {
            return Ok(Arc::clone(known));
        }
        let ignored = account_data::ignored_users(&self.view, user).await?;
        let rules = Arc::new(Rules { rules: push_rules::of(&self.view, user).await?.rules, ignored });
        self.rules.insert(user.to_owned(), Arc::clone(&rules));
        Ok(rules)
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

/// Everybody of whose membership the room ever heard.
async fn named_in(room: &RoomView) -> Result<Vec<OwnedUserId>, Fault> {
    let keys = room.view.scan(&KEY, KEY.under(&(room.no,)), MAX_SCAN).await?;
    let members = keys.into_iter().filter(|(_, key)| key.kind == "m.room.member");
    Ok(members.filter_map(|(_, key)| key.state_key.try_into().ok()).collect())
}

async fn everyone_with_pusher(view: &View) -> Result<Vec<OwnedUserId>, Fault> {
    let mut range = PUSHER_COUNT.under(&());
    let mut users: Vec<OwnedUserId> = Vec::new();
    loop {
        let rows = view.scan(&PUSHER_COUNT, range.clone(), MAX_SCAN).await?;
        let is_last = rows.len() < MAX_SCAN;
        users.extend(rows.into_iter().map(|((user,), _)| user));
        match users.last() {
            Some(last) if !is_last => range.from = [&PUSHER_COUNT.key(&(last.clone(),)), &[0][..]].concat().into(),
            _ => return Ok(users),
        }
    }
}

/// The user whom the event invites.
fn invited(event: &Event) -> Option<OwnedUserId> {
    let is_invite = event.pdu.membership() == Some(MembershipState::Invite);
    let user = event.pdu.state_key().and_then(|user| OwnedUserId::try_from(user).ok());
    user.filter(|_| is_invite)
}
