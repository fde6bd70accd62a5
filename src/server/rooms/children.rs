//! The events about an event, in pages: `/relations`.
//!
//! Pages follow the order of the timeline, and their tokens are places in it, so those of `/messages` and `/sync` do as
//! well. With `recurse`, two lists are merged: the direct ones and those further away. Where only some types are asked
//! for, none is reached over an event of another.
//!
//! Spec: [relationships API](https://spec.matrix.org/v1.19/client-server-api/#relationships-api).

use std::collections::HashSet;

use depesche_rules::{
    bounds::{MAX_PAGE_BYTES, RECURSION_DEPTH},
    pdu::Pdu,
    relations::Relation,
};
use ruma::{EventId, OwnedEventId};
use serde_json::value::RawValue;

use super::{
    history::ReadRefusal,
    show::Viewer,
    shown::Format,
    tokens,
    view::{Event, RoomView},
};
use crate::{
    keyspace::{EventNo, RELATION},
    records::{
        events::Place,
        relations::{List, Listed},
    },
    tx::Fault,
};

/// Events looked at in one step.
const STEP: usize = 64;
/// Events that one page looks at, at most: where most are hidden or of another type, the client asks again.
const LOOKED_AT: usize = 2000;

/// A question for a page of the events about an event.
pub struct ChildrenQuery<'a> {
    /// The event they are about.
    pub parent: &'a EventId,
    /// Only those of this `rel_type`.
    pub relation: Option<&'a str>,
    /// Only those of this event type.
    pub kind: Option<&'a str>,
    /// Where to begin; the end or the start of the room if `None`.
    pub from: Option<&'a str>,
    /// Where to stop at the latest.
    pub to: Option<&'a str>,
    /// Towards the past, newest first.
    pub backwards: bool,
    /// The most events.
    pub limit: usize,
    /// Also those about events that are about it.
    pub recurse: bool,
}

impl ChildrenQuery<'_> {
    /// Whether an event is of the types asked for.
    fn wants(&self, pdu: &Pdu) -> bool {
        self.kind.is_none_or(|kind| pdu.kind().to_string() == kind)
            && self.relation.is_none_or(|kind| Relation::of(pdu).is_some_and(|own| own.is(kind)))
    }
}

/// A page of the events about an event.
pub struct Children {
    /// The events.
    pub events: Vec<Box<RawValue>>,
    /// Where the next page begins; `None` if nothing follows.
    pub next: Option<String>,
    /// Where this page begins, if it is not the first.
    pub previous: Option<String>,
    /// How many relationships were followed from the event.
    pub depth: u32,
}

/// Where a page goes, and what of.
struct Walk<'a> {
    room: &'a RoomView,
    parent: OwnedEventId,
    lists: Vec<List>,
    backwards: bool,
    /// The least place, and the one behind the last.
    within: (Place, Place),
}

