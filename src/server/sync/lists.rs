//! Device lists: whose keys a client must fetch anew, and whose it may forget.
//!
//! `changed` has the users who share a room with the viewer and whose keys changed, those who joined a room of the
//! viewer's, and all members of a room that the viewer joined or that became encrypted. `left` has those who went from a
//! room of the viewer's, or from whose room the viewer went: out of an encrypted room those who share no encrypted room
//! now, out of another those who share no room at all.
//!
//! The specification asks for encrypted rooms alone; others are said as well, for clients that begin before the room
//! does.
//!
//! Costs what changed: key changes by the log of `keys`, memberships by the difference of states. A whole list of members
//! is read only of encrypted rooms, of others with few members, and where fewer share rooms than changed their keys
//! (`lists/sharing.rs`).
//!
//! Spec: [device list tracking](https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user),
//! [extensions to sync](https://spec.matrix.org/v1.19/client-server-api/#e2e-extensions-to-sync).

mod sharing;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use depesche_rules::visibility;
use depesche_store::{MAX_SCAN, Position};
use ruma::{OwnedUserId, UserId, events::room::member::MembershipState};

use super::{
    SyncError, Syncs, delta,
    session::{self, Rooms, Session, is_join},
};
use crate::{
    keyspace::{EventNo, KEY_NO, MEMBER, ROOT_AT, RoomNo},
    records::rooms::RootRecord,
    rooms::view::RoomView,
    topic,
    tx::{Fault, Pages, View},
};

/// How many members that changed are looked at at a time.
const PAGE: usize = 1000;

/// Up to how many members of a room that is not encrypted are told to whoever joins or leaves it.
const FEW_MEMBERS: u32 = 100;

/// Whose keys to fetch anew, and whose to forget.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DeviceLists {
    /// Their keys changed, or they came to share a room.
    pub changed: BTreeSet<OwnedUserId>,
    /// They share no encrypted room any more.
    pub left: BTreeSet<OwnedUserId>,
}

impl DeviceLists {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

impl Syncs {
    /// For `GET /keys/changes`: what the answers of `/sync` from one token to another said, and perhaps what they will
    /// say next.
    pub async fn key_changes(&self, user: &UserId, from: &str, to: &str) -> Result<DeviceLists, SyncError> {
        let (from, _) = (self.token(from)?, self.token(to)?);
        let turn = self.changing.acquire().await;
        let _turn = turn.map_err(|_| Fault::Bug("the turns of changed keys are closed".into()))?;
        let view = self.base.view();
        let rooms = Rooms::read(&view, user).await?;
        let joined: Vec<_> = rooms.joined().map(|(room, _)| room).collect();
        Ok(self.device_lists(&view, user, from.position, (&rooms, &joined), true).await?)
    }

    /// The lists of an answer to a device: what no topic spoke of since is not looked for, and not in rooms that are known
    /// to have the state they had.
    pub(super) async fn device_lists_of(
        &self,
        view: &View,
        session: &Session,
        since: Position,
        unchanged: &BTreeSet<RoomNo>,
    ) -> Result<DeviceLists, Fault> {
        let keys = session.user_changed(since) || self.keys_changed(since);
        let mut perhaps = session.changed_rooms(since);
        perhaps.retain(|room| !unchanged.contains(room));
        let rooms = (&session.rooms, &perhaps[..]);
        self.device_lists(view, session.user(), since, rooms, keys).await
    }

    /// Whether anybody's keys may have changed since a position.
    fn keys_changed(&self, since: Position) -> bool {
        let (begun, watch) = &self.key_news;
        *begun > since || watch.last(topic::keys()).is_some_and(|last| last > since)
    }

