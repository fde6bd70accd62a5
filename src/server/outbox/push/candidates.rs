//! Whom an event may be told by push: the members of its room who have a pusher. They are looked up once for each state of
//! a room, and kept.
//!
//! A generation counts the users who came to have a pusher. What is kept of one says nothing of the next.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use depesche_store::MAX_SCAN;
use ruma::{OwnedUserId, events::room::member::MembershipState};

use crate::{
    Fault,
    keyspace::{KEY, MEMBER, PUSHER_COUNT, RoomNo},
    records::rooms::{Membership, RootRecord, StateKey},
    rooms::view::RoomView,
    tx::{Pages, View},
};

/// In a room with no more pairs of state than this, its members are looked through for pushers; in a larger one, those
/// who have pushers for members.
const FEW_KEYS: u32 = 500;
/// Rooms whose members with pushers are remembered.
const ROOMS: usize = 10_000;

/// The members with a pusher, of the rooms of late.
#[derive(Default)]
pub struct Candidates {
    rooms: HashMap<RoomNo, OfRoom>,
    /// All who have a pusher, of a generation.
    everyone: Option<(u64, Vec<OwnedUserId>)>,
}

/// Those of one room, while its state does not change and nobody comes to have a pusher. Some may have none any more.
struct OfRoom {
    root: RootRecord,
    generation: u64,
    users: Arc<[OwnedUserId]>,
}

impl Candidates {
    /// The joined members who have a pusher, with a `generation` that is no newer than the room's view.
    pub async fn of(&mut self, room: &RoomView, generation: u64) -> Result<Arc<[OwnedUserId]>, Fault> {
        let root = room.root();
        if let Some(known) = self.rooms.get(&room.no)
            && (known.root, known.generation) == (root, generation)
        {
            return Ok(Arc::clone(&known.users));
        }
        // Taken out: what cannot be compared is looked up anew the next time.
        let known = self.rooms.remove(&room.no).filter(|known| known.generation == generation);
        let users: Arc<[OwnedUserId]> = if let Some(known) = known {
            let changed = changed_members(room, known.root, root).await?;
            let mut users: Vec<_> = known.users.iter().filter(|user| !changed.contains(*user)).cloned().collect();
            users.extend(joined_of(room, &with_pusher_of(&room.view, changed).await?).await?);
            users.into()
        } else if room.head.next_key <= FEW_KEYS {
            joined_of(room, &with_pusher_of(&room.view, named_in(room).await?).await?).await?.into()
        } else {
            let everyone = match self.everyone.take() {
                Some((of, everyone)) if of == generation => everyone,
                _ => everyone_with_pusher(&room.view).await?,
            };
            let (_, everyone) = self.everyone.insert((generation, everyone));
            joined_of(room, everyone).await?.into()
        };
        if self.rooms.len() >= ROOMS {
            self.rooms.clear();
        }
        self.rooms.insert(room.no, OfRoom { root, generation, users: Arc::clone(&users) });
        Ok(users)
    }
}

/// Everybody of whose membership the room ever heard.
async fn named_in(room: &RoomView) -> Result<Vec<OwnedUserId>, Fault> {
    let keys = room.view.scan(&KEY, KEY.under(&(room.no,)), MAX_SCAN).await?;
    Ok(keys.into_iter().filter_map(|(_, key)| member_of(key)).collect())
}

/// Whose membership is another event than it was.
async fn changed_members(
    room: &RoomView,
    before: RootRecord,
    after: RootRecord,
) -> Result<BTreeSet<OwnedUserId>, Fault> {
    let changes = room.state_changes(before, after).await?;
    let keys: Vec<_> = changes.into_iter().map(|(key, ..)| (room.no, key)).collect();
    let keys = room.view.get_many(&KEY, &keys).await?.into_iter().flatten();
    Ok(keys.filter_map(member_of).collect())
}

/// All who have a pusher.
async fn everyone_with_pusher(view: &View) -> Result<Vec<OwnedUserId>, Fault> {
    let mut pages = Pages::new(&PUSHER_COUNT, PUSHER_COUNT.under(&()), MAX_SCAN);
    let mut users = Vec::new();
    while let Some(rows) = pages.next(view).await? {
        users.extend(rows.into_iter().map(|((user,), _)| user));
    }
    Ok(users)
}

/// Those of some users who have a pusher.
async fn with_pusher_of(view: &View, users: impl IntoIterator<Item = OwnedUserId>) -> Result<Vec<OwnedUserId>, Fault> {
    let keys: Vec<_> = users.into_iter().map(|user| (user,)).collect();
    let counts = view.get_many(&PUSHER_COUNT, &keys).await?;
    Ok(keys.into_iter().zip(counts).filter_map(|((user,), count)| count.map(|_| user)).collect())
}

/// Those of some users who are joined.
async fn joined_of(room: &RoomView, users: &[OwnedUserId]) -> Result<Vec<OwnedUserId>, Fault> {
    let keys: Vec<_> = users.iter().map(|user| (user.clone(), room.no)).collect();
    let members = room.view.get_many(&MEMBER, &keys).await?;
    let is_joined = |member: &Option<Membership>| member.as_ref().is_some_and(|own| own.state == MembershipState::Join);
    Ok(keys.into_iter().zip(members).filter(|(_, member)| is_joined(member)).map(|((user, _), _)| user).collect())
}

/// The member whose key this is.
fn member_of(key: StateKey) -> Option<OwnedUserId> {
    if key.kind == "m.room.member" { key.state_key.try_into().ok() } else { None }
}
