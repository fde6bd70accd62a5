//! The state of one room as an answer says it: what differs between what the client has and where its timeline begins
//! (or ends), or all of it; with lazy loading, of the members only those it needs.
//!
//! Work costs what differs. A first look at a room with lazy loading costs the state that is not membership.
//!
//! Spec: [syncing](https://spec.matrix.org/v1.19/client-server-api/#syncing),
//! [lazy-loading](https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use depesche_store::Position;
use ruma::OwnedUserId;

use crate::{
    keyspace::{EventNo, KEY_NO, KeyNo, RoomNo},
    records::rooms::RootRecord,
    rooms::{
        state::Tree,
        view::{Event, RoomView},
    },
    tx::Fault,
};

/// How many events are read at a time.
const EVENTS: usize = 1000;
/// The most members that are remembered as sent to one device; beyond, all are forgotten and sent again.
const MAX_SENT: usize = 10_000;

/// The states around a timeline.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// What the client has; `None` if nothing, or if it wants all.
    pub before: Option<RootRecord>,
    /// What it has, whatever it wants.
    pub known: Option<RootRecord>,
    /// Before the first event of the timeline.
    pub start: RootRecord,
    /// Behind its last.
    pub end: RootRecord,
    /// A state event behind the end that the client is to have all the same: the user's own leave.
    pub last: Option<(KeyNo, EventNo)>,
}

/// Which state an answer says.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// As of the end of the timeline, not of its start.
    pub after: bool,
    /// Of a whole state, leave the members out.
    pub lazy: bool,
}

impl Want {
    /// The state that the section leads to.
    pub fn target(self, frame: &Frame) -> RootRecord {
        if self.after { frame.end } else { frame.start }
    }
}

/// The state events of the section, oldest first; without those that lazy loading adds.
pub async fn section(room: &RoomView, frame: &Frame, want: Want, timeline: &[Event]) -> Result<Vec<Event>, Fault> {
    let target = want.target(frame);
    let mut entries: BTreeMap<KeyNo, EventNo> = match frame.before {
        Some(before) => changed(room, before, target).await?.collect(),
        None if want.lazy => {
            let mut entries: BTreeMap<_, _> = room.state_without_members(target).await?.into_iter().collect();
            // Of the members those who changed unseen: "the server MUST return membership events for events in the gap".
            if let Some(known) = frame.known {
                entries.extend(changed(room, known, target).await?);
            }
            entries
        }
        None => room.state_all(target).await?.into_iter().collect(),
    };
    if want.after {
        entries.extend(frame.last);
    } else {
        // What the filter or the rules of visibility keep out of the timeline, the client has from here.
        let said: HashSet<EventNo> = timeline.iter().map(|event| event.no).collect();
        let set: HashSet<KeyNo> = timeline.iter().filter_map(|event| event.meta.facts.key).collect();
        let unsaid = changed(room, frame.start, frame.end).await?.chain(frame.last);
        entries.extend(unsaid.filter(|(key, no)| !said.contains(no) && !set.contains(key)));
    }
    let mut numbers: Vec<_> = entries.into_values().collect();
    numbers.sort_unstable();
    events(room, &numbers).await
}

/// The membership events of some users in a state, as far as they have any.
pub async fn members(
    room: &RoomView,
    root: RootRecord,
    users: &BTreeSet<OwnedUserId>,
) -> Result<Vec<(OwnedUserId, EventNo)>, Fault> {
    let keys: Vec<_> = users.iter().map(|user| (room.no, "m.room.member".to_owned(), user.to_string())).collect();
    let numbers = room.view.get_many(&KEY_NO, &keys).await?;
    let known: Vec<_> = users.iter().zip(numbers).filter_map(|(user, no)| Some((user, no?))).collect();
    let numbers: Vec<_> = known.iter().map(|(_, no)| *no).collect();
    let found = Tree::stored(&room.view, room.no).get_many(root, &numbers).await?;
    Ok(known.into_iter().zip(found).filter_map(|((user, _), event)| Some((user.clone(), event?))).collect())
}

/// Events, however many.
pub async fn events(room: &RoomView, numbers: &[EventNo]) -> Result<Vec<Event>, Fault> {
    let mut events = Vec::with_capacity(numbers.len());
    for chunk in numbers.chunks(EVENTS) {
        events.extend(room.events(chunk).await?);
    }
    Ok(events)
}

async fn changed(
    room: &RoomView,
    before: RootRecord,
    after: RootRecord,
) -> Result<impl Iterator<Item = (KeyNo, EventNo)>, Fault> {
    let changes = if before == after { Vec::new() } else { room.state_changes(before, after).await? };
    Ok(changes.into_iter().filter_map(|(key, _, event)| Some((key, event?))))
}

/// Which membership events a device was sent, so that lazy loading does not send them again.
///
/// An entry counts once the device came back with the token of the answer that had it; until then [`Self::rewind`] may
/// take it away again.
#[derive(Default)]
pub struct Sent {
    rooms: HashMap<RoomNo, HashMap<OwnedUserId, Told>>,
    count: usize,
    newest: Position,
}

/// What was sent of a member.
struct Told {
    event: EventNo,
    /// In the answer of this snapshot.
    at: Position,
    /// A state that has this event, where one is known.
    root: Option<RootRecord>,
}

impl Sent {
    /// Nothing was sent.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The device goes on from a position: what later answers had, it may not have got.
    pub fn rewind(&mut self, since: Position) {
        if self.newest <= since {
            return;
        }
        for sent in self.rooms.values_mut() {
            sent.retain(|_, told| told.at <= since);
        }
        self.count = self.rooms.values().map(HashMap::len).sum();
        self.newest = since;
    }

    /// The room is none of the device's any more.
    pub fn forget(&mut self, room: RoomNo) {
        self.count -= self.rooms.remove(&room).map_or(0, |sent| sent.len());
    }

    /// Whether the device has this membership event.
    pub fn has(&self, room: RoomNo, user: &OwnedUserId, event: EventNo) -> bool {
        self.rooms.get(&room).and_then(|sent| sent.get(user)).is_some_and(|told| told.event == event)
    }

    /// Whether the device is known to have what a state says of all these members.
    pub fn has_all(&self, room: RoomNo, users: &BTreeSet<OwnedUserId>, root: RootRecord) -> bool {
        let Some(sent) = self.rooms.get(&room) else { return users.is_empty() };
        users.iter().all(|user| sent.get(user).is_some_and(|told| told.root == Some(root)))
    }

    /// An answer at this position has the membership event.
    pub fn note(&mut self, room: RoomNo, user: OwnedUserId, event: EventNo, at: Position) {
        if self.count >= MAX_SENT {
            self.clear();
        }
        let new = self.rooms.entry(room).or_default().insert(user, Told { event, at, root: None }).is_none();
        self.count += usize::from(new);
        self.newest = self.newest.max(at);
    }

    /// A state has these membership events. Of those that were not sent nothing is kept.
    pub fn hold(&mut self, room: RoomNo, members: &[(OwnedUserId, EventNo)], root: RootRecord) {
        let Some(sent) = self.rooms.get_mut(&room) else { return };
        for (user, event) in members {
            if let Some(told) = sent.get_mut(user).filter(|told| told.event == *event) {
                told.root = Some(root);
            }
        }
    }
}
