//! Events that were read or written lately, parsed: one that a hundred members are shown is read and parsed once.
//!
//! What never changes is kept: an event as it was signed, and the state before it. Its facts do change, as when it is
//! redacted: every reader takes their bytes from their own snapshot, and what is kept is what certain bytes mean. Events
//! get here once they are stored, so no number means another event.

use std::{mem::size_of, sync::Arc};

use bytes::Bytes;
use depesche_rules::pdu::Pdu;
use foldhash::fast::RandomState;
use quick_cache::{
    OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};

use crate::{
    keyspace::{EventNo, RoomNo},
    records::{events::Meta, rooms::RootRecord},
};

/// Parts with a lock each. A fixed number, so that the largest event finds room in the part of a small cache.
const PARTS: usize = 4;
/// What an event takes beside its text and the copy of its content: identifiers, its facts, and what the cache notes of it.
const BESIDE: usize = 1280;
/// The text of a usual event, for the first size of the tables.
const USUAL_TEXT: u64 = 700;

/// What is kept of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Known {
    /// The event.
    pub pdu: Pdu,
    /// The state before it, once somebody asked.
    pub root_before: Option<RootRecord>,
    /// What the server knew of it when somebody last asked, with the bytes that say so.
    pub meta: Option<(Bytes, Arc<Meta>)>,
}

/// The events kept in memory. Forgets those that are asked for least.
pub struct EventCache(Cache<(RoomNo, EventNo), Known, ByBytes, RandomState>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<(RoomNo, EventNo), Known> for ByBytes {
    fn weight(&self, _: &(RoomNo, EventNo), Known { pdu, .. }: &Known) -> u64 {
        (pdu.json().len() + pdu.content().get().len() + BESIDE + size_of::<Known>()) as u64
    }
}

impl EventCache {
    /// Keeps so many bytes of events; with 0 it keeps none.
    pub fn new(bytes: u64) -> Self {
        let usual = usize::try_from(bytes / (2 * USUAL_TEXT + BESIDE as u64)).unwrap_or(usize::MAX);
        let options = OptionsBuilder::new()
            .shards(PARTS)
            .estimated_items_capacity(usual)
            .weight_capacity(bytes)
            .build()
            .expect("every option that must be given is given");
        Self(Cache::with_options(options, ByBytes, RandomState::default(), DefaultLifecycle::default()))
    }

    /// An event that a snapshot of the caller's has.
    pub fn get(&self, room: RoomNo, event: EventNo) -> Option<Known> {
        self.0.get(&(room, event))
    }

    /// Keeps an event that is stored.
    pub fn put(&self, room: RoomNo, event: EventNo, known: Known) {
        self.0.insert((room, event), known);
    }
}

#[cfg(test)]
mod tests {
    use depesche_rules::versions::room_version_rules;
    use ruma::{OwnedEventId, RoomVersionId};
    use serde_json::json;

    use super::*;

    fn event(no: u32) -> Known {
        let text = json!({
            "auth_events": [], "content": { "body": no.to_string() }, "depth": no, "origin_server_ts": 1,
            "prev_events": [], "room_id": "!room:agency.test", "sender": "@alice:agency.test", "type": "m.room.message",
        });
        let id = OwnedEventId::try_from(format!("$event{no}")).unwrap();
        let rules = room_version_rules(&RoomVersionId::V11).unwrap();
        Known { pdu: Pdu::from_stored(text.to_string().into(), id, rules).unwrap(), root_before: None, meta: None }
    }

    #[test]
    fn what_was_put_is_found_by_room_and_number() {
        let cache = EventCache::new(1 << 20);
        cache.put(1, 1, event(1));
        cache.put(2, 1, event(2));
        assert_eq!(cache.get(1, 1), Some(event(1)));
        assert_eq!(cache.get(2, 1), Some(event(2)));
        assert_eq!(cache.get(1, 2), None);
    }

    #[test]
    fn it_takes_no_more_than_it_may() {
        let cache = EventCache::new(1 << 20);
        for no in 0..4000 {
            cache.put(1, no, event(no));
        }
        let kept = (0..4000).filter(|no| cache.get(1, *no).is_some()).count();
        assert!(cache.0.weight() <= 1 << 20 && (500..4000).contains(&kept), "{kept} events");
    }

    #[test]
    fn without_room_it_keeps_nothing() {
        let cache = EventCache::new(0);
        cache.put(1, 1, event(1));
        assert_eq!(cache.get(1, 1), None);
    }
}
