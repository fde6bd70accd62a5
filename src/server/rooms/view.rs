//! One room as one snapshot shows it: head, state, events, timeline. Reads only; never writes.

use std::sync::Arc;

use bytes::Bytes;
use depesche_rules::{pdu::Pdu, power_levels::PowerLevels, versions};
use depesche_store::{MAX_SCAN, Position, Range};
use ruma::{
    EventId, OwnedEventId, RoomId, UserId, events::room::member::MembershipState, room_version_rules::RoomVersionRules,
};

use super::state;
use crate::{
    event_cache::Known,
    keyspace::{
        EVENT, EVENT_NO, EventNo, HEAD, KEY, KEY_NO, KeyNo, MEMBER, META, PUBLISHED, ROOM, ROOM_NO, ROOT_AT,
        ROOT_BEFORE, RoomNo, TIMELINE,
    },
    records::{
        events::{Meta, Place},
        rooms::{Head, Membership, Room, RootRecord, StateKey},
    },
    table::{Record, Table},
    tx::{Fault, Pages, View},
};

/// From so many rows on, reading them in one go is less work than finding each, or stepping back from each to the next.
const RUN: usize = 4;

/// One room as one snapshot shows it. Cloning is cheap.
#[derive(Clone)]
pub struct RoomView {
    /// The snapshot.
    pub view: View,
    /// The room's number.
    pub no: RoomNo,
    /// What never changes of it.
    pub room: Arc<Room>,
    /// The rules of its version.
    pub rules: &'static RoomVersionRules,
    /// What appends change.
    pub head: Arc<Head>,
}

/// A stored event with what the server knows of it.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its number in the room.
    pub no: EventNo,
    /// The event as signed.
    pub pdu: Pdu,
    /// What the server knows of it.
    pub meta: Arc<Meta>,
}

impl RoomView {
    /// The room of this id; `None` if the server does not know it.
    pub async fn find(view: &View, room: &RoomId) -> Result<Option<Self>, Fault> {
        match view.get(&ROOM_NO, &(room.to_owned(),)).await? {
            Some(no) => Self::open(view, no).await.map(Some),
            None => Ok(None),
        }
    }

    /// The room of this number, which must exist.
    pub async fn open(view: &View, no: RoomNo) -> Result<Self, Fault> {
        Self::of(view, no, view.get(&ROOM, &(no,)).await?, view.get(&HEAD, &(no,)).await?)
    }

    /// The room of this number from its rows, which must exist.
    pub fn of(view: &View, no: RoomNo, room: Option<Room>, head: Option<Head>) -> Result<Self, Fault> {
        let missing = |what| Fault::Bug(format!("room {no} has no {what}"));
        let (room, head) = (room.ok_or_else(|| missing("room row"))?, head.ok_or_else(|| missing("head"))?);
        let rules = versions::room_version_rules(&room.version).ok_or_else(|| missing("known version"))?;
        Ok(Self { view: view.clone(), no, room: Arc::new(room), rules, head: Arc::new(head) })
    }

    /// The room's id.
    pub fn room_id(&self) -> &RoomId {
        &self.room.room_id
    }

    /// The current state.
    pub fn root(&self) -> RootRecord {
        self.head.root
    }

    /// The state after all commits at or below a position.
    pub async fn root_at(&self, position: Position) -> Result<RootRecord, Fault> {
        let range = ROOT_AT.before(&(self.no,), &(self.no, Position(position.0.saturating_add(1))));
        let rows = self.view.scan_back(&ROOT_AT, range, 1).await?;
        Ok(rows.first().map_or_else(RootRecord::default, |(_, root)| *root))
    }

    /// The state before an event.
    pub async fn root_before(&self, event: EventNo) -> Result<RootRecord, Fault> {
        let root = self.roots_before(&[event]).await?.pop().flatten();
        root.ok_or_else(|| Fault::Bug(format!("event {event} of room {} has no state before it", self.no)))
    }

    /// The number of a pair of event type and state key, if the room ever had it.
    pub async fn key_no(&self, kind: &str, state_key: &str) -> Result<Option<KeyNo>, Fault> {
        self.view.get(&KEY_NO, &(self.no, kind.to_owned(), state_key.to_owned())).await
    }

    /// The pairs behind numbers, in the order asked.
    pub async fn keys(&self, numbers: &[KeyNo]) -> Result<Vec<StateKey>, Fault> {
        let keys: Vec<_> = numbers.iter().map(|no| (self.no, *no)).collect();
        let found = self.view.get_many(&KEY, &keys).await?;
        found.into_iter().map(|key| key.ok_or_else(|| Fault::Bug("a state key has no name".into()))).collect()
    }

