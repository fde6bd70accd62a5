//! A user's list of rooms: joined ones, and those forgotten.

use ruma::{OwnedRoomId, RoomId, UserId, events::room::member::MembershipState};

use super::Rooms;
use crate::{
    keyspace::{MEMBER, ROOM, ROOM_NO},
    topic,
    tx::Fault,
};

/// Rooms read in one step.
const PAGE: usize = 1000;

/// Why a room is not forgotten.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ForgetError {
    /// The user is still in it, or invited, or knocking.
    #[error("a room is left before it is forgotten")]
    StillIn,
    /// The user has nothing to do with it.
    #[error("you were never in this room")]
    NotFound,
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Rooms {
    /// The rooms a user is joined to, in no particular order.
    pub async fn joined_by(&self, user: &UserId) -> Result<Vec<OwnedRoomId>, Fault> {
        let view = self.base.view();
        let mut range = MEMBER.under(&(user.to_owned(),));
        let mut joined = Vec::new();
        loop {
            let rows = view.scan(&MEMBER, range, PAGE).await?;
            let numbers = rows.iter().filter(|(_, member)| member.state == MembershipState::Join);
            let numbers: Vec<_> = numbers.map(|((_, room), _)| (*room,)).collect();
            joined.extend(view.get_many(&ROOM, &numbers).await?.into_iter().flatten().map(|room| room.room_id));
            match rows.last() {
                Some(((user, room), _)) if rows.len() == PAGE => {
                    range = MEMBER.from(&(user.clone(),), &(user.clone(), room + 1));
                }
                _ => return Ok(joined),
            }
        }
    }

    /// Takes a room that the user left out of the user's view.
    pub async fn forget(&self, user: &UserId, room: &RoomId) -> Result<(), ForgetError> {
        let (user, room) = (&user.to_owned(), &(room.to_owned(),));
        self.base
            .transact(|tx| async move {
                // Peeked: a room's number never changes.
                let no = tx.peek(&ROOM_NO, room).await?.ok_or(ForgetError::NotFound)?;
                let key = (user.clone(), no);
                let mut member = tx.read(&MEMBER, &key).await?.ok_or(ForgetError::NotFound)?;
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
