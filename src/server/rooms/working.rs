//! A room in the hands of its lane: the head and what was read of the current state, kept between batches.
//!
//! The lane is the room's only writer on this node, and each batch requires the head row as it was read; so what stands
//! here is current as long as the batches commit. After a failed one it is thrown away.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use depesche_rules::{pdu::Pdu, power_levels::PowerLevels, redaction, tree::Node, versions, visibility};
use ruma::{
    OwnedEventId, OwnedUserId, RoomVersionId, UserId, events::room::member::MembershipState,
    room_version_rules::RoomVersionRules,
};

use super::{
    count::{self, Counted},
    relations::Pending,
    state,
    view::RoomView,
    write::Allowed,
};
use crate::{
    event_cache::{EventCache, Known},
    keyspace::{EVENT_NO, EventNo, HEAD, KEY_NO, KeyNo, NodeNo, RoomNo},
    records::{
        reading::Uncounted,
        rooms::{Head, Room, RootRecord, StateKey},
    },
    table::Record,
    tx::{Fault, Tx},
};

/// What is kept of a room's events and state beyond this many entries is dropped between batches.
const KEPT: usize = 4096;
/// The same in bytes of events that make its state.
const KEPT_BYTES: usize = 1024 * 1024;
/// So many bytes of other events may gather before they go: what was said is rarely needed to say the next.
const SAID_BYTES: usize = 64 * 1024;

/// A room in the hands of its lane.
pub struct Working {
    /// The room's number.
    pub no: RoomNo,
    /// What never changes of it.
    pub room: Arc<Room>,
    /// The rules of its version.
    pub rules: &'static RoomVersionRules,
    /// The head as the batch in the making leaves it.
    pub head: Head,
    /// The events of the batch in the making.
    pub appended: u16,
    /// Their bytes.
    pub bytes: usize,
    /// What its events change in the index of relations.
    pub relations: Pending,
    /// Whether its events leave rows for push. Rows are numbered within a batch, so one room of a batch may have them.
    pub tells: bool,
    /// What the rules allowed in the state that stands.
    pub allowed: Allowed,
    /// The stored head; `None` for a room that does not exist yet.
    stored: Option<Head>,
    /// Its bytes, which the batch requires. An older version's are others than it would be written in now.
    stored_bytes: Option<Bytes>,
    state: HashMap<StateKey, Option<EventNo>>,
    keys: HashMap<StateKey, KeyNo>,
    pdus: HashMap<EventNo, Pdu>,
    pdu_bytes: usize,
    /// How many of these were left when the others went.
    needed_bytes: usize,
    nodes: HashMap<NodeNo, Node>,
    levels: Option<(Option<EventNo>, Arc<PowerLevels>)>,
    /// What threads have counted, by their roots.
    counted: HashMap<String, Counted>,
    /// What the events of the batch in the making have counted.
    counts: HashMap<EventNo, Uncounted>,
    /// The events of the batch in the making, as they were signed.
    written: Vec<(EventNo, Known)>,
}

impl Working {
    /// Reads a room that exists.
    pub async fn load(tx: &Tx, no: RoomNo) -> Result<Self, Fault> {
        let view = RoomView::open(tx.view(), no).await?;
        let head = Head::clone(&view.head);
        let stored_bytes = tx.view().get_stored(&HEAD.key(&(no,))).await?;
        Ok(Self { stored: Some(head.clone()), stored_bytes, ..Self::new(no, view.room, view.rules, head) })
    }

    /// A room that is about to be created; its id is known once its first event is built.
    pub fn create(no: RoomNo, room: Room) -> Option<Self> {
        let rules = versions::room_version_rules(&room.version)?;
        let head = Head { next_event: 1, next_key: 1, next_node: 1, ..Head::default() };
        Some(Self::new(no, Arc::new(room), rules, head))
    }