    /// The lists between a position and a snapshot. `perhaps` are the joined rooms in which something may have changed;
    /// `keys` says whether keys or signatures may have.
    async fn device_lists(
        &self,
        view: &View,
        user: &UserId,
        since: Position,
        (rooms, perhaps): (&Rooms, &[RoomNo]),
        keys: bool,
    ) -> Result<DeviceLists, Fault> {
        let mut compare = Compare {
            view,
            user,
            since,
            rooms,
            encrypted: HashMap::new(),
            came: BTreeSet::new(),
            went: BTreeMap::new(),
        };
        for room in perhaps {
            let compared = match compare.state_changed(*room).await {
                Ok(true) => compare.joined(*room).await,
                other => other.map(|_| ()),
            };
            self.base.unless_damaged(*room, compared)?;
        }
        // Whoever was invited anew, or knocked, has left before.
        let gone = rooms.changed_since(since).filter(|(_, member)| !is_join(member));
        for room in gone.map(|(room, _)| room).collect::<Vec<_>>() {
            let compared = compare.left(room).await;
            self.base.unless_damaged(room, compared)?;
        }
        let mut lists = DeviceLists::default();
        for (gone, encrypted) in std::mem::take(&mut compare.went) {
            if gone != *user && !compare.shares(&gone, encrypted).await? {
                lists.left.insert(gone);
            }
        }
        if keys {
            let sharing = self.sharing(&compare).await?;
            lists.changed = self.keys.changed_among(view, user, since, &sharing).await?;
        }
        lists.changed.extend(compare.came);
        lists.changed.retain(|changed| !lists.left.contains(changed));
        Ok(lists)
    }
}

/// Compares the memberships of rooms at a position with those of now.
struct Compare<'a> {
    view: &'a View,
    user: &'a UserId,
    since: Position,
    rooms: &'a Rooms,
    encrypted: HashMap<RoomNo, bool>,
    /// Who came to share a room.
    came: BTreeSet<OwnedUserId>,
    /// Who went from one, and whether it was encrypted.
    went: BTreeMap<OwnedUserId, bool>,
}

/// A member whose membership event is another than it was.
struct Changed {
    user: OwnedUserId,
    was_joined: bool,
    is_joined: bool,
}

