//! A user's list of rooms: joined ones, and those forgotten.

use std::collections::BTreeSet;

use ruma::{OwnedRoomId, RoomId, UserId, events::room::member::MembershipState};

use super::Rooms;
use crate::{
    keyspace::{MEMBER, ROOM, ROOM_NO},
    topic,
    tx::{Fault, Pages},
};

/// Rooms read in one step.
const PAGE: usize = 1000;

/// Why a room is not forgotten.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForgetError {
    /// The user is still in it, or invited, or knocking.
    #[error("a room is left before it is forgotten")]
    StillIn,
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A page of the rooms that two users are joined to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mutual {
    /// The rooms, by their ids.
    pub joined: Vec<OwnedRoomId>,
    /// How many there are in all.
    pub count: usize,
    /// Where the next page begins: behind this room. `None` if nothing follows.
    pub next: Option<OwnedRoomId>,
}

impl Rooms {
    /// The rooms that two users are joined to, at most `limit` of those behind `after`. Costs what both are joined to.
    pub async fn mutual(
        &self,
        user: &UserId,
        other: &UserId,
        after: Option<&RoomId>,
        limit: usize,
    ) -> Result<Mutual, Fault> {
        let others: BTreeSet<_> = self.joined_by(other).await?.into_iter().collect();
        let mut joined = self.joined_by(user).await?;
        joined.retain(|room| others.contains(room));
        joined.sort_unstable();
        let count = joined.len();
        joined.retain(|room| after.is_none_or(|after| **room > *after));
        let more = joined.len() > limit;
        joined.truncate(limit);
        let next = joined.last().filter(|_| more).cloned();
        Ok(Mutual { joined, count, next })
    }

    /// The rooms a user is joined to, in no particular order.
    pub async fn joined_by(&self, user: &UserId) -> Result<Vec<OwnedRoomId>, Fault> {
        let view = self.base.view();
        let mut rooms = Pages::new(&MEMBER, MEMBER.under(&(user.to_owned(),)), PAGE);
        let mut joined = Vec::new();
        while let Some(rows) = rooms.next(&view).await? {
            let numbers = rows.iter().filter(|(_, member)| member.state == MembershipState::Join);
            let numbers: Vec<_> = numbers.map(|((_, room), _)| (*room,)).collect();
            joined.extend(view.get_many(&ROOM, &numbers).await?.into_iter().flatten().map(|room| room.room_id));
        }
        Ok(joined)
    }

    /// Takes a room that the user left out of the user's view. Of one that they have nothing to do with there is nothing
    /// to forget.
    pub async fn forget(&self, user: &UserId, room: &RoomId) -> Result<(), ForgetError> {
        let (user, room) = (&user.to_owned(), &(room.to_owned(),));
        self.base
            .transact(|tx| async move {
                // Peeked: a room's number never changes.
                let Some(no) = tx.peek(&ROOM_NO, room).await? else { return Ok(()) };
                let key = (user.clone(), no);
                let Some(mut member) = tx.read(&MEMBER, &key).await? else { return Ok(()) };
                if !matches!(member.state, MembershipState::Leave | MembershipState::Ban) {
                    return Err(ForgetError::StillIn);
                }
                member.forgotten = true;
                tx.put(&MEMBER, &key, &member);
                tx.topic(topic::user(user));
                Ok(())
            })
            .await
    }
}
