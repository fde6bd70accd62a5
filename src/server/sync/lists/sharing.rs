//! Of those whose keys changed since a token, who shares a room with the viewer.
//!
//! The log of changes is as long as the server is large and the token old, the viewer's rooms have as many members as
//! they have: whichever is less work is gone through. A log of a few changes is looked at as it is.

use std::collections::BTreeSet;

use ruma::{OwnedUserId, UserId};

use super::{Compare, members};
use crate::{
    keyspace::{HEAD, MEMBER, RoomNo},
    sync::{Syncs, session::is_join},
    tx::Fault,
};

/// So many changes are looked at whatever the rooms are.
const FEW_CHANGES: usize = 64;
/// Users looked at before others have a turn.
const AT_ONCE: usize = 64;
/// In no more rooms than this, a viewer's rooms are asked for a user; of who is in more, the user's rooms are read.
const FEW_ROOMS: usize = 50;
/// Rows that are read for each state key of a room: its number, whose membership it is, when their keys changed.
const ROWS: usize = 3;

impl Syncs {
    /// Those who share a room with the viewer: all of them, or those whose keys changed.
    pub(super) async fn sharing(&self, compare: &Compare<'_>) -> Result<BTreeSet<OwnedUserId>, Fault> {
        if let Some(few) = self.keys.changed_since(compare.view, compare.since, FEW_CHANGES).await? {
            return compare.sharing_of(few).await;
        }
        let joined: Vec<RoomNo> = compare.joined_rooms().collect();
        let most = compare.rows_of(&joined).await? / joined.len().clamp(1, FEW_ROOMS);
        if most > FEW_CHANGES
            && let Some(changed) = self.keys.changed_since(compare.view, compare.since, most).await?
        {
            return compare.sharing_of(changed).await;
        }
        let mut sharing = BTreeSet::new();
        for room in joined {
            let members = members(compare.view, room).await;
            sharing.extend(self.base.unless_damaged(room, members)?.unwrap_or_default());
            tokio::task::yield_now().await;
        }
        Ok(sharing)
    }
}

impl Compare<'_> {
    /// Those of these users who share a room with the viewer.
    async fn sharing_of(&self, users: Vec<OwnedUserId>) -> Result<BTreeSet<OwnedUserId>, Fault> {
        let mut sharing = BTreeSet::new();
        for (n, user) in users.into_iter().enumerate() {
            if n % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            if self.shares_any(&user).await? {
                sharing.insert(user);
            }
        }
        Ok(sharing)
    }

    /// Whether a user shares a room with the viewer now, by the rooms of whichever of both is likely to be in fewer.
    async fn shares_any(&self, user: &UserId) -> Result<bool, Fault> {
        let keys: Vec<_> = self.joined_rooms().map(|room| (user.to_owned(), room)).take(FEW_ROOMS + 1).collect();
        if keys.len() > FEW_ROOMS {
            return Ok(!self.shared(user).await?.is_empty());
        }
        Ok(self.view.get_many(&MEMBER, &keys).await?.iter().flatten().any(is_join))
    }

    /// At most how many rows tell the members of rooms, and whether their keys changed.
    async fn rows_of(&self, rooms: &[RoomNo]) -> Result<usize, Fault> {
        let heads = self.view.get_each(&HEAD, &rooms.iter().map(|room| (*room,)).collect::<Vec<_>>()).await?;
        // Who opens a damaged one finds out.
        let keys = heads.into_iter().filter_map(|head| head.ok().flatten()).map(|head| head.next_key as usize);
        Ok(keys.fold(0, usize::saturating_add).saturating_mul(ROWS))
    }
}
