//! Changing a display name or an avatar: the profile first, then the membership events of all joined rooms.
//!
//! The batch of the change leaves a journal row ([`Spread`]). One task for each user carries the profile as it is then
//! from room to room, notes how far it came, and begins anew where the profile has changed meanwhile: so two quick
//! changes end in the later one everywhere, and a start goes on where a crash interrupted. The request waits for it, but
//! not for long. Who joins a room meanwhile joins with the new profile, or before the change, and then it finds the room:
//! the batch of a join requires the profile that it shows.
//!
//! Spec: [profiles](https://spec.matrix.org/v1.19/client-server-api/#profiles): a change is propagated as membership
//! events with the new values.

use std::{sync::Arc, time::Duration};

use depesche_store::CommitError;
use futures::{StreamExt, stream};
use ruma::{CanonicalJsonObject, OwnedUserId, UserId, events::room::member::MembershipState};
use tokio::time::timeout;

use super::submit_patiently;
use crate::{
    Fault, Server,
    keyspace::{MEMBER, PROFILE_SPREAD, RoomNo},
    records::accounts::Spread,
    rooms::{
        lane::Refusal,
        membership::{Action, Change},
        view::RoomView,
    },
    tasks::until_done,
    tx::Pages,
};

/// Rooms between two notes of how far a change came.
const PAGE: usize = 500;
/// Rooms that a change is carried into at a time.
const AT_ONCE: usize = 16;
/// Users whose interrupted changes are read at a time.
const USERS: usize = 100;
/// How long a request waits until its change is everywhere. It goes on all the same.
const PATIENCE: Duration = Duration::from_secs(2);

impl Server {
    /// The content of a membership event that a user's profile gives.
    pub async fn member_content(&self, user: &UserId) -> Result<CanonicalJsonObject, Fault> {
        Ok(self.profiles.find(&self.base.view(), user).await?.member_content())
    }

    /// Carries a changed profile into the rooms in which the user is joined. Returns when it is everywhere, or after some
    /// seconds: the rest follows by itself, also after a crash. A room that refuses keeps the old one.
    pub async fn propagate_profile(self: &Arc<Self>, user: &UserId) {
        let (server, user) = (Arc::clone(self), user.to_owned());
        let task = tokio::spawn(async move { server.carry_in_the_end(&user).await });
        // What becomes of the task is in the log; the change itself is stored.
        let _ = timeout(PATIENCE, task).await;
    }

    /// Goes on with changes that a crash interrupted, beside whatever else the server does.
    pub(crate) async fn resume_spreads(self: &Arc<Self>) -> Result<(), Fault> {
        if self.base.view().scan(&PROFILE_SPREAD, PROFILE_SPREAD.under(&()), 1).await?.is_empty() {
            return Ok(());
        }
        let server = Arc::clone(self);
        tokio::spawn(async move {
            let mut spreads = Pages::new(&PROFILE_SPREAD, PROFILE_SPREAD.under(&()), USERS);
            loop {
                let rows = match spreads.next(&server.base.view()).await {
                    Ok(Some(rows)) => rows,
                    Ok(None) => return,
                    Err(fault) => return tracing::error!(%fault, "changed profiles could not be carried on"),
                };
                for ((user,), _) in rows {
                    let server = Arc::clone(&server);
                    // One that fails for long keeps the others from nothing.
                    let task = tokio::spawn(async move { server.carry_in_the_end(&user).await });
                    let _ = timeout(PATIENCE, task).await;
                }
            }
        });
        Ok(())
    }

    /// As [`Self::carry`], and again after a fault, until it is done.
    async fn carry_in_the_end(&self, user: &UserId) {
        let what = format!("the changed profile of {user}");
        until_done(&self.base, &what, || async {
            let _turn = self.spreads.of(user).await;
            self.carry(user).await
        })
        .await;
    }

    async fn carry(&self, user: &UserId) -> Result<(), Fault> {
        let key = (user.to_owned(),);
        loop {
            let view = self.base.view();
            let Some(spread) = view.get(&PROFILE_SPREAD, &key).await? else { return Ok(()) };
            let content = self.profiles.find(&view, user).await?.member_content();
            let of_user = (user.to_owned(),);
            let rows = view.scan(&MEMBER, MEMBER.from(&of_user, &(user.to_owned(), spread.next)), PAGE).await?;
            let next = rows.last().filter(|_| rows.len() == PAGE).map(|((_, room), _)| room + 1);
            let joined = rows.into_iter().filter(|(_, member)| member.state == MembershipState::Join);
            let work = joined.map(|((_, room), _)| {
                let change = Change {
                    actor: user.to_owned(),
                    target: user.to_owned(),
                    // Not a join: who has left meanwhile stays out.
                    action: Action::Present,
                    content: content.clone(),
                };
                let view = &view;
                async move {
                    let presented = async { self.present(&RoomView::open(view, room).await?, &change).await };
                    // In a damaged room nothing can be said; the later ones follow all the same.
                    self.base.unless_damaged(room, presented.await).map(|_| ())
                }
            });
            let outcomes: Vec<Result<(), Fault>> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
            // A fault in one room does not keep the others from it.
            outcomes.into_iter().collect::<Result<(), Fault>>()?;
            self.note(&key, &spread, next).await?;
        }
    }

    async fn present(&self, room: &RoomView, change: &Change) -> Result<(), Fault> {
        match submit_patiently(&self.rooms, room.room_id(), change).await {
            Ok(_) => Ok(()),
            Err(Refusal::Fault(fault)) => Err(fault),
            Err(refusal @ Refusal::Busy) => Err(Fault::Commit(CommitError::Failed(refusal.to_string()))),
            Err(refusal) => {
                tracing::warn!(room = %room.room_id(), %refusal, "a changed profile did not reach a room");
                Ok(())
            }
        }
    }

    /// Notes how far a change came, or that it is everywhere, unless the profile changed meanwhile.
    async fn note(&self, key: &(OwnedUserId,), spread: &Spread, next: Option<RoomNo>) -> Result<(), Fault> {
        self.base
            .transact(|tx| async move {
                if tx.read(&PROFILE_SPREAD, key).await?.as_ref() == Some(spread) {
                    match next {
                        Some(next) => tx.put(&PROFILE_SPREAD, key, &Spread { next, ..spread.clone() }),
                        None => tx.delete(&PROFILE_SPREAD, key),
                    }
                }
                Ok(())
            })
            .await
    }
}
