//! Deactivating an account: first the account itself, so that nobody can log in; then its rooms, one after another;
//! then the mark that it is done. A room that fails keeps the others from nothing: it is tried again at growing intervals,
//! and after a restart.

use std::sync::Arc;

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
    tasks::until_done,
    tx::Pages,
};

/// Rooms looked at in one step.
const PAGE: usize = 500;

impl Server {
    /// Deactivates an account for good. Repeating it does no harm. Rooms that cannot be left now are left later: the
    /// account is over, and nobody could ask again.
    pub async fn deactivate(self: &Arc<Self>, user: &UserId, erase: bool) -> Result<(), DeactivateError> {
        if self.accounts.begin_deactivation(user, erase).await?.is_some()
            && let Err(fault) = self.finish_deactivation(user).await
        {
            tracing::warn!(%user, %fault, "a deactivated user is still in rooms");
            let (server, user) = (Arc::clone(self), user.to_owned());
            tokio::spawn(async move {
                let what = format!("the deactivation of {user}");
                until_done(&server.base, &what, || server.finish_deactivation(&user)).await;
            });
        }
        Ok(())
    }

    /// Goes on with deactivations that were interrupted, beside whatever else the server does.
    pub(crate) fn resume_deactivations(self: &Arc<Self>) {
        let server = Arc::clone(self);
        tokio::spawn(async move {
            until_done(&server.base, "a deactivation", || server.finish_deactivations()).await;
        });
    }

    /// One look at all that are not finished. A fault of one keeps the others from nothing.
    async fn finish_deactivations(&self) -> Result<(), Fault> {
        let (mut after, mut outcome) = (None, Ok(()));
        loop {
            let unfinished = self.accounts.unfinished(after.as_deref()).await?;
            for left in &unfinished {
                outcome = outcome.and(self.finish_deactivation(&left.user).await);
            }
            match unfinished.into_iter().next_back() {
                Some(last) => after = Some(last.user),
                None => return outcome,
            }
        }
    }

    async fn finish_deactivation(&self, user: &UserId) -> Result<(), Fault> {
        self.leave_all(user).await?;
        self.accounts.finish_deactivation(user).await
    }

    /// Leaves all rooms that can be left; the fault of one that cannot is the answer.
    async fn leave_all(&self, user: &UserId) -> Result<(), Fault> {
        let (view, mut outcome) = (self.base.view(), Ok(()));
        let mut rooms = Pages::new(&MEMBER, MEMBER.under(&(user.to_owned(),)), PAGE);
        while let Some(rows) = rooms.next(&view).await? {
            for ((_, room), member) in rows {
                if matches!(member.state, MembershipState::Join | MembershipState::Invite | MembershipState::Knock) {
                    let left = async {
                        let room = RoomView::open(&view, room).await?;
                        self.leave_quietly(&room, user.to_owned()).await
                    };
                    outcome = outcome.and(left.await);
                }
            }
        }
        outcome
    }

    /// A refusal (banned meanwhile, say) leaves the membership to the room's rules.
    async fn leave_quietly(&self, room: &RoomView, user: OwnedUserId) -> Result<(), Fault> {
        let (actor, target) = (user.clone(), user);
        let change = Change { actor, target, action: Action::Leave, content: CanonicalJsonObject::new() };
        match submit_patiently(&self.rooms, room.room_id(), &change).await {
            Err(Refusal::Fault(fault)) => Err(fault),
            // The journal row stays: it is tried again.
            Err(refusal @ Refusal::Busy) => Err(Fault::Commit(CommitError::Failed(refusal.to_string()))),
            Err(refusal) => {
                tracing::warn!(room = %room.room_id(), %refusal, "a deactivated user could not leave a room");
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}