    /// The event that sets a state in the tree below a root.
    pub async fn state_no(&self, root: RootRecord, kind: &str, state_key: &str) -> Result<Option<EventNo>, Fault> {
        match self.key_no(kind, state_key).await? {
            Some(key) => self.tree().get(root, key).await,
            None => Ok(None),
        }
    }

    /// The event that sets a state in the tree below a root, read.
    pub async fn state_event(&self, root: RootRecord, kind: &str, state_key: &str) -> Result<Option<Event>, Fault> {
        match self.state_no(root, kind, state_key).await? {
            Some(no) => self.event(no).await.map(Some),
            None => Ok(None),
        }
    }

    /// The power levels now; `None` while the room has no create event.
    pub async fn power_levels(&self) -> Result<Option<PowerLevels>, Fault> {
        let Some(create) = self.state_event(self.root(), "m.room.create", "").await? else { return Ok(None) };
        let event = self.state_event(self.root(), "m.room.power_levels", "").await?;
        let create = self.readable(create)?;
        let event = event.map(|event| self.readable(event)).transpose()?;
        let levels = PowerLevels::new(&create, event.as_ref(), self.rules)
            .map_err(|why| Fault::Bug(format!("accepted power levels cannot be read: {why}")))?;
        Ok(Some(levels))
    }

    /// The whole state below a root, by key number.
    pub async fn state_all(&self, root: RootRecord) -> Result<Vec<(KeyNo, EventNo)>, Fault> {
        self.tree().all(root).await
    }

    /// A state but for its members, by key number. Costs what it returns, however many members there are.
    pub async fn state_without_members(&self, root: RootRecord) -> Result<Vec<(KeyNo, EventNo)>, Fault> {
        let (all, members) = (KEY_NO.under(&(self.no,)), KEY_NO.under(&(self.no, "m.room.member".to_owned())));
        let mut keys = Vec::new();
        for others in [Range::new(all.from, members.from), Range::new(members.to, all.to)] {
            let mut pages = Pages::new(&KEY_NO, others, MAX_SCAN);
            while let Some(rows) = pages.next(&self.view).await? {
                keys.extend(rows.into_iter().map(|(_, no)| no));
            }
        }
        let found = self.tree().get_many(root, &keys).await?;
        Ok(keys.into_iter().zip(found).filter_map(|(key, event)| Some((key, event?))).collect())
    }

    /// What differs between two roots: key, before, after. Costs what differs, not what the room holds.
    pub async fn state_changes(
        &self,
        before: RootRecord,
        after: RootRecord,
    ) -> Result<Vec<(KeyNo, Option<EventNo>, Option<EventNo>)>, Fault> {
        self.tree().changes(before, after).await
    }

    /// An event by its number, which must exist.
    pub async fn event(&self, no: EventNo) -> Result<Event, Fault> {
        self.events(&[no]).await?.pop().ok_or_else(|| Fault::Bug("one event asked, none answered".into()))
    }

    /// Events by their numbers, which must exist, in the order asked.
    pub async fn events(&self, numbers: &[EventNo]) -> Result<Vec<Event>, Fault> {
        let (known, others) = self.in_memory(numbers);
        let metas = self.view.get_many(&META.stored(), &self.keys_of(numbers)).await?;
        let texts = self.view.get_many(&EVENT, &self.keys_of(&others)).await?;
        self.put_together(numbers, metas, known, texts)
    }

    /// As [`Self::events`], of a stretch of the timeline, each once: most of their rows are neighbours.
    pub async fn stretch(&self, numbers: &[EventNo]) -> Result<Vec<Event>, Fault> {
        let (known, others) = self.in_memory(numbers);
        let metas = self.neighbours(&META.stored(), numbers).await?;
        let texts = self.neighbours(&EVENT, &others).await?;
        self.put_together(numbers, metas, known, texts)
    }

