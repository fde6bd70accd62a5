//! The events of a room, read with what the server knows of each. Those that are in memory come from there: the text of an
//! event never changes, and what is known of it is held against what the snapshot has.

use std::sync::Arc;

use bytes::Bytes;
use depesche_rules::pdu::Pdu;
use depesche_store::MAX_SCAN;
use ruma::{EventId, OwnedEventId};

use super::{RUN, RoomView};
use crate::{
    event_cache::Known,
    keyspace::{EVENT, EVENT_NO, EventNo, META, ROOT_BEFORE, RoomNo},
    records::{events::Meta, rooms::RootRecord},
    table::{Record, Table},
    tx::Fault,
};

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

    fn keys_of(&self, numbers: &[EventNo]) -> Vec<(RoomNo, EventNo)> {
        numbers.iter().map(|no| (self.no, *no)).collect()
    }

    fn parse(&self, text: &[u8], id: &OwnedEventId) -> Result<Pdu, Fault> {
        let unreadable = |why: String| Fault::Bug(format!("event {id} cannot be read: {why}"));
        let text = std::str::from_utf8(text).map_err(|why| unreadable(why.to_string()))?;
        Pdu::from_stored(text.into(), id.clone(), self.rules).map_err(|why| unreadable(why.to_string()))
    }
}