    fn new(no: RoomNo, room: Arc<Room>, rules: &'static RoomVersionRules, head: Head) -> Self {
        Self {
            no,
            room,
            rules,
            head,
            appended: 0,
            bytes: 0,
            relations: Pending::default(),
            tells: true,
            allowed: Allowed::default(),
            stored: None,
            stored_bytes: None,
            state: HashMap::new(),
            keys: HashMap::new(),
            pdus: HashMap::new(),
            pdu_bytes: 0,
            needed_bytes: 0,
            nodes: HashMap::new(),
            levels: None,
            counted: HashMap::new(),
            counts: HashMap::new(),
            written: Vec::new(),
        }
    }

    /// Puts the requirement of the stored head into a batch that begins.
    pub fn begin(&mut self, tx: &Tx) {
        tx.assume_stored(HEAD.key(&(self.no,)), self.stored_bytes.clone());
        self.appended = 0;
        self.bytes = 0;
        self.counts.clear();
        self.written.clear();
        if self.pdu_bytes > self.needed_bytes + SAID_BYTES {
            self.drop_said();
        }
        let entries = self.pdus.len().max(self.state.len()).max(self.nodes.len()).max(self.counted.len());
        let entries = entries.max(self.allowed.count());
        if entries > KEPT || self.pdu_bytes > KEPT_BYTES {
            self.state.clear();
            self.pdus.clear();
            (self.pdu_bytes, self.needed_bytes) = (0, 0);
            self.nodes.clear();
            self.keys.clear();
            self.counted.clear();
            self.allowed.clear();
        }
    }

    /// Drops the events that neither make the state, as far as it is known, nor end the room.
    fn drop_said(&mut self) {
        let needed: HashSet<EventNo> = self.state.values().flatten().chain(&self.head.extremities).copied().collect();
        self.pdus.retain(|no, _| needed.contains(no));
        self.pdu_bytes = self.pdus.values().map(|pdu| pdu.json().len()).sum();
        self.needed_bytes = self.pdu_bytes;
    }

    /// The stored head when the batch began.
    pub fn before(&self) -> Option<&Head> {
        self.stored.as_ref()
    }

    /// The batch was committed: what it left is what is stored, and its events will be asked for at once.
    pub fn committed(&mut self, events: &EventCache) {
        for (no, known) in self.written.drain(..) {
            events.put(self.no, no, known);
        }
        self.stored_bytes = Some(self.head.encode());
        self.stored = Some(self.head.clone());
    }

    /// The room's version.
    pub fn version(&self) -> &RoomVersionId {
        &self.room.version
    }

    /// The event that sets a state now.
    pub async fn state_no(&mut self, tx: &Tx, kind: &str, state_key: &str) -> Result<Option<EventNo>, Fault> {
        let key = StateKey { kind: kind.to_owned(), state_key: state_key.to_owned() };
        if let Some(known) = self.state.get(&key) {
            return Ok(*known);
        }
        let found = match self.key_no(tx, &key).await? {
            Some(no) => state::Tree::of(tx.view(), self.no, &self.nodes).get(self.head.root, no).await?,
            None => None,
        };
        self.state.insert(key, found);
        Ok(found)
    }

    /// The event that sets a state now, read.
    pub async fn state(&mut self, tx: &Tx, kind: &str, state_key: &str) -> Result<Option<Pdu>, Fault> {
        match self.state_no(tx, kind, state_key).await? {
            Some(no) => self.pdu(tx, no).await.map(Some),
            None => Ok(None),
        }
    }

    /// A user's membership now.
    pub async fn membership(&mut self, tx: &Tx, user: &UserId) -> Result<Option<MembershipState>, Fault> {
        let event = self.state(tx, "m.room.member", user.as_str()).await?;
        Ok(event.map(|event| visibility::membership(Some(&event))))
    }

