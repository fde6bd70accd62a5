//! The index of relations: which events are about which, written with the event that is about another.
//!
//! During a batch the changes are gathered ([`remember`], [`forget`]) and written once at its end ([`close`]): an event
//! and its redaction may come in one batch, and a key that waits for its position cannot be taken back. Everything here
//! costs the same however many children the parent has.
//!
//! An event is listed under its parent and, for `recurse`, under the parents of its parent that are in the room by then.
//! Redacted later, those keep it in their lists; redacted itself, it leaves all of them.
//!
//! An event about one that is not in the room is in its list, and neither counted nor a thread. Rows of earlier versions
//! have both; nobody can ask for them.
//!
//! Nothing here knows who looks. Spec:
//! [aggregations of child events](https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events).

use std::collections::{BTreeMap, BTreeSet};

use depesche_rules::{
    bounds::RECURSION_DEPTH,
    pdu::Pdu,
    relations::{self, Relation},
};
use depesche_store::{Position, Stamp, StampAt};
use ruma::{OwnedEventId, OwnedUserId};

use super::{append, working::Working};
use crate::{
    codec::Key,
    keyspace::{EventNo, META, RELATED, RELATION, REPLACEMENT, RoomNo, THREAD},
    records::{
        events::{Place, Status},
        relations::{List, Listed, Related},
    },
    table::{Record, Table},
    tx::{Fault, Tx},
};

/// The bytes of a place at the end of a key.
const PLACE_BYTES: usize = 14;

/// What the batch in the making changes.
#[derive(Default)]
pub struct Pending {
    /// Events of this batch.
    added: BTreeMap<EventNo, (Place, Link)>,
    /// Events of earlier ones that were redacted.
    removed: Vec<(EventNo, Place, Link)>,
}

/// What an event is about, with all that its rows need.
struct Link {
    relation: Relation,
    /// Its parent, if that was in the room before it. What is about an event that is not is in the lists only: else events
    /// about made-up ids would each begin a thread. A parent that comes later, as it can once events of other servers are
    /// fetched to fill a gap, has to be counted and listed then, from its list.
    parent: Option<EventNo>,
    /// The parents of its parent, nearest first, with the events between.
    ancestors: Vec<(OwnedEventId, Vec<EventNo>)>,
    event_id: OwnedEventId,
    sender: OwnedUserId,
    sent_ms: u64,
    may_replace: bool,
}

/// An event is appended at this place of the batch.
pub async fn remember(working: &mut Working, tx: &Tx, no: EventNo, pdu: &Pdu) -> Result<(), Fault> {
    if let Some(link) = Link::of(working, tx, pdu, None).await? {
        let place = Place { anchor: Position(0), sub: working.appended, back: 0 };
        working.relations.added.insert(no, (place, link));
    }
    Ok(())
}

/// An event is redacted: with its content it loses its relation. To be called while the content is there.
pub async fn forget(working: &mut Working, tx: &Tx, no: EventNo, place: Place) -> Result<(), Fault> {
    if working.relations.added.remove(&no).is_some() {
        return Ok(());
    }
    let pdu = working.pdu(tx, no).await?;
    if let Some(link) = Link::of(working, tx, &pdu, Some(no)).await? {
        working.relations.removed.push((no, place, link));
    }
    Ok(())
}

/// Writes what the batch changed: once, at its end.
pub async fn close(working: &mut Working, tx: &Tx) -> Result<(), Fault> {
    let pending = std::mem::take(&mut working.relations);
    write(working.no, tx, pending).await
}

/// Puts events of earlier batches into the index, which has none of them and all before them that it is to have. Once a
/// room and batch.
pub async fn catch_up(working: &mut Working, tx: &Tx, events: &[EventNo]) -> Result<(), Fault> {
    let mut pending = Pending::default();
    for no in events {
        let meta = tx.view().get(&META, &(working.no, *no)).await?;
        let Some(meta) = meta.filter(|meta| meta.facts.redacted_by.is_none()) else { continue };
        if meta.facts.status != Status::Accepted {
            continue;
        }
        let pdu = working.signed(tx, *no).await?;
        if let Some(link) = Link::of(working, tx, &pdu, Some(*no)).await? {
            pending.added.insert(*no, (meta.place, link));
        }
    }
    write(working.no, tx, pending).await
}

