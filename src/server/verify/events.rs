//! The events of a room: all their rows, their order, and the state from one to the next.

use bytes::Bytes;
use depesche_rules::pdu::Pdu;

use super::{Check, rows::Rows};
use crate::{
    keyspace::{EVENT, EVENT_NO, EventNo, KEY, META, ROOT_AT, ROOT_BEFORE, TIMELINE},
    records::{
        events::{Meta, Place, Status},
        rooms::{RootRecord, StateKey},
    },
    rooms::view::RoomView,
    tx::Fault,
};

/// An event and what was found of it.
struct Found {
    no: EventNo,
    text: Bytes,
    meta: Meta,
    root: Option<RootRecord>,
    key: Option<StateKey>,
}

impl Found {
    /// The event, if it is part of the room, not redacted, and may be about another.
    fn about_another(&self, room: &RoomView) -> Option<Pdu> {
        let facts = &self.meta.facts;
        let text = std::str::from_utf8(&self.text).ok()?;
        let counts = facts.status == Status::Accepted && facts.redacted_by.is_none();
        let may_be = counts && text.contains("m.relates_to");
        may_be.then(|| Pdu::from_stored(text.into(), facts.event_id.clone(), room.rules).ok()).flatten()
    }
}

impl Check<'_> {
    /// Events by number: without a gap, each with all its rows.
    pub(super) async fn check_events(&mut self, room: &RoomView) -> Result<(), Fault> {
        let (no, end) = (room.no, room.head.next_event);
        let mut next = 1;
        let mut rows = Rows::new(&EVENT, EVENT.under(&(no,)));
        while let Some(page) = rows.next(self).await? {
            let numbers: Vec<_> = page.iter().map(|((_, event), _)| *event).collect();
            for event in &numbers {
                self.holds(*event == next, || format!("room {no}: event {event} follows event {}", next - 1));
                next = event + 1;
            }
            let found = self.find(room, page).await?;
            self.check_index(room, &found).await?;
            self.check_steps(room, &found).await?;
            for event in &found {
                self.check_event(room, event);
            }
            let about = found.iter().filter_map(|event| Some((event.no, event.about_another(room)?, event.meta.place)));
            self.check_listed(no, &about.collect::<Vec<_>>()).await?;
            self.report.checked.events += numbers.len() as u64;
            *self.events.entry(no).or_default() += i64::try_from(numbers.len()).unwrap_or(i64::MAX);
        }
        self.holds(next == end, || format!("room {no}: the last event is {}, the head says {}", next - 1, end - 1));
        for stray in self.view.scan(&META, META.from(&(no,), &(no, next)), 1).await? {
            self.problem(|| format!("room {no}: event {} has facts but no text", stray.0.1));
        }
        Ok(())
    }

    /// Adds what stands in other tables.
    async fn find(&mut self, room: &RoomView, page: Vec<((u64, EventNo), Bytes)>) -> Result<Vec<Found>, Fault> {
        let keys: Vec<_> = page.iter().map(|(key, _)| *key).collect();
        let metas = self.get_all(&META, &keys).await?;
        let roots = self.get_all(&ROOT_BEFORE, &keys).await?;
        let mut found = Vec::with_capacity(page.len());
        for ((((_, no), text), meta), root) in page.into_iter().zip(metas).zip(roots) {
            self.holds(root.is_some(), || format!("room {}: no state before event {no}", room.no));
            match meta {
                Some(meta) => found.push(Found { no, text, meta, root, key: None }),
                None => self.problem(|| format!("room {}: no facts of event {no}", room.no)),
            }
        }
        let keys: Vec<_> = found.iter().filter_map(|event| Some((room.no, event.meta.facts.key?))).collect();
        let mut keys = self.get_all(&KEY, &keys).await?.into_iter();
        for event in found.iter_mut().filter(|event| event.meta.facts.key.is_some()) {
            event.key = keys.next().flatten();
        }
        Ok(found)
    }

    /// Each event is found by its id, and if it is part of the room at its place in the timeline.
    async fn check_index(&mut self, room: &RoomView, found: &[Found]) -> Result<(), Fault> {
        let ids: Vec<_> = found.iter().map(|event| (event.meta.facts.event_id.clone(),)).collect();
        for (event, at) in found.iter().zip(self.get_all(&EVENT_NO, &ids).await?) {
            let right = at == Some((room.no, event.no));
            self.holds(right, || format!("room {}: the id of event {} leads to {at:?}", room.no, event.no));
        }
        let placed: Vec<_> = found.iter().filter(|event| event.meta.facts.status == Status::Accepted).collect();
        let places: Vec<_> = placed.iter().map(|event| key(room, event.meta.place)).collect();
        for (event, at) in placed.into_iter().zip(self.get_all(&TIMELINE, &places).await?) {
            let right = at == Some(event.no);
            self.holds(right, || format!("room {}: in the place of event {} stands {at:?}", room.no, event.no));
        }
        Ok(())
    }

    /// The text, the numbers it leads to, and the state it sets.
    fn check_event(&mut self, room: &RoomView, event: &Found) {
        let (in_room, no, facts) = (room.no, event.no, &event.meta.facts);
        let earlier = |numbers: &[EventNo]| numbers.iter().all(|number| (1..no).contains(number));
        self.holds(earlier(&facts.auth), || format!("room {in_room}: event {no} is authorised by a later one"));
        let known = |number: &EventNo| (1..room.head.next_event).contains(number);
        let named = facts.prev.iter().chain(&facts.redacted_by).all(known);
        self.holds(named, || format!("room {in_room}: event {no} names an event that is not there"));
        let followed = facts.prev.iter().any(|prev| room.head.extremities.contains(prev));
        self.holds(!followed, || format!("room {in_room}: event {no} follows an end of the room"));

        let text = std::str::from_utf8(&event.text).unwrap_or_default();
        let Ok(pdu) = Pdu::from_stored(text.into(), facts.event_id.clone(), room.rules) else {
            return self.problem(|| format!("room {in_room}: event {no} cannot be read"));
        };
        let key = event.key.as_ref().map(|key| (key.kind.as_str(), key.state_key.as_str()));
        let kind = pdu.kind().to_string();
        let right = key == pdu.state_key().map(|state_key| (kind.as_str(), state_key));
        self.holds(right, || format!("room {in_room}: event {no} is kept under another state key"));
        let here = pdu.room_id() == room.room_id();
        self.holds(here, || format!("room {in_room}: event {no} is of another room"));
        let deep = pdu.depth() <= room.head.depth;
        self.holds(deep, || format!("room {in_room}: event {no} is deeper than the room"));
    }

    /// Where an event follows one other, the state before it is the state before the other with that one applied.
    async fn check_steps(&mut self, room: &RoomView, found: &[Found]) -> Result<(), Fault> {
        let follows = |event: &Found| match event.meta.facts.prev.as_slice() {
            [one] => Some((room.no, *one)),
            _ => None,
        };
        let keys: Vec<_> = found.iter().filter_map(follows).collect();
        let roots = self.get_all(&ROOT_BEFORE, &keys).await?;
        let metas = self.get_all(&META, &keys).await?;
        let pairs = found.iter().filter(|event| follows(event).is_some()).zip(&keys).zip(roots).zip(metas);
        for (((event, (_, previous)), before), meta) in pairs {
            let (Some(before), Some(after), Some(meta)) = (before, event.root, meta) else { continue };
            let applied = matches!(meta.facts.status, Status::Accepted | Status::SoftFailed);
            let expected: Vec<_> =
                meta.facts.key.filter(|_| applied).map(|key| (key, Some(*previous))).into_iter().collect();
            let changes = self.changes(room, before, after).await?;
            self.holds(changes == expected, || {
                format!(
                    "room {}: from event {previous} to event {} other state changed than that of the first",
                    room.no, event.no
                )
            });
        }
        Ok(())
    }

    /// Every row of the timeline is where its event says. Where an event was made on the one before it, the state kept
    /// for that moment is the state before it; the newest of those kept is the room's.
    pub(super) async fn check_timeline(&mut self, room: &RoomView) -> Result<(), Fault> {
        let mut last: Option<(Place, EventNo)> = None;
        let mut rows = Rows::new(&TIMELINE, TIMELINE.under(&(room.no,)));
        while let Some(page) = rows.next(self).await? {
            let keys: Vec<_> = page.iter().map(|(_, event)| (room.no, *event)).collect();
            let metas = self.get_all(&META, &keys).await?;
            let roots = self.get_all(&ROOT_BEFORE, &keys).await?;
            for ((((_, anchor, sub, back), no), meta), root) in page.into_iter().zip(metas).zip(roots) {
                let place = Place { anchor, sub, back };
                let right = meta.as_ref().is_some_and(|meta| meta.place == place);
                self.holds(right, || format!("room {}: event {no} is in the timeline at a place not its own", room.no));
                let linear = |last: EventNo| meta.as_ref().is_some_and(|meta| meta.facts.prev == [last]);
                if let Some((before, last)) = last
                    && back == 0
                    && before.anchor < anchor
                    && linear(last)
                {
                    let kept = room.root_at(before.anchor).await?;
                    let same = root == Some(kept);
                    self.holds(same, || format!("room {}: the state kept before event {no} is not its own", room.no));
                }
                last = Some((place, no));
            }
        }
        let newest = self.view.scan_back(&ROOT_AT, ROOT_AT.under(&(room.no,)), 1).await?;
        let right = newest.first().is_some_and(|(_, root)| *root == room.root());
        self.holds(right, || format!("room {}: the newest state kept is not the room's", room.no));
        Ok(())
    }
}

fn key(room: &RoomView, place: Place) -> (u64, depesche_store::Position, u16, i32) {
    (room.no, place.anchor, place.sub, place.back)
}