impl Viewer<'_> {
    /// A page of the events about an event. That may be an ignored user's: `/threads` lists theirs, and what others
    /// answered there is to be read.
    pub async fn children(&mut self, query: &ChildrenQuery<'_>) -> Result<Children, ReadRefusal> {
        let from = query.from.map(tokens::place).transpose()?;
        let to = query.to.map(tokens::place).transpose()?;
        self.known_event(query.parent).await?;
        let end = self.horizon().await?;
        let (low, high) = if query.backwards { (to, from) } else { (from, to) };
        let within = (low.unwrap_or(Place::START), high.map_or(end, |high: Place| high.min(end)));
        let lists = match (query.recurse, query.relation) {
            // The types of those further away are looked at one by one.
            (true, _) => vec![List::Direct, List::Indirect],
            (false, Some(kind)) => vec![List::Of(kind.to_owned())],
            (false, None) => vec![List::Direct],
        };
        let (room, parent) = (self.room(), query.parent.to_owned());
        let walk = Walk { room, parent, lists, backwards: query.backwards, within };
        let (found, next) = self.walk(walk, query).await?;
        Ok(Children {
            events: self.show(&found, Format::WithRoom).await?,
            next: next.map(|place| place.to_string()),
            previous: query.from.map(str::to_owned),
            depth: if query.recurse { RECURSION_DEPTH } else { 1 },
        })
    }

    async fn walk(
        &mut self,
        mut walk: Walk<'_>,
        query: &ChildrenQuery<'_>,
    ) -> Result<(Vec<Event>, Option<Place>), Fault> {
        let (mut found, mut looked_at, mut left) = (Vec::new(), 0, MAX_PAGE_BYTES);
        loop {
            // One more than fits, to know whether there is more.
            let step = (query.limit + 1).min(STEP);
            let rows = walk.rows(step).await?;
            let numbers: Vec<_> = rows.iter().map(|(_, child)| child.no).collect();
            let lost = walk.lost(&rows, query).await?;
            self.foresee(&numbers).await?;
            let events = walk.room.events(&numbers).await?;
            for ((place, child), event) in rows.iter().zip(events) {
                let wanted = query.wants(&event.pdu) && !child.via.iter().any(|no| lost.contains(no));
                if wanted && self.may_relate(&event).await? {
                    if found.len() == query.limit || left == 0 {
                        return Ok((found, Some(walk.next())));
                    }
                    left = left.saturating_sub(event.pdu.json().len());
                    found.push(event);
                }
                walk.passed(*place);
            }
            if rows.len() < step {
                return Ok((found, None));
            }
            looked_at += rows.len();
            if looked_at >= LOOKED_AT {
                return Ok((found, Some(walk.next())));
            }
        }
    }
}

impl Walk<'_> {
    /// The next rows of all lists together.
    async fn rows(&self, limit: usize) -> Result<Vec<(Place, Listed)>, Fault> {
        let mut rows = Vec::new();
        let (from, to) = self.within;
        if from >= to {
            return Ok(rows);
        }
        for list in &self.lists {
            let key = |place| (self.room.no, self.parent.clone(), list.clone(), place);
            let range = RELATION.between(&key(from), &key(to));
            let found = if self.backwards {
                self.room.view.scan_back(&RELATION, range, limit).await?
            } else {
                self.room.view.scan(&RELATION, range, limit).await?
            };
            rows.extend(found.into_iter().map(|((_, _, _, place), child)| (place, child)));
        }
        rows.sort_by_key(|(place, _)| *place);
        if self.backwards {
            rows.reverse();
        }
        rows.truncate(limit);
        Ok(rows)
    }

    /// Of the events between parent and child, those over which none is reached: they were redacted, or are not wanted
    /// themselves.
    async fn lost(&self, rows: &[(Place, Listed)], query: &ChildrenQuery<'_>) -> Result<HashSet<EventNo>, Fault> {
        let mut between: Vec<EventNo> = rows.iter().flat_map(|(_, child)| child.via.iter().copied()).collect();
        between.sort_unstable();
        between.dedup();
        if query.kind.is_none() && query.relation.is_none() {
            let metas = self.room.metas(&between).await?.into_iter();
            let redacted = between.into_iter().zip(metas).filter(|(_, meta)| meta.facts.redacted_by.is_some());
            return Ok(redacted.map(|(no, _)| no).collect());
        }
        let events = self.room.events(&between).await?;
        let lost = events.iter().filter(|event| event.meta.facts.redacted_by.is_some() || !query.wants(&event.pdu));
        Ok(lost.map(|event| event.no).collect())
    }

    /// Goes on behind this.
    fn passed(&mut self, place: Place) {
        if self.backwards {
            self.within.1 = place;
        } else {
            self.within.0 = place.next();
        }
    }

    /// Where the next page begins.
    fn next(&self) -> Place {
        if self.backwards { self.within.1 } else { self.within.0 }
    }
}