async fn write(room: RoomNo, tx: &Tx, pending: Pending) -> Result<(), Fault> {
    let Pending { added, removed } = pending;
    if added.is_empty() && removed.is_empty() {
        return Ok(());
    }
    count(room, tx, &added, &removed).await?;
    threads(room, tx, &added, &removed).await?;
    for (_, place, link) in &removed {
        for (parent, list, _) in link.lists() {
            tx.delete(&RELATION, &(room, parent, list, *place));
        }
        if let Some(key) = link.replacement(room) {
            tx.delete(&REPLACEMENT, &key);
        }
    }
    for (no, (place, link)) in &added {
        for (parent, list, via) in link.lists() {
            put_at(tx, &RELATION, &(room, parent, list, *place), &Listed { no: *no, via }, *place);
        }
        if let Some(key) = link.replacement(room) {
            tx.put(&REPLACEMENT, &key, no);
        }
    }
    Ok(())
}

/// Puts a row whose key ends in a place. An anchor of 0 means that the event is of this batch: the engine stamps it.
fn put_at<K: Key, V: Record>(tx: &Tx, table: &Table<K, V>, key: &K, value: &V, place: Place) {
    if place.anchor == Position(0) {
        let offset = table.key(key).len() - PLACE_BYTES;
        tx.put_stamped(table, key, value, vec![Stamp { at: StampAt::Key, offset }]);
    } else {
        tx.put(table, key, value);
    }
}

/// Brings the counts of each parent up to date.
async fn count(
    room: RoomNo,
    tx: &Tx,
    added: &BTreeMap<EventNo, (Place, Link)>,
    removed: &[(EventNo, Place, Link)],
) -> Result<(), Fault> {
    let changes = added.values().map(|(_, link)| (link, 1)).chain(removed.iter().map(|(_, _, link)| (link, -1)));
    let mut sums: BTreeMap<(OwnedEventId, String), [i32; 3]> = BTreeMap::new();
    let parents: BTreeSet<EventNo> =
        added.values().filter(|(_, link)| link.counted().is_some()).filter_map(|(_, link)| link.parent).collect();
    for parent in parents {
        has_children(room, tx, parent).await?;
    }
    for (link, by) in changes {
        let Some(kind) = link.counted() else { continue };
        let parent = &link.relation.parent;
        sums.entry((parent.clone(), String::new())).or_default()[kind] += by;
        if kind == IN_THREAD {
            sums.entry((parent.clone(), link.sender.to_string())).or_default()[kind] += by;
        }
    }
    for ((parent, user), sum) in sums {
        let key = (room, parent, user);
        let before = tx.read(&RELATED, &key).await?.unwrap_or_default();
        let after = Related {
            replacing: before.replacing.saturating_add_signed(sum[REPLACING]),
            referring: before.referring.saturating_add_signed(sum[REFERRING]),
            in_thread: before.in_thread.saturating_add_signed(sum[IN_THREAD]),
        };
        if after == Related::default() {
            tx.delete(&RELATED, &key);
        } else {
            tx.put(&RELATED, &key, &after);
        }
    }
    Ok(())
}

/// Notes with an event that others are about it, for good: readers ask for the counts of such events only.
async fn has_children(room: RoomNo, tx: &Tx, parent: EventNo) -> Result<(), Fault> {
    let meta = tx.read(&META, &(room, parent)).await?;
    if let Some(mut meta) = meta.filter(|meta| !meta.facts.has_children) {
        meta.facts.has_children = true;
        append::put_meta(tx, room, parent, &meta);
    }
    Ok(())
}

