//! Deactivating an account: first the account itself, so that nobody can log in; then its rooms, one after another;
//! then the mark that it is done. A restart goes on where a crash interrupted.

use depesche_store::CommitError;
use ruma::{CanonicalJsonObject, OwnedUserId, UserId, events::room::member::MembershipState};

use super::submit_patiently;
use crate::{
    Fault, Server,
    accounts::DeactivateError,
    keyspace::MEMBER,
    rooms::{
        lane::Refusal,
        membership::{Action, Change},
        view::RoomView,
    },
};

/// Rooms looked at in one step.
const PAGE: usize = 500;

impl Server {
    /// Deactivates an account for good. Repeating it does no harm.
    pub async fn deactivate(&self, user: &UserId, erase: bool) -> Result<(), DeactivateError> {
        if self.accounts.begin_deactivation(user, erase).await?.is_some() {
            self.leave_all(user).await?;
            self.accounts.finish_deactivation(user).await?;
        }
        Ok(())
    }

    /// Goes on with deactivations that a crash interrupted.
    pub(crate) async fn resume_deactivations(&self) -> Result<(), Fault> {
        loop {
            let unfinished = self.accounts.unfinished().await?;
            if unfinished.is_empty() {
                return Ok(());
            }
            for left in unfinished {
                self.leave_all(&left.user).await?;
                self.accounts.finish_deactivation(&left.user).await?;
            }
        }
    }

    async fn leave_all(&self, user: &UserId) -> Result<(), Fault> {
        let view = self.base.view();
        let mut range = MEMBER.under(&(user.to_owned(),));
        loop {
            let rows = view.scan(&MEMBER, range.clone(), PAGE).await?;
            for ((_, room), member) in &rows {
                if matches!(member.state, MembershipState::Join | MembershipState::Invite | MembershipState::Knock) {
                    let room = RoomView::open(&view, *room).await?;
                    self.leave_quietly(&room, user.to_owned()).await?;
                }
            }
            match rows.last() {
                Some(((user, room), _)) if rows.len() == PAGE => {
                    range = MEMBER.from(&(user.clone(),), &(user.clone(), room + 1));
                }
                _ => return Ok(()),
            }
        }
    }

    /// A refusal (banned meanwhile, say) leaves the membership to the room's rules.
    async fn leave_quietly(&self, room: &RoomView, user: OwnedUserId) -> Result<(), Fault> {
        let (actor, target) = (user.clone(), user);
        let change = Change { actor, target, action: Action::Leave, content: CanonicalJsonObject::new() };
        match submit_patiently(&self.rooms, room.room_id(), &change).await {
            Err(Refusal::Fault(fault)) => Err(fault),
            // The journal row stays: the next start goes on.
            Err(refusal @ Refusal::Busy) => Err(Fault::Commit(CommitError::Failed(refusal.to_string()))),
            Err(refusal) => {
                tracing::warn!(room = %room.room_id(), %refusal, "a deactivated user could not leave a room");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}
