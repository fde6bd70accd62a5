//! What a user has to do with rooms, and since when these are watched: by number, and in the order of positions, so
//! that a poll finds what is new to it without going through all rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use depesche_store::{MAX_SCAN, Position};
use ruma::{UserId, events::room::member::MembershipState};

use crate::{
    keyspace::{MEMBER, RoomNo},
    records::rooms::Membership,
    tx::{Fault, Pages, View},
};

/// All that a user has or had to do with rooms.
#[derive(Default)]
pub struct Rooms {
    by_no: BTreeMap<RoomNo, Membership>,
    by_position: BTreeSet<(u64, RoomNo)>,
    /// How many rooms were gone through, one by one.
    #[cfg(test)]
    walked: std::sync::atomic::AtomicUsize,
}

impl Rooms {
    /// As a snapshot shows them.
    pub async fn read(view: &View, user: &UserId) -> Result<Self, Fault> {
        Ok(Self::of(memberships(view, user).await?))
    }

    fn of(by_no: BTreeMap<RoomNo, Membership>) -> Self {
        let by_position = by_no.iter().map(|(room, member)| (member.position, *room)).collect();
        Self {
            by_no,
            by_position,
            #[cfg(test)]
            walked: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// What the user has to do with one.
    pub fn get(&self, room: RoomNo) -> Option<&Membership> {
        self.by_no.get(&room)
    }

    /// Whether the user is in one.
    pub fn is_joined(&self, room: RoomNo) -> bool {
        self.get(room).is_some_and(is_join)
    }

    /// All, by number. Costs what there are.
    pub fn all(&self) -> impl Iterator<Item = (RoomNo, &Membership)> {
        #[cfg(test)]
        self.walked.fetch_add(self.by_no.len(), std::sync::atomic::Ordering::Relaxed);
        self.by_no.iter().map(|(room, member)| (*room, member))
    }

    /// Those that the user is in, by number. Costs what all are.
    pub fn joined(&self) -> impl Iterator<Item = (RoomNo, &Membership)> {
        self.all().filter(|(_, member)| is_join(member))
    }

    /// Those where the membership changed above a position, the first to change first. Costs what it returns.
    pub fn changed_since(&self, since: Position) -> impl Iterator<Item = (RoomNo, &Membership)> {
        let changed = self.by_position.range((since.0.saturating_add(1), RoomNo::MIN)..);
        changed.filter_map(move |(_, room)| Some((*room, self.by_no.get(room)?)))
    }

    /// How many rooms were gone through so far.
    #[cfg(test)]
    pub fn walked(&self) -> usize {
        self.walked.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Whether somebody is in a room.
pub fn is_join(member: &Membership) -> bool {
    member.state == MembershipState::Join
}

/// All rows of a user.
pub async fn memberships(view: &View, user: &UserId) -> Result<BTreeMap<RoomNo, Membership>, Fault> {
    let mut found = BTreeMap::new();
    let mut pages = Pages::new(&MEMBER, MEMBER.under(&(user.to_owned(),)), MAX_SCAN);
    while let Some(rows) = pages.next(view).await? {
        found.extend(rows.into_iter().map(|((_, room), member)| (room, member)));
    }
    Ok(found)
}

/// The rooms that are watched, each with the position above which its changes are known.
#[derive(Default)]
pub struct Watched {
    since: HashMap<RoomNo, Position>,
    by_position: BTreeSet<(Position, RoomNo)>,
}

impl Watched {
    /// Takes in a room whose changes are known above a position.
    pub fn add(&mut self, room: RoomNo, since: Position) {
        self.remove(room);
        self.since.insert(room, since);
        self.by_position.insert((since, room));
    }

    /// Takes a room out.
    pub fn remove(&mut self, room: RoomNo) {
        if let Some(since) = self.since.remove(&room) {
            self.by_position.remove(&(since, room));
        }
    }

    /// Above which position a room's changes are known.
    pub fn since(&self, room: RoomNo) -> Option<Position> {
        self.since.get(&room).copied()
    }

    /// All rooms.
    pub fn all(&self) -> impl Iterator<Item = RoomNo> {
        self.since.keys().copied()
    }

    /// The rooms of which something between a position and now may not be known. Costs what it returns.
    pub fn later_than(&self, position: Position) -> impl Iterator<Item = RoomNo> {
        let later = self.by_position.range((Position(position.0.saturating_add(1)), RoomNo::MIN)..);
        later.map(|(_, room)| *room)
    }
}
