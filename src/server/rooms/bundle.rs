//! Bundled aggregations: what `unsigned.m.relations` of an event says of the events about it, to one viewer.
//!
//! | type | what is said |
//! |---|---|
//! | `m.replace` | the newest valid replacement the viewer may see, whole |
//! | `m.reference` | the ids of the newest events that refer to it |
//! | `m.thread` | the latest event of its thread, how many there are, whether the viewer takes part |
//!
//! Annotations are not aggregated, and state has no aggregations. Events of ignored users do not appear, nor do those
//! that the viewer may not see; the count of a thread alone says how many there are whoever may see them.
//!
//! An event's own facts say whether it may have children, and one read tells of those that may what is counted. The rest
//! costs the same however many: the newest few are looked at, never all.
//!
//! Spec: [aggregations](https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events) and the modules of
//! the three types.

use depesche_rules::{
    bounds::{MAX_AGGREGATED_BYTES, MAX_BUNDLED_REFERENCES},
    relations::{self, Relation},
};
use foldhash::{HashMap, HashMapExt as _};
use ruma::{OwnedEventId, OwnedUserId};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{show::Viewer, shown::Format, view::Event};
use crate::{
    keyspace::{EventNo, RELATED, RELATION, REPLACEMENT},
    records::relations::{List, Related},
    tx::Fault,
};

/// How many replacements, or latest events of a thread, are looked at for one that the viewer may see. Where ignored users
/// said the newest of a thread, [more](depesche_rules::bounds::MAX_THREAD_EVENTS_LOOKED_AT).
const LOOKED_AT: usize = 64;
/// How many of them in the first step: nearly always the first is seen.
const FIRST: usize = 2;

/// What is said of the events about one event.
#[derive(Default, Serialize)]
pub struct Bundle {
    #[serde(rename = "m.replace", skip_serializing_if = "Option::is_none")]
    replace: Option<Box<RawValue>>,
    #[serde(rename = "m.reference", skip_serializing_if = "Option::is_none")]
    reference: Option<References>,
    /// The thread that begins with it.
    #[serde(rename = "m.thread", skip_serializing_if = "Option::is_none")]
    pub thread: Option<Thread>,
}

#[derive(Serialize)]
struct References {
    chunk: Vec<Reference>,
}

#[derive(Serialize)]
struct Reference {
    event_id: OwnedEventId,
}

/// What is said of a thread.
#[derive(Serialize)]
pub struct Thread {
    latest_event: Box<RawValue>,
    count: u32,
    current_user_participated: bool,
}

impl Bundle {
    /// As JSON; `None` if there is nothing to say.
    pub fn json(&self) -> Option<Box<RawValue>> {
        let Self { replace, reference, thread } = self;
        let something = replace.is_some() || reference.is_some() || thread.is_some();
        something.then(|| to_raw_value(self).expect("strings, numbers and JSON always serialise"))
    }

    /// About as many as it has when it is written.
    fn bytes(&self) -> usize {
        let Self { replace, reference, thread } = self;
        let replace = replace.as_ref().map_or(0, |event| event.get().len());
        let ids = reference.iter().flat_map(|reference| &reference.chunk);
        let thread = thread.as_ref().map_or(0, |thread| thread.latest_event.get().len());
        replace + thread + ids.map(|reference| reference.event_id.as_str().len()).sum::<usize>()
    }
}