    /// The power levels now; `None` while the room has no create event.
    pub async fn power_levels(&mut self, tx: &Tx) -> Result<Option<Arc<PowerLevels>>, Fault> {
        let event = self.state_no(tx, "m.room.power_levels", "").await?;
        if let Some((of, levels)) = &self.levels
            && *of == event
        {
            return Ok(Some(Arc::clone(levels)));
        }
        let Some(create) = self.state(tx, "m.room.create", "").await? else { return Ok(None) };
        let event_pdu = match event {
            Some(no) => Some(self.pdu(tx, no).await?),
            None => None,
        };
        let levels = PowerLevels::new(&create, event_pdu.as_ref(), self.rules)
            .map_err(|why| Fault::Bug(format!("accepted power levels cannot be read: {why}")))?;
        let levels = Arc::new(levels);
        self.levels = Some((event, Arc::clone(&levels)));
        Ok(Some(levels))
    }

    /// The ids of events, for the `prev_events` of one to build.
    pub async fn ids(&mut self, tx: &Tx, numbers: &[EventNo]) -> Result<Vec<OwnedEventId>, Fault> {
        let mut ids = Vec::with_capacity(numbers.len());
        for no in numbers {
            ids.push(self.pdu(tx, *no).await?.event_id().clone());
        }
        Ok(ids)
    }

    /// An event of the room, parsed; without its unprotected content if it was redacted.
    pub async fn pdu(&mut self, tx: &Tx, no: EventNo) -> Result<Pdu, Fault> {
        if let Some(pdu) = self.pdus.get(&no) {
            return Ok(pdu.clone());
        }
        let view = self.view(tx);
        let pdu = view.readable(view.event(no).await?)?;
        self.keep(no, pdu.clone());
        Ok(pdu)
    }

    /// An event of the room as it was signed, even if it was redacted since.
    pub async fn signed(&mut self, tx: &Tx, no: EventNo) -> Result<Pdu, Fault> {
        if self.before().is_some_and(|head| no < head.next_event) {
            return Ok(self.view(tx).event(no).await?.pdu);
        }
        // Of the batch in the making: there is no other text of it yet.
        self.pdu(tx, no).await
    }

    /// The events as they are stored. Its head is none.
    fn view(&self, tx: &Tx) -> RoomView {
        let (view, room, head) = (tx.view().clone(), Arc::clone(&self.room), Arc::new(Head::default()));
        RoomView { view, no: self.no, room, rules: self.rules, head }
    }

    /// Remembers that an event lost what its version does not protect: nothing is judged by it any more.
    pub fn forget_content(&mut self, no: EventNo) -> Result<(), Fault> {
        self.levels = None;
        self.allowed.clear();
        let Some(pdu) = self.pdus.get(&no) else { return Ok(()) };
        let redacted = redaction::redact(pdu, self.rules)
            .map_err(|why| Fault::Bug(format!("event {} cannot be redacted: {why}", pdu.event_id())))?;
        self.keep(no, redacted);
        Ok(())
    }

