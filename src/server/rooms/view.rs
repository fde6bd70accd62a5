//! One room as one snapshot shows it: its head, its state, who is in it. Reads only; never writes.
//!
//! How events are read is in `events.rs`, where they stand in `timeline.rs`.

mod events;
mod timeline;

use std::sync::Arc;

use depesche_rules::{power_levels::PowerLevels, versions};
use depesche_store::{MAX_SCAN, Position, Range};
use ruma::{RoomId, UserId, events::room::member::MembershipState, room_version_rules::RoomVersionRules};

pub use self::events::Event;
use super::state;
use crate::{
    keyspace::{EventNo, HEAD, KEY, KEY_NO, KeyNo, MEMBER, PUBLISHED, ROOM, ROOM_NO, ROOT_AT, RoomNo},
    records::{
        events::Place,
        rooms::{Head, Membership, Room, RootRecord, StateKey},
    },
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

    /// The state just behind an event.
    pub async fn root_after(&self, event: EventNo) -> Result<RootRecord, Fault> {
        let [meta] = self.metas(&[event]).await?.try_into().map_err(|_| Fault::Bug("one asked".into()))?;
        self.root_at_place(meta.place.next()).await
    }

    /// The state just before whatever stands at a place.
    pub async fn root_at_place(&self, place: Place) -> Result<RootRecord, Fault> {
        match self.timeline_from(place, 1).await?.first() {
            Some((_, next)) => self.root_before(*next).await,
            None => Ok(self.root()),
        }
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

    /// The membership events below a root.
    pub async fn member_events(&self, root: RootRecord) -> Result<Vec<Event>, Fault> {
        let all = self.state_all(root).await?;
        let keys = self.keys(&all.iter().map(|(key, _)| *key).collect::<Vec<_>>()).await?;
        let members = all.iter().zip(keys).filter(|(_, key)| key.kind == "m.room.member");
        let numbers: Vec<_> = members.map(|((_, event), _)| *event).collect();
        self.events(&numbers).await
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

    fn tree(&self) -> state::Tree<'_> {
        state::Tree::stored(&self.view, self.no)
    }
}
