//! What passes in a room: receipts, and who types. Of a first look what stands, of a later one what moved. Of those whom
//! the user ignores, nothing.
//!
//! Spec: [receipts](https://spec.matrix.org/v1.19/client-server-api/#receipts),
//! [typing notifications](https://spec.matrix.org/v1.19/client-server-api/#typing-notifications).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use depesche_rules::{
    bounds::{MAX_MOVED_RECEIPTS_PER_SYNC, MAX_RECEIPTS_PER_SYNC},
    filter,
};
use depesche_store::Position;
use ruma::{OwnedEventId, OwnedUserId, RoomId, UInt, events::AnySyncEphemeralRoomEvent, serde::Raw};
use serde::Serialize;
use serde_json::{json, value::to_raw_value};

use super::{Request, Syncs, room::Asked, session::Session, v3::ROOMS};
use crate::{
    keyspace::{ROOM, RoomNo},
    rooms::receipts::{self, Kind, Shown},
    tx::{Fault, View},
    typing,
};

/// What passed in a room.
#[derive(Default)]
pub struct Passing {
    /// As the client gets it.
    pub events: Vec<Raw<AnySyncEphemeralRoomEvent>>,
    /// Whether the counts may be others now, though nothing was said: the user has read on, on whichever device, or has
    /// other push rules.
    pub recount: bool,
}

impl Passing {
    /// Whether nothing passed.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.recount
    }

    /// Of a room, since a position or at all; `private` are the user's own receipts since then.
    pub async fn of(
        view: &View,
        room: RoomNo,
        room_id: &RoomId,
        (request, ignored): (&Request, &BTreeSet<OwnedUserId>),
        since: Option<Position>,
        private: Vec<Shown>,
    ) -> Result<Self, Fault> {
        let user = &request.user;
        let most = if since.is_some() { MAX_MOVED_RECEIPTS_PER_SYNC } else { MAX_RECEIPTS_PER_SYNC };
        let mut shown = receipts::public(view, room, since, most).await?;
        if shown.len() == most {
            // Where many have read since, the user's own one is told all the same.
            let own = receipts::own(view, room, user, Kind::Public, MAX_RECEIPTS_PER_SYNC).await?;
            let is_new = |own: &Shown| since.is_none_or(|since| own.receipt.position > since);
            shown.extend(own.into_iter().filter(is_new));
        }
        shown.retain(|shown| !ignored.contains(&shown.user));
        let recount = !private.is_empty() || shown.iter().any(|shown| shown.user == *user);
        shown.extend(private);
        if since.is_none() {
            shown.extend(receipts::own(view, room, user, Kind::Private, MAX_RECEIPTS_PER_SYNC).await?);
        }
        let mut events = Vec::new();
        if !shown.is_empty() && passes(request, room_id, "m.receipt") {
            events.extend(receipt_events(shown)?);
        }
        if passes(request, room_id, "m.typing")
            && let Some(mut users) = typing::news(view, room, since).await?
        {
            users.retain(|user| !ignored.contains(user));
            events.push(event("m.typing", &json!({ "user_ids": users }))?);
        }
        // A limit has no meaning here but for none at all: what was left out would never be told again.
        if request.filter.room.ephemeral.limit == Some(UInt::MIN) {
            events.clear();
        }
        Ok(Self { events, recount })
    }
}

impl Syncs {
    /// What passed since the token in the joined rooms, where anything did.
    pub(super) async fn passing(
        &self,
        asked: &Asked<'_>,
        view: &View,
        session: &Session,
    ) -> Result<HashMap<RoomNo, Passing>, Fault> {
        let Some(since) = asked.since else { return Ok(HashMap::new()) };
        let mut own: HashMap<RoomNo, Vec<Shown>> = HashMap::new();
        if session.has_read(since) {
            for (room, shown) in receipts::private_since(view, &asked.request.user, since).await? {
                own.entry(room).or_default().push(shown);
            }
        }
        let joined = own.keys().copied().filter(|room| session.rooms.is_joined(*room));
        let mut wanted: BTreeSet<RoomNo> = joined.collect();
        wanted.extend(session.rooms_passed(since));
        let wanted: Vec<RoomNo> = wanted.into_iter().collect();
        let mut found = HashMap::new();
        for chunk in wanted.chunks(ROOMS) {
            let keys: Vec<_> = chunk.iter().map(|room| (*room,)).collect();
            for (room, row) in chunk.iter().zip(view.get_each(&ROOM, &keys).await?) {
                let Some(row) = self.base.unless_damaged(*room, row)?.flatten() else { continue };
                let own = own.remove(room).unwrap_or_default();
                let whose = (asked.request, &asked.own.ignored);
                let passing = Passing::of(view, *room, &row.room_id, whose, Some(since), own).await;
                let passing = self.base.unless_damaged(*room, passing)?.filter(|passing| !passing.is_empty());
                found.extend(passing.map(|passing| (*room, passing)));
            }
        }
        Ok(found)
    }
}

fn passes(request: &Request, room: &RoomId, kind: &str) -> bool {
    filter::parts(&request.filter.room.ephemeral, room, kind, None, || false)
}

/// What stands under a user in a receipt.
#[derive(Serialize)]
struct Receipt {
    ts: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    thread_id: String,
}

/// By event, type and user.
type Content = BTreeMap<OwnedEventId, BTreeMap<&'static str, BTreeMap<OwnedUserId, Receipt>>>;

/// One event for each thread: within one, a user has one receipt of a type.
fn receipt_events(shown: Vec<Shown>) -> Result<Vec<Raw<AnySyncEphemeralRoomEvent>>, Fault> {
    let mut by_thread: BTreeMap<String, Content> = BTreeMap::new();
    for Shown { user, kind, thread, receipt } in shown {
        let kind = if kind == Kind::Public { "m.read" } else { "m.read.private" };
        let content = by_thread.entry(thread.clone()).or_default();
        let receipts = content.entry(receipt.event_id).or_default().entry(kind).or_default();
        receipts.insert(user, Receipt { ts: receipt.ts_ms, thread_id: thread });
    }
    by_thread.into_values().map(|content| event("m.receipt", &content)).collect()
}

fn event<T>(kind: &str, content: &impl Serialize) -> Result<Raw<T>, Fault> {
    let event = to_raw_value(&json!({ "type": kind, "content": content }));
    event.map(Raw::from_json).map_err(|error| Fault::Bug(format!("our own {kind} is no JSON: {error}")))
}
