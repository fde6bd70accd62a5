//! One batch of the index: the words of new and of old events, and what redactions take away.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use depesche_rules::pdu::Pdu;
use ruma::{OwnedEventId, events::TimelineEventType};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::words::{self, Texts};
use crate::{
    Fault,
    keyspace::{EVENT, EVENT_NO, EventNo, HEAD, INDEXED, KEY_NO, META, POSTING, RoomNo},
    records::{
        events::Status,
        search::{Indexed, Part, Posting},
    },
    rooms::view::RoomView,
    tx::{Tx, View},
};

/// Events of one batch.
const EVENTS: u32 = 256;
/// From so many pairs of event and word on, a batch takes no further event: it stays far below the largest.
const WORDS: usize = 8192;
/// Events read in one go, without a thread of its own and before others have a turn.
const STRETCH: usize = 64;

/// What one batch adds.
pub struct Batch<'a> {
    tx: &'a Tx,
    found: BTreeMap<(RoomNo, Part), BTreeMap<String, Vec<EventNo>>>,
    events: u32,
    words: usize,
}

/// Which way a stretch of events is read.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    /// What is new, oldest first.
    On,
    /// History, newest first.
    Back,
}

impl<'a> Batch<'a> {
    /// An empty one.
    pub fn new(tx: &'a Tx) -> Self {
        Self { tx, found: BTreeMap::new(), events: 0, words: 0 }
    }

    /// Whether it takes nothing more.
    pub fn is_full(&self) -> bool {
        self.events >= EVENTS || self.words >= WORDS
    }

    /// Takes in what is new in a room, as far as the batch has space. Says whether that was all. Of a room that the walk
    /// is to find, the newest events.
    pub async fn what_is_new(&mut self, room: RoomNo, walking: bool) -> Result<bool, Fault> {
        let Some(head) = self.tx.view().get(&HEAD, &(room,)).await? else { return Ok(true) };
        if is_encrypted(self.tx.view(), room).await? {
            if self.tx.read(&INDEXED, &(room,)).await?.is_some() {
                self.tx.delete(&INDEXED, &(room,));
                self.tx.delete_range(POSTING.under(&(room,)));
            }
            return Ok(true);
        }
        let start = if walking { head.next_event.saturating_sub(EVENTS) } else { 0 };
        let before = self.tx.read(&INDEXED, &(room,)).await?;
        let indexed = before.unwrap_or(Indexed { below: start, next: start });
        let next = self.stretch(room, indexed.next, head.next_event, Way::On).await?;
        let indexed = Indexed { next, ..indexed };
        if before != Some(indexed) {
            self.tx.put(&INDEXED, &(room,), &indexed);
        }
        Ok(next >= head.next_event)
    }

    /// Notes that a room is indexed up to its end: of what is between, something cannot be read.
    pub async fn pass_over(&mut self, room: RoomNo) -> Result<(), Fault> {
        let Some(head) = self.tx.view().get(&HEAD, &(room,)).await? else { return Ok(()) };
        self.tx.put(&INDEXED, &(room,), &Indexed { below: 0, next: head.next_event });
        Ok(())
    }

    /// Takes in what came before what is indexed of a room, as far as the batch has space. Says whether that was all.
    pub async fn history(&mut self, room: RoomNo) -> Result<bool, Fault> {
        let Some(indexed) = self.tx.read(&INDEXED, &(room,)).await? else { return Ok(true) };
        if indexed.below == 0 {
            return Ok(true);
        }
        let below = self.stretch(room, 0, indexed.below, Way::Back).await?;
        self.tx.put(&INDEXED, &(room,), &Indexed { below, ..indexed });
        Ok(below == 0)
    }