/// Puts each thread that changed at the place of its latest event.
async fn threads(
    room: RoomNo,
    tx: &Tx,
    added: &BTreeMap<EventNo, (Place, Link)>,
    removed: &[(EventNo, Place, Link)],
) -> Result<(), Fault> {
    let new = added.values().map(|(_, link)| link);
    let changed: BTreeSet<&OwnedEventId> =
        new.chain(removed.iter().map(|(_, _, link)| link)).filter_map(Link::thread).collect();
    for root in changed {
        let of_thread = |link: &Link| link.thread() == Some(root);
        let gone: BTreeSet<Place> =
            removed.iter().filter(|(_, _, link)| of_thread(link)).map(|(_, place, _)| *place).collect();
        // The rows as they were before the batch: its own wait for their position.
        let list = RELATION.under(&(room, root.clone(), List::Of(relations::THREAD.to_owned())));
        let before = tx.view().scan_back(&RELATION, list, gone.len() + 1).await?;
        let before: Vec<Place> = before.into_iter().map(|((_, _, _, place), _)| place).collect();
        if let Some(latest) = before.first() {
            tx.delete(&THREAD, &(room, *latest));
        }
        let newest = added.values().filter(|(_, link)| of_thread(link)).map(|(place, _)| *place).max();
        if let Some(place) = newest {
            put_at(tx, &THREAD, &(room, place), root, place);
        } else if let Some(place) = before.iter().find(|place| !gone.contains(place)) {
            tx.put(&THREAD, &(room, *place), root);
        }
    }
    Ok(())
}

/// The places of the counts in a sum.
const REPLACING: usize = 0;
const REFERRING: usize = 1;
const IN_THREAD: usize = 2;

/// An event as it was when another was appended: without content if it was redacted by then.
async fn as_it_was(working: &mut Working, tx: &Tx, no: EventNo, as_of: EventNo) -> Result<Pdu, Fault> {
    let meta = tx.read(&META, &(working.no, no)).await?;
    match meta.and_then(|meta| meta.facts.redacted_by) {
        Some(by) if by > as_of => working.signed(tx, no).await,
        _ => working.pdu(tx, no).await,
    }
}

impl Link {
    /// As of now, or as it was when the event was appended as this number: what was redacted since had its relation then.
    async fn of(working: &mut Working, tx: &Tx, pdu: &Pdu, as_of: Option<EventNo>) -> Result<Option<Self>, Fault> {
        let Some(relation) = Relation::of(pdu) else { return Ok(None) };
        let (mut parent_no, mut ancestors) = (None, Vec::new());
        let (mut parent, mut via) = (relation.parent.clone(), Vec::new());
        for _ in 1..RECURSION_DEPTH {
            let Some(no) = working.event_no(tx, &parent).await? else { break };
            let between = match as_of {
                None => working.pdu(tx, no).await?,
                Some(as_of) if as_of <= no => break,
                Some(as_of) => as_it_was(working, tx, no, as_of).await?,
            };
            parent_no.get_or_insert(no);
            let Some(next) = Relation::of(&between) else { break };
            via.push(no);
            parent = next.parent;
            ancestors.push((parent.clone(), via.clone()));
        }
        Ok(Some(Self {
            may_replace: relations::may_replace(pdu),
            relation,
            parent: parent_no,
            ancestors,
            event_id: pdu.event_id().clone(),
            sender: pdu.sender().clone(),
            sent_ms: pdu.origin_server_ts().get().into(),
        }))
    }

    /// The lists that the event stands in: of which event, which, and the events between.
    fn lists(&self) -> impl Iterator<Item = (OwnedEventId, List, Vec<EventNo>)> {
        let Relation { kind, parent } = &self.relation;
        let direct = [List::Direct, List::Of(kind.clone())].map(|list| (parent.clone(), list, Vec::new()));
        let indirect = self.ancestors.iter().map(|(of, via)| (of.clone(), List::Indirect, via.clone()));
        direct.into_iter().chain(indirect)
    }

    /// The key among the replacements of its parent, if it may be one.
    fn replacement(&self, room: RoomNo) -> Option<(RoomNo, OwnedEventId, OwnedUserId, u64, OwnedEventId)> {
        let parent = self.relation.parent.clone();
        self.may_replace.then(|| (room, parent, self.sender.clone(), self.sent_ms, self.event_id.clone()))
    }

    fn thread(&self) -> Option<&OwnedEventId> {
        (self.parent.is_some() && self.relation.is(relations::THREAD)).then_some(&self.relation.parent)
    }

    /// Which count of its parent it raises.
    fn counted(&self) -> Option<usize> {
        match self.relation.kind.as_str() {
            _ if self.parent.is_none() => None,
            relations::REPLACE => self.may_replace.then_some(REPLACING),
            relations::REFERENCE => Some(REFERRING),
            relations::THREAD => Some(IN_THREAD),
            _ => None,
        }
    }
}