impl Compare<'_> {
    /// Whether the room's state changed since.
    async fn state_changed(&self, room: RoomNo) -> Result<bool, Fault> {
        let above = (room, Position(self.since.0.saturating_add(1)));
        Ok(!self.view.scan(&ROOT_AT, ROOT_AT.from(&(room,), &above), 1).await?.is_empty())
    }

    /// A room that the viewer is in.
    async fn joined(&mut self, no: RoomNo) -> Result<(), Fault> {
        let room = RoomView::open(self.view, no).await?;
        let before = room.root_at(self.since).await?;
        let was_joined = self.was_joined(&room, before).await?;
        let is_encrypted_now = is_encrypted(&room, room.root()).await?;
        if is_encrypted_now && !(was_joined && is_encrypted(&room, before).await?) {
            self.came.extend(members(self.view, no).await?);
        }
        if !was_joined {
            self.came.extend(few_members(&room).await?);
            return Ok(());
        }
        for member in changed(&room, before, room.root()).await? {
            if member.is_joined && !member.was_joined {
                self.came.insert(member.user);
            } else if member.was_joined && !member.is_joined {
                self.went(member.user, is_encrypted_now);
            }
        }
        Ok(())
    }

    /// A room that the viewer is no longer in.
    async fn left(&mut self, no: RoomNo) -> Result<(), Fault> {
        let room = RoomView::open(self.view, no).await?;
        let before = room.root_at(self.since).await?;
        if !self.was_joined(&room, before).await? {
            return Ok(());
        }
        let encrypted = is_encrypted(&room, before).await?;
        let others = if encrypted { members(self.view, no).await? } else { few_members(&room).await? };
        let changed = changed(&room, before, room.root()).await?;
        let (were, came): (Vec<_>, Vec<_>) = changed.into_iter().partition(|member| member.was_joined);
        // Who came since may have come after the viewer went.
        let came: BTreeSet<_> = came.into_iter().map(|member| member.user).collect();
        let stayed = others.into_iter().filter(|user| !came.contains(user));
        for user in stayed.chain(were.into_iter().map(|member| member.user)) {
            self.went(user, encrypted);
        }
        Ok(())
    }

    fn went(&mut self, user: OwnedUserId, encrypted: bool) {
        *self.went.entry(user).or_default() |= encrypted;
    }

    async fn was_joined(&self, room: &RoomView, before: RootRecord) -> Result<bool, Fault> {
        let event = room.state_event(before, "m.room.member", self.user.as_str()).await?;
        Ok(visibility::membership(event.as_ref().map(|event| &event.pdu)) == MembershipState::Join)
    }

    /// The rooms that a user shares with the viewer now.
    async fn shared(&self, user: &UserId) -> Result<Vec<RoomNo>, Fault> {
        let theirs = session::memberships(self.view, user).await?;
        let shared = theirs.iter().filter(|(room, member)| is_join(member) && self.rooms.is_joined(**room));
        Ok(shared.map(|(room, _)| *room).collect())
    }

    /// The rooms that the viewer is in.
    fn joined_rooms(&self) -> impl Iterator<Item = RoomNo> {
        self.rooms.joined().map(|(room, _)| room)
    }

    /// Whether a user shares a room with the viewer now, an encrypted one if it must be one.
    async fn shares(&mut self, user: &UserId, encrypted: bool) -> Result<bool, Fault> {
        let shared = self.shared(user).await?;
        if !encrypted {
            return Ok(!shared.is_empty());
        }
        for no in shared {
            let encrypted = if let Some(known) = self.encrypted.get(&no) {
                *known
            } else {
                let encrypted = async {
                    let room = RoomView::open(self.view, no).await?;
                    is_encrypted(&room, room.root()).await
                };
                match encrypted.await {
                    // Nobody reads there what somebody says.
                    Err(fault) if fault.is_damage() => false,
                    known => known?,
                }
            };
            self.encrypted.insert(no, encrypted);
            if encrypted {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

async fn is_encrypted(room: &RoomView, root: RootRecord) -> Result<bool, Fault> {
    Ok(room.state_no(root, "m.room.encryption", "").await?.is_some())
}

/// All who are joined, unless they are many.
async fn few_members(room: &RoomView) -> Result<Vec<OwnedUserId>, Fault> {
    if room.head.joined > FEW_MEMBERS { Ok(Vec::new()) } else { members(&room.view, room.no).await }
}

/// All who are joined.
async fn members(view: &View, room: RoomNo) -> Result<Vec<OwnedUserId>, Fault> {
    let of_kind = KEY_NO.under(&(room, "m.room.member".to_owned()));
    let (mut pages, mut joined) = (Pages::new(&KEY_NO, of_kind, MAX_SCAN), Vec::new());
    while let Some(rows) = pages.next(view).await? {
        let users = rows.into_iter().filter_map(|((_, _, user), _)| OwnedUserId::try_from(user).ok());
        let keys: Vec<_> = users.map(|user| (user, room)).collect();
        for ((user, _), member) in keys.clone().into_iter().zip(view.get_many(&MEMBER, &keys).await?) {
            if member.as_ref().is_some_and(is_join) {
                joined.push(user);
            }
        }
    }
    Ok(joined)
}

/// The members that two states have differently.
async fn changed(room: &RoomView, before: RootRecord, after: RootRecord) -> Result<Vec<Changed>, Fault> {
    let changes = room.state_changes(before, after).await?;
    let mut members = Vec::new();
    for chunk in changes.chunks(PAGE) {
        let numbers: Vec<_> = chunk.iter().map(|(key, _, _)| *key).collect();
        let keys = room.keys(&numbers).await?;
        let named = chunk.iter().zip(keys).filter(|(_, key)| key.kind == "m.room.member");
        members.extend(
            named.filter_map(|((_, was, is), key)| Some((OwnedUserId::try_from(key.state_key).ok()?, *was, *is))),
        );
    }
    let numbers: Vec<EventNo> = members.iter().flat_map(|(_, was, is)| [*was, *is]).flatten().collect();
    let events = delta::events(room, &numbers).await?;
    let joined: BTreeSet<EventNo> = events
        .iter()
        .filter(|event| event.pdu.membership() == Some(MembershipState::Join))
        .map(|event| event.no)
        .collect();
    let is_join = |event: Option<EventNo>| event.is_some_and(|event| joined.contains(&event));
    let changed = members.into_iter();
    Ok(changed.map(|(user, was, is)| Changed { user, was_joined: is_join(was), is_joined: is_join(is) }).collect())
}