    /// Users whose membership the room ever held, at most `limit` of those behind `after`, in the order of their names.
    /// Those of the batch in the making are left out.
    pub async fn member_names(
        &mut self,
        tx: &Tx,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<OwnedUserId>, Fault> {
        let kind = "m.room.member".to_owned();
        let range = match after {
            Some(after) => KEY_NO.behind(&(self.no, kind.clone()), &(self.no, kind, after.to_string())),
            None => KEY_NO.under(&(self.no, kind)),
        };
        let rows = tx.view().scan(&KEY_NO, range, limit).await?;
        Ok(rows.into_iter().filter_map(|((_, _, user), _)| user.try_into().ok()).collect())
    }

    /// The number of an event of this room, those of the batch included.
    pub async fn event_no(&self, tx: &Tx, id: &OwnedEventId) -> Result<Option<EventNo>, Fault> {
        // Peeked: an event's number never changes once it has one.
        let found = tx.peek(&EVENT_NO, &(id.clone(),)).await?;
        Ok(found.filter(|(room, _)| *room == self.no).map(|(_, event)| event))
    }

    /// Remembers an event that the batch appends, and the state it sets.
    pub fn remember(&mut self, no: EventNo, pdu: &Pdu, root_before: RootRecord, key: Option<StateKey>) {
        self.written.push((no, Known { pdu: pdu.clone(), root_before: Some(root_before), meta: None }));
        self.keep(no, pdu.clone());
        if let Some(key) = key {
            self.state.insert(key, Some(no));
        }
    }

    fn keep(&mut self, no: EventNo, pdu: Pdu) {
        self.pdu_bytes += pdu.json().len();
        if let Some(before) = self.pdus.insert(no, pdu) {
            self.pdu_bytes -= before.json().len();
        }
    }

    /// The number of a state key, if it has one.
    pub async fn key_no(&mut self, tx: &Tx, key: &StateKey) -> Result<Option<KeyNo>, Fault> {
        if let Some(no) = self.keys.get(key) {
            return Ok(Some(*no));
        }
        // Read past the batch: its own numbers are remembered, and the head row fences those of others.
        let found = tx.view().get(&KEY_NO, &(self.no, key.kind.clone(), key.state_key.clone())).await?;
        if let Some(no) = found {
            self.keys.insert(key.clone(), no);
        }
        Ok(found)
    }

    /// Remembers the number that the batch gives to a state key.
    pub fn remember_key(&mut self, key: StateKey, no: KeyNo) {
        self.keys.insert(key, no);
    }

    /// What a thread (empty: the main timeline) has counted, the batch in the making included.
    pub async fn counted(&mut self, tx: &Tx, thread: &str) -> Result<Counted, Fault> {
        if thread.is_empty() {
            // Its newest ordinal is not asked for: the main timeline is in no list of threads.
            return Ok(Counted { tally: self.head.main, newest: 0 });
        }
        if let Some(counted) = self.counted.get(thread) {
            return Ok(*counted);
        }
        let found = count::counted_at(tx.view(), self.no, thread, u32::MAX - 1).await?.unwrap_or_default();
        self.counted.insert(thread.to_owned(), found);
        Ok(found)
    }

    /// Remembers what a thread has counted with the batch in the making.
    pub fn remember_counted(&mut self, thread: String, counted: Counted) {
        self.counted.insert(thread, counted);
    }

    /// What an event of the batch in the making has counted.
    pub fn count_of(&self, no: EventNo) -> Option<Uncounted> {
        self.counts.get(&no).cloned()
    }

    /// Remembers what an event of the batch in the making counts.
    pub fn remember_count(&mut self, no: EventNo, counts: Uncounted) {
        self.counts.insert(no, counts);
    }

    /// The nodes of the state tree that are in memory, those of the batch in the making included.
    pub fn nodes(&mut self) -> &mut HashMap<NodeNo, Node> {
        &mut self.nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, user};

    #[tokio::test]
    async fn what_was_said_goes_and_what_makes_the_state_stays() {
        let (server, alice) = (Fixture::new(), user("alice"));
        let room = server.room(&alice).await;
        for n in 0..100 {
            server.say(&room, &alice, &format!("{n}{}", "x".repeat(1000))).await;
        }
        let no = server.rooms.find(&room).await.unwrap().expect("the room").no;
        let tx = server.base.tx();
        let mut working = Working::load(&tx, no).await.unwrap();
        for kind in ["m.room.create", "m.room.power_levels"] {
            working.state(&tx, kind, "").await.unwrap().expect("it is set");
        }
        let text = |working: &Working| working.pdus.values().map(|pdu| pdu.json().len()).sum::<usize>();
        for (event, gone) in [(working.head.next_event - 20, false), (working.head.next_event - 90, true)] {
            for event in event..working.head.next_event {
                working.pdu(&tx, event).await.unwrap();
            }
            working.begin(&tx);
            assert_eq!(working.pdus.len() == 3, gone, "two of the state, and the newest");
            assert_eq!(working.pdu_bytes, text(&working));
        }
    }
}