impl Viewer<'_> {
    /// What is said of the events about each of these, by event; events of which nothing is said are left out, and those
    /// behind [`MAX_AGGREGATED_BYTES`].
    pub(super) async fn bundles(
        &mut self,
        events: &[Event],
        format: Format,
    ) -> Result<HashMap<EventNo, Bundle>, Fault> {
        let mut bundles = HashMap::new();
        // Federation format has no `unsigned` of ours.
        if format == Format::Federation {
            return Ok(bundles);
        }
        let room = self.room().no;
        let may_be_parent = |event: &&Event| event.meta.facts.has_children && event.pdu.state_key().is_none();
        let parents: Vec<&Event> = events.iter().filter(may_be_parent).collect();
        let keys: Vec<_> = parents.iter().map(|event| (room, event.pdu.event_id().clone(), String::new())).collect();
        let related = self.room().view.get_many(&RELATED, &keys).await?;
        let mut left = MAX_AGGREGATED_BYTES;
        for (parent, related) in parents.into_iter().zip(related) {
            let Some(related) = related else { continue };
            if left == 0 {
                break;
            }
            let bundle = self.bundle(parent, &related, format).await?;
            left = left.saturating_sub(bundle.bytes());
            bundles.insert(parent.no, bundle);
        }
        Ok(bundles)
    }

    async fn bundle(&mut self, parent: &Event, related: &Related, format: Format) -> Result<Bundle, Fault> {
        let mut bundle = Bundle::default();
        // What a redacted event was about cannot be told any more, and does not matter to what is about it.
        let redacted = parent.meta.facts.redacted_by.is_some() || self.is_erased(parent).await?;
        let own = if redacted { None } else { Relation::of(&parent.pdu) };
        if related.replacing > 0 && !redacted {
            bundle.replace = self.replacement(parent, format).await?;
        }
        if related.referring > 0 {
            bundle.reference = self.references(parent).await?;
        }
        if related.in_thread > 0 && own.is_none() && (redacted || relations::can_be_thread_root(&parent.pdu)) {
            bundle.thread = self.thread(parent, related, format).await?;
        }
        Ok(bundle)
    }

    /// The newest valid replacement: by its time, then by its id.
    async fn replacement(&mut self, parent: &Event, format: Format) -> Result<Option<Box<RawValue>>, Fault> {
        let sender = parent.pdu.sender().clone();
        if !relations::can_be_replaced(&parent.pdu) || self.ignores(&sender).await? {
            return Ok(None);
        }
        let mut range = REPLACEMENT.under(&(self.room().no, parent.pdu.event_id().clone(), sender));
        let mut step = FIRST;
        let mut looked_at = 0;
        while looked_at < LOOKED_AT {
            let rows = self.room().view.scan_back(&REPLACEMENT, range.clone(), step).await?;
            let numbers: Vec<_> = rows.iter().map(|(_, no)| *no).collect();
            for event in self.room().events(&numbers).await? {
                if relations::replaces(&parent.pdu, &event.pdu) && self.may_see(&event).await? {
                    return Ok(Some(self.show_with(&event, format, None).await?));
                }
            }
            let Some((last, _)) = rows.last().filter(|_| rows.len() == step) else { break };
            range.to = REPLACEMENT.key(last);
            looked_at += step;
            step = LOOKED_AT - looked_at;
        }
        Ok(None)
    }

    /// The newest events that refer to one, oldest first.
    async fn references(&mut self, parent: &Event) -> Result<Option<References>, Fault> {
        let list = List::Of(relations::REFERENCE.to_owned());
        let range = RELATION.under(&(self.room().no, parent.pdu.event_id().clone(), list));
        let rows = self.room().view.scan_back(&RELATION, range, MAX_BUNDLED_REFERENCES).await?;
        let numbers: Vec<_> = rows.iter().rev().map(|(_, child)| child.no).collect();
        let mut chunk = Vec::with_capacity(numbers.len());
        self.foresee(&numbers).await?;
        for event in self.room().events(&numbers).await? {
            if self.may_relate(&event).await? {
                chunk.push(Reference { event_id: event.pdu.event_id().clone() });
            }
        }
        Ok((!chunk.is_empty()).then_some(References { chunk }))
    }

    /// The thread that begins with an event; `None` if the viewer may see nothing of it.
    async fn thread(&mut self, root: &Event, related: &Related, format: Format) -> Result<Option<Thread>, Fault> {
        let id = root.pdu.event_id().clone();
        let ignored: Vec<OwnedUserId> = self.ignored().await?.iter().cloned().collect();
        let count = related.in_thread.saturating_sub(self.sent_in_thread(&id, &ignored).await?);
        let Some(latest) = self.latest_in_thread(&id, count > 0).await? else { return Ok(None) };
        // Of a thread's event a bundle says the rest, but no thread: there are none in threads.
        let latest_event = {
            let latest = [latest];
            let bundles = Box::pin(self.bundles(&latest, format)).await?;
            let [latest] = latest;
            let bundle = bundles.get(&latest.no).and_then(Bundle::json);
            self.show_with(&latest, format, bundle).await?
        };
        let me = self.user().clone();
        let participated = *root.pdu.sender() == me || self.sent_in_thread(&id, &[me]).await? > 0;
        Ok(Some(Thread { latest_event, count, current_user_participated: participated }))
    }

    /// The latest event of a thread that the viewer may see. Behind the newest few, only if there `is_more` than what
    /// ignored users said, and so many events of all threads together.
    async fn latest_in_thread(&mut self, root: &OwnedEventId, is_more: bool) -> Result<Option<Event>, Fault> {
        let (room, list) = (self.room().no, List::Of(relations::THREAD.to_owned()));
        let end = (room, root.clone(), list.clone(), self.horizon().await?);
        let mut range = RELATION.before(&(room, root.clone(), list), &end);
        let mut step = FIRST;
        let mut looked_at = 0;
        loop {
            let rows = self.room().view.scan_back(&RELATION, range.clone(), step).await?;
            let numbers: Vec<_> = rows.iter().map(|(_, child)| child.no).collect();
            for event in self.room().events(&numbers).await? {
                if self.may_relate(&event).await? {
                    return Ok(Some(event));
                }
            }
            let Some((last, _)) = rows.last().filter(|_| rows.len() == step) else { return Ok(None) };
            range.to = RELATION.key(last);
            looked_at += step;
            step = LOOKED_AT.saturating_sub(looked_at);
            if step == 0 {
                step = if is_more { self.thread_events_left.min(LOOKED_AT) } else { 0 };
                self.thread_events_left -= step;
            }
            if step == 0 {
                return Ok(None);
            }
        }
    }

    /// How many events of a thread these users sent.
    pub(super) async fn sent_in_thread(&self, root: &OwnedEventId, users: &[OwnedUserId]) -> Result<u32, Fault> {
        let keys: Vec<_> = users.iter().map(|user| (self.room().no, root.clone(), user.to_string())).collect();
        let related = self.room().view.get_many(&RELATED, &keys).await?;
        Ok(related.into_iter().flatten().map(|related| related.in_thread).sum())
    }

    /// Whether an event about another is one for this viewer: not redacted, not of an ignored user, and visible.
    pub(super) async fn may_relate(&mut self, event: &Event) -> Result<bool, Fault> {
        Ok(event.meta.facts.redacted_by.is_none()
            && !self.ignores(event.pdu.sender()).await?
            && self.may_see(event).await?)
    }
}