    /// Of each event what is in memory, and the numbers of those that are not there.
    fn in_memory(&self, numbers: &[EventNo]) -> (Vec<Option<Known>>, Vec<EventNo>) {
        let known: Vec<_> = numbers.iter().map(|no| self.known(*no)).collect();
        let others = numbers.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(no, _)| *no).collect();
        (known, others)
    }

    /// What is in memory of an event.
    fn known(&self, no: EventNo) -> Option<Known> {
        self.view.events()?.get(self.no, no)
    }

    /// Events from what is stored of what the server knows of them, and the texts of those that are not in memory.
    fn put_together(
        &self,
        numbers: &[EventNo],
        metas: Vec<Option<Bytes>>,
        known: Vec<Option<Known>>,
        texts: Vec<Option<Bytes>>,
    ) -> Result<Vec<Event>, Fault> {
        let mut events = Vec::with_capacity(numbers.len());
        let mut texts = texts.into_iter();
        for ((&no, stored), known) in numbers.iter().zip(metas).zip(known) {
            let missing = || Fault::Bug(format!("event {no} of room {} is not stored", self.no));
            let stored = stored.ok_or_else(missing)?;
            if let Some(Known { pdu, meta: Some((bytes, meta)), .. }) = &known
                && *bytes == stored
            {
                events.push(Event { no, pdu: pdu.clone(), meta: Arc::clone(meta) });
                continue;
            }
            let corrupt = || Fault::Corrupt { table: META.name, key: META.key(&(self.no, no)) };
            let meta = Arc::new(Meta::decode(&stored).ok_or_else(corrupt)?);
            let (pdu, root_before) = match known {
                Some(known) => (known.pdu, known.root_before),
                None => (self.parse(&texts.next().flatten().ok_or_else(missing)?, &meta.facts.event_id)?, None),
            };
            if let Some(cache) = self.view.events() {
                let meta = Some((stored, Arc::clone(&meta)));
                cache.put(self.no, no, Known { pdu: pdu.clone(), root_before, meta });
            }
            events.push(Event { no, pdu, meta });
        }
        Ok(events)
    }

    fn keys_of(&self, numbers: &[EventNo]) -> Vec<(RoomNo, EventNo)> {
        numbers.iter().map(|no| (self.no, *no)).collect()
    }

    /// What the server knows of events, without their texts.
    pub async fn metas(&self, numbers: &[EventNo]) -> Result<Vec<Meta>, Fault> {
        let metas = self.view.get_many(&META, &self.keys_of(numbers)).await?;
        metas.into_iter().map(|meta| meta.ok_or_else(|| Fault::Bug("an event has no facts".into()))).collect()
    }

    /// The event of this id, if it is in this room.
    pub async fn event_no(&self, id: &EventId) -> Result<Option<EventNo>, Fault> {
        let found = self.view.get(&EVENT_NO, &(id.to_owned(),)).await?;
        Ok(found.filter(|(room, _)| *room == self.no).map(|(_, event)| event))
    }

    /// At most `limit` events at or after a place, oldest first.
    pub async fn timeline_from(&self, from: Place, limit: usize) -> Result<Vec<(Place, EventNo)>, Fault> {
        let rows = self.view.scan(&TIMELINE, TIMELINE.from(&(self.no,), &self.timeline_key(from)), limit).await?;
        Ok(stands(rows))
    }

    /// At most `limit` events before a place, newest first.
    pub async fn timeline_before(&self, before: Place, limit: usize) -> Result<Vec<(Place, EventNo)>, Fault> {
        if limit >= RUN
            && let Some(rows) = self.run_before(before, limit).await?
        {
            return Ok(rows);
        }
        self.steps_before(before, limit).await
    }

    async fn steps_before(&self, before: Place, limit: usize) -> Result<Vec<(Place, EventNo)>, Fault> {
        let range = TIMELINE.before(&(self.no,), &self.timeline_key(before));
        Ok(stands(self.view.scan_back(&TIMELINE, range, limit).await?))
    }

    /// As [`Self::steps_before`], read forwards: for each step backwards the engine searches its write buffer, and a step
    /// forwards is a fraction of that. Events mostly stand in the order of their numbers, so where to begin is guessed by
    /// those; `None` where the guess is wrong.
    async fn run_before(&self, before: Place, limit: usize) -> Result<Option<Vec<(Place, EventNo)>>, Fault> {
        let newest = if before >= Self::place_after(self.view.position()) {
            self.head.next_event.saturating_sub(1)
        } else {
            self.steps_before(before, 1).await?.first().map_or(0, |(_, no)| *no)
        };
        let oldest = newest.saturating_sub(EventNo::try_from(limit - 1).unwrap_or(EventNo::MAX)).max(1);
        let Some(oldest) = self.view.get(&META, &(self.no, oldest)).await? else { return Ok(None) };
        if oldest.place >= before {
            return Ok(None);
        }
        let range = TIMELINE.between(&self.timeline_key(oldest.place), &self.timeline_key(before));
        let mut rows = stands(self.view.scan(&TIMELINE, range, limit + 1).await?);
        if rows.is_empty() || rows.len() > limit {
            return Ok(None);
        }
        rows.reverse();
        if rows.len() < limit {
            rows.extend(self.steps_before(oldest.place, limit - rows.len()).await?);
        }
        Ok(Some(rows))
    }

    /// At most `limit` events from a place on and before another, newest first.
    pub async fn timeline_between(
        &self,
        from: Place,
        before: Place,
        limit: usize,
    ) -> Result<Vec<(Place, EventNo)>, Fault> {
        let range = TIMELINE.between(&self.timeline_key(from), &self.timeline_key(before));
        if limit < RUN {
            return Ok(stands(self.view.scan_back(&TIMELINE, range, limit).await?));
        }
        if from == Place::START {
            return self.timeline_before(before, limit).await;
        }
        // Mostly there are few, and forwards they are read for less.
        let mut rows = stands(self.view.scan(&TIMELINE, range, limit).await?);
        if rows.len() < limit {
            rows.reverse();
            return Ok(rows);
        }
        rows = self.timeline_before(before, limit).await?;
        rows.retain(|(place, _)| *place >= from);
        Ok(rows)
    }

    /// The place behind every event at or below a position.
    pub fn place_after(position: Position) -> Place {
        Place { anchor: Position(position.0.saturating_add(1)), sub: 0, back: i32::MIN }
    }

    /// A user's own relation to the room.
    pub async fn membership(&self, user: &UserId) -> Result<Option<Membership>, Fault> {
        self.view.get(&MEMBER, &(user.to_owned(), self.no)).await
    }

    /// Whether the room is in the published directory.
    pub async fn is_published(&self) -> Result<bool, Fault> {
        Ok(self.view.get(&PUBLISHED, &(self.no,)).await?.is_some())
    }

    /// Whether a user is joined now.
    pub async fn is_joined(&self, user: &UserId) -> Result<bool, Fault> {
        Ok(self.membership(user).await?.is_some_and(|member| member.state == MembershipState::Join))
    }

    /// The states before the events of a stretch of the timeline, each once, in the order asked; `None` where there is no
    /// such event.
    pub async fn roots_before(&self, events: &[EventNo]) -> Result<Vec<Option<RootRecord>>, Fault> {
        let known: Vec<_> = events.iter().map(|no| self.known(*no)).collect();
        let in_memory: Option<Vec<_>> = known.iter().map(|known| Some(Some(known.as_ref()?.root_before?))).collect();
        if let Some(roots) = in_memory {
            return Ok(roots);
        }
        let roots = self.neighbours(&ROOT_BEFORE, events).await?;
        for ((no, root), known) in events.iter().zip(&roots).zip(known) {
            if let (Some(cache), Some(known)) = (self.view.events(), known) {
                cache.put(self.no, *no, Known { root_before: *root, ..known });
            }
        }
        Ok(roots)
    }

    /// Rows of which most are neighbours and each is asked for once, in the order asked. They are read in one go: to step
    /// from one row to the next is a fraction of finding it.
    async fn neighbours<V: Record>(
        &self,
        table: &Table<(RoomNo, EventNo), V>,
        numbers: &[EventNo],
    ) -> Result<Vec<Option<V>>, Fault> {
        let one_by_one = async || self.view.get_many(table, &self.keys_of(numbers)).await;
        let (Some(first), Some(last)) = (numbers.iter().min(), numbers.iter().max()) else { return Ok(Vec::new()) };
        let Some(end) = last.checked_add(1) else { return one_by_one().await };
        let width = (end - first) as usize;
        if numbers.len() < RUN || width > numbers.len() + numbers.len() / 4 || width > MAX_SCAN {
            return one_by_one().await;
        }
        let mut found: Vec<Option<V>> = std::iter::repeat_with(|| None).take(width).collect();
        for ((_, no), value) in self.view.scan(table, table.between(&(self.no, *first), &(self.no, end)), width).await?
        {
            found[(no - first) as usize] = Some(value);
        }
        Ok(numbers.iter().map(|no| found[(no - first) as usize].take()).collect())
    }

    fn tree(&self) -> state::Tree<'_> {
        state::Tree::stored(&self.view, self.no)
    }

    fn timeline_key(&self, place: Place) -> (RoomNo, Position, u16, i32) {
        (self.no, place.anchor, place.sub, place.back)
    }

    fn parse(&self, text: &[u8], id: &OwnedEventId) -> Result<Pdu, Fault> {
        let unreadable = |why: String| Fault::Bug(format!("event {id} cannot be read: {why}"));
        let text = std::str::from_utf8(text).map_err(|why| unreadable(why.to_string()))?;
        Pdu::from_stored(text.into(), id.clone(), self.rules).map_err(|why| unreadable(why.to_string()))
    }
}

/// Rows of the timeline as events and where they stand.
fn stands(rows: Vec<((RoomNo, Position, u16, i32), EventNo)>) -> Vec<(Place, EventNo)> {
    rows.into_iter().map(|((_, anchor, sub, back), no)| (Place { anchor, sub, back }, no)).collect()
}