    /// Takes in events from one number to before another, from the end where the way is back. Answers how far it came.
    async fn stretch(&mut self, room: RoomNo, mut from: EventNo, mut to: EventNo, way: Way) -> Result<EventNo, Fault> {
        while from < to && !self.is_full() {
            let events = self.read(room, from, to, way).await?;
            let (is_last, mut taken) = (events.len() < STRETCH, 0);
            let said: Vec<(EventNo, Option<Said<'_>>)> = events.iter().map(|(no, event)| (*no, event.said())).collect();
            let keys: Vec<_> = said.iter().filter(|(_, said)| said.is_some()).map(|(no, _)| (room, *no)).collect();
            let mut metas = self.tx.view().get_many(&META, &keys).await?.into_iter();
            for (no, said) in said {
                if self.is_full() {
                    break;
                }
                taken += 1;
                self.events += 1;
                match way {
                    Way::On => from = no + 1,
                    Way::Back => to = no,
                }
                let Some(said) = said else { continue };
                let Some(meta) = metas.next().flatten() else { continue };
                if meta.facts.status != Status::Accepted {
                    continue;
                }
                match said {
                    Said::Words(..) if meta.facts.redacted_by.is_some() => {}
                    Said::Words(part, texts) => self.add(room, no, part, &texts),
                    // Older events than the index has yet are looked at when it comes to them.
                    Said::Redaction(targets) if way == Way::On => self.remove(room, &targets).await?,
                    Said::Redaction(_) => {}
                }
            }
            if is_last && taken == events.len() {
                (from, to) = match way {
                    Way::On => (to, to),
                    Way::Back => (from, from),
                };
            }
            tokio::task::yield_now().await;
        }
        Ok(match way {
            Way::On => from,
            Way::Back => to,
        })
    }

    /// The next events of a stretch. New ones mostly lie in memory, where they were sent from, and need not be read.
    async fn read(&self, room: RoomNo, from: EventNo, to: EventNo, way: Way) -> Result<Vec<(EventNo, Source)>, Fault> {
        let view = self.tx.view();
        let stretch = EventNo::try_from(STRETCH).unwrap_or(EventNo::MAX);
        let next = from..to.min(from.saturating_add(stretch));
        let in_memory = |no| Some((no, Source::Known(view.events()?.get(room, no)?.pdu)));
        if way == Way::On
            && let Some(known) = next.map(in_memory).collect()
        {
            return Ok(known);
        }
        let range = EVENT.between(&(room, from), &(room, to));
        let rows = match way {
            Way::On => view.scan(&EVENT, range, STRETCH).await?,
            Way::Back => view.scan_back(&EVENT, range, STRETCH).await?,
        };
        Ok(rows.into_iter().map(|((_, no), text)| (no, Source::Stored(text))).collect())
    }

    fn add(&mut self, room: RoomNo, no: EventNo, part: Part, texts: &Texts<'_>) {
        let found = self.found.entry((room, part)).or_default();
        for word in words::indexed(texts.words()) {
            self.words += 1;
            if let Some(events) = found.get_mut(&*word) {
                events.push(no);
            } else {
                found.insert(word.into(), vec![no]);
            }
        }
    }

    /// Takes redacted events out of earlier batches' rows; this batch does not take them in.
    async fn remove(&mut self, room: RoomNo, targets: &[OwnedEventId]) -> Result<(), Fault> {
        for target in targets {
            let view = self.tx.view();
            let Some((at, no)) = view.get(&EVENT_NO, &(target.clone(),)).await? else { continue };
            let Some(meta) = view.get(&META, &(room, no)).await?.filter(|_| at == room) else { continue };
            let Some((_, event)) = self.read(room, no, no.saturating_add(1), Way::On).await?.pop() else { continue };
            let (Some(Said::Words(part, texts)), Some(_)) = (event.said(), meta.facts.redacted_by) else {
                continue;
            };
            for word in words::indexed(texts.words()) {
                self.words += 1;
                self.remove_word(room, no, part, word.into()).await?;
            }
        }
        Ok(())
    }

    async fn remove_word(&self, room: RoomNo, no: EventNo, part: Part, word: String) -> Result<(), Fault> {
        let range = POSTING.before(&(room, part, word.clone()), &(room, part, word, no.saturating_add(1)));
        let Some((key, _)) = self.tx.view().scan_back(&POSTING, range, 1).await?.pop() else { return Ok(()) };
        let Some(posting) = self.tx.read(&POSTING, &key).await? else { return Ok(()) };
        let before = posting.events();
        let after: Vec<EventNo> = before.iter().copied().filter(|event| *event != no).collect();
        if after.is_empty() {
            self.tx.delete(&POSTING, &key);
        } else if after.len() < before.len() {
            self.tx.put(&POSTING, &key, &Posting::of(&after));
        }
        Ok(())
    }

    /// Puts the rows into the transaction.
    pub fn write(self) {
        for ((room, part), words) in self.found {
            for (word, mut events) in words {
                events.sort_unstable();
                let Some(first) = events.first() else { continue };
                self.tx.put(&POSTING, &(room, part, word, *first), &Posting::of(&events));
            }
        }
    }
}

/// Whether a room is end-to-end encrypted: it is not searched.
pub async fn is_encrypted(view: &View, room: RoomNo) -> Result<bool, Fault> {
    const KIND: &str = "m.room.encryption";
    if view.get(&KEY_NO, &(room, KIND.to_owned(), String::new())).await?.is_none() {
        return Ok(false);
    }
    let room = RoomView::open(view, room).await?;
    Ok(room.state_no(room.root(), KIND, "").await?.is_some())
}

/// An event as it is found.
enum Source {
    Known(Pdu),
    Stored(Bytes),
}

impl Source {
    fn said(&self) -> Option<Said<'_>> {
        match self {
            Self::Known(pdu) => Said::of(pdu),
            Self::Stored(text) => Said::read(text),
        }
    }
}

/// What the index takes from an event.
enum Said<'a> {
    Words(Part, Texts<'a>),
    /// What a redaction may be about: older versions of rooms and newer ones say it in different places.
    Redaction(Vec<OwnedEventId>),
}

impl<'a> Said<'a> {
    fn of(pdu: &'a Pdu) -> Option<Self> {
        if *pdu.kind() == TimelineEventType::RoomRedaction {
            return Some(Self::Redaction(pdu.redacts().cloned().into_iter().collect()));
        }
        let (part, texts) = words::of_pdu(pdu)?;
        Some(Self::Words(part, texts))
    }

    fn read(text: &'a [u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Stored<'a> {
            #[serde(borrow, rename = "type")]
            kind: Cow<'a, str>,
            #[serde(borrow)]
            state_key: Option<Cow<'a, str>>,
            #[serde(borrow)]
            content: &'a RawValue,
            redacts: Option<String>,
        }

        #[derive(Deserialize)]
        struct Redaction {
            redacts: Option<String>,
        }

        let stored: Stored<'a> = serde_json::from_slice(text).ok()?;
        if stored.kind == "m.room.redaction" {
            let inner = serde_json::from_str::<Redaction>(stored.content.get()).ok().and_then(|inner| inner.redacts);
            let targets = [stored.redacts, inner].into_iter().flatten();
            return Some(Self::Redaction(targets.filter_map(|id| OwnedEventId::try_from(id).ok()).collect()));
        }
        let (part, texts) = words::of_event(&stored.kind, stored.state_key.as_deref(), stored.content)?;
        Some(Self::Words(part, texts))
    }
}
