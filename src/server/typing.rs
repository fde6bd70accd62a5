//! Who types in a room. It lives in memory alone, and ends by itself.
//!
//! A row is there as long as somebody types; a timer takes it away, and so does their leave (in its batch, by
//! [`stopped`]). A message does not: the client says itself when its user has stopped. The room's own row has the position
//! of the last change, so that `/sync` says who types only when that changed. Typing on only moves the timer: nothing is
//! written, nobody wakes.
//!
//! What the disk keeps is in which rooms somebody types, so that a start can tell clients that this is over.
//!
//! Spec: [typing notifications](https://spec.matrix.org/v1.19/client-server-api/#typing-notifications).

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use depesche_rules::bounds::{MAX_TYPING_SHOWN, MAX_TYPING_TIMEOUT_MS};
use depesche_store::{Mutex, Position, Stamp, StampAt};
use ruma::{OwnedUserId, RoomId, UserId, events::room::member::MembershipState};
use tokio::task::{self, AbortHandle};

use crate::{
    Base, Fault,
    keyspace::{MEMBER, ROOM_NO, RoomNo, TYPED, TYPING},
    tasks::until_done,
    topic,
    tx::{Tx, View},
};

/// Rooms that a start tells of in one batch.
const ROOMS: usize = 1000;

/// Why nobody is told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TypingError {
    /// Only members type.
    #[error("you are not joined to this room")]
    NotJoined,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Who types, with the timers that end it.
pub struct Typing {
    base: Arc<Base>,
    timers: Mutex<HashMap<(RoomNo, OwnedUserId), AbortHandle>>,
}

impl Typing {
    /// Nobody types.
    pub fn new(base: Arc<Base>) -> Arc<Self> {
        Arc::new(Self { base, timers: Mutex::default() })
    }

    /// Where somebody typed when the server last ended, tells that nobody does.
    pub async fn resume(&self) -> Result<(), Fault> {
        loop {
            let tx = self.base.tx();
            let rows = tx.view().scan(&TYPED, TYPED.under(&()), ROOMS).await?;
            for (key, ()) in &rows {
                tx.delete(&TYPED, key);
                change(&tx, key.0);
            }
            self.base.commit(&tx).await?;
            if rows.len() < ROOMS {
                return Ok(());
            }
        }
    }

    /// A member types for so long, at most two minutes, or has stopped.
    pub async fn set(
        self: &Arc<Self>,
        user: &UserId,
        room: &RoomId,
        timeout: Option<Duration>,
    ) -> Result<(), TypingError> {
        let view = self.base.view();
        let room = view.get(&ROOM_NO, &(room.to_owned(),)).await?.ok_or(TypingError::NotJoined)?;
        let member = view.get(&MEMBER, &(user.to_owned(), room)).await?;
        if member.is_none_or(|member| member.state != MembershipState::Join) {
            return Err(TypingError::NotJoined);
        }
        let key = (room, user.to_owned());
        if let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero()) {
            // First the timer: whatever becomes of the batch, what it wrote ends.
            self.end_after(key.clone(), timeout.min(Duration::from_millis(MAX_TYPING_TIMEOUT_MS)));
            self.write(&key, true).await?;
        } else {
            // If this fails, the timer ends it.
            let timer = self.timers().get(&key).map(AbortHandle::id);
            self.write(&key, false).await?;
            if let Some(timer) = timer {
                self.forget(&key, timer);
            }
        }
        Ok(())
    }

    async fn write(&self, (room, user): &(RoomNo, OwnedUserId), types: bool) -> Result<(), Fault> {
        self.base
            .transact(|tx| async move {
                let key = (*room, user.to_string());
                if tx.read(&TYPING, &key).await?.is_some() == types {
                    return Ok(());
                }
                if types {
                    tx.put(&TYPING, &key, &0);
                    tx.put(&TYPED, &(*room,), &());
                } else {
                    end(&tx, &key).await?;
                }
                change(&tx, *room);
                tx.lazy();
                Ok(())
            })
            .await
    }

    /// Sets the timer of a member anew.
    fn end_after(self: &Arc<Self>, key: (RoomNo, OwnedUserId), timeout: Duration) {
        // Weak: a timer does not keep a server alive that has ended.
        let (typing, owner) = (Arc::downgrade(self), key.clone());
        let timer = tokio::spawn(async move {
            tokio::time::sleep(timeout).await;
            let Some(typing) = typing.upgrade() else { return };
            until_done(&typing.base, "telling who types no longer", || typing.write(&owner, false)).await;
            typing.forget(&owner, task::id());
        });
        if let Some(before) = self.timers().insert(key, timer.abort_handle()) {
            before.abort();
        }
    }

    /// Ends a timer, unless it has been set anew.
    fn forget(&self, key: &(RoomNo, OwnedUserId), timer: task::Id) {
        let mut timers = self.timers();
        if timers.get(key).is_some_and(|set| set.id() == timer)
            && let Some(timer) = timers.remove(key)
        {
            timer.abort();
        }
    }

    fn timers(&self) -> MutexGuard<'_, HashMap<(RoomNo, OwnedUserId), AbortHandle>> {
        self.timers.lock()
    }
}

/// Puts into a batch that a user types no longer, if they do: they left.
pub async fn stopped(tx: &Tx, room: RoomNo, user: &UserId) -> Result<(), Fault> {
    let key = (room, user.to_string());
    // Past the requirements: whoever begins to type at this moment is shown typing until the timer ends it.
    if tx.view().get(&TYPING, &key).await?.is_some() {
        end(tx, &key).await?;
        change(tx, room);
    }
    Ok(())
}

/// Puts into a batch that somebody types no longer. If another one begins at this moment, a start may not know of it.
async fn end(tx: &Tx, key: &(RoomNo, String)) -> Result<(), Fault> {
    tx.delete(&TYPING, key);
    // The room's own row, this one, and perhaps another.
    let rows = tx.view().scan(&TYPING, TYPING.under(&(key.0,)), 3).await?;
    if rows.iter().all(|((_, user), _)| user.is_empty() || *user == key.1) {
        tx.delete(&TYPED, &(key.0,));
    }
    Ok(())
}

/// Who types, at most [`MAX_TYPING_SHOWN`], if that changed after a position; without one, if anybody does.
pub async fn news(view: &View, room: RoomNo, since: Option<Position>) -> Result<Option<Vec<OwnedUserId>>, Fault> {
    let Some(changed) = view.get(&TYPING, &(room, String::new())).await? else { return Ok(None) };
    if since.is_some_and(|since| changed <= since.0) {
        return Ok(None);
    }
    let rows = view.scan(&TYPING, TYPING.under(&(room,)), MAX_TYPING_SHOWN + 1).await?;
    let users: Vec<_> = rows.into_iter().filter_map(|((_, user), _)| OwnedUserId::try_from(user).ok()).collect();
    Ok(Some(users).filter(|users| since.is_some() || !users.is_empty()))
}

/// Notes that who types in a room changes with the batch.
fn change(tx: &Tx, room: RoomNo) {
    let stamp = Stamp { at: StampAt::Value, offset: 0 };
    tx.put_stamped_value(&TYPING, &(room, String::new()), &0, vec![stamp]);
    tx.topic(topic::passing(room));
}

#[cfg(test)]
mod tests {
    use depesche_store::{
        Options,
        faults::{Fault as Injected, Faults},
        memory::Memory,
    };

    use super::*;
    use crate::testing::{Fixture, user};

    #[tokio::test(start_paused = true)]
    async fn the_end_of_typing_is_told_however_often_that_fails() {
        let engine = Faults::new(Memory::new(Options::default()));
        let control = engine.control();
        let server = Fixture::on(Arc::new(engine));
        let alice = &user("alice");
        let room = &server.room(alice).await;
        let no = server.rooms.find(room).await.unwrap().unwrap().no;
        let typing = Typing::new(Arc::clone(&server.base));
        let typists = async || {
            let view = server.base.view();
            news(&view, no, Some(Position(0))).await.unwrap().unwrap().len()
        };
        for stops in [false, true] {
            typing.set(alice, room, Some(Duration::from_secs(10))).await.unwrap();
            control.next([Injected::Failed; 3]);
            if stops {
                assert!(typing.set(alice, room, None).await.is_err());
            }
            tokio::time::sleep(Duration::from_secs(12)).await;
            assert_eq!(typists().await, 1, "nobody could be told");
            tokio::time::sleep(Duration::from_mins(1)).await;
            assert_eq!((typists().await, control.left(), typing.timers().len()), (0, 0, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_types_longer_than_that_without_saying_so_again() {
        let server = Fixture::new();
        let alice = &user("alice");
        let room = &server.room(alice).await;
        let no = server.rooms.find(room).await.unwrap().unwrap().no;
        let typing = Typing::new(Arc::clone(&server.base));
        let longest = Duration::from_millis(MAX_TYPING_TIMEOUT_MS);
        typing.set(alice, room, Some(longest * 2)).await.unwrap();
        for (passed, typists) in [(longest.saturating_sub(Duration::from_secs(1)), 1), (Duration::from_secs(2), 0)] {
            tokio::time::sleep(passed).await;
            let found = news(&server.base.view(), no, Some(Position(0))).await.unwrap().unwrap();
            assert_eq!(found.len(), typists);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_shown_typing_and_no_more() {
        let server = Fixture::new();
        let alice = &user("alice");
        let room = &server.room(alice).await;
        let no = server.rooms.find(room).await.unwrap().unwrap().no;
        let typing = Typing::new(Arc::clone(&server.base));
        typing.set(alice, room, Some(Duration::from_secs(10))).await.unwrap();
        for (others, shown) in [(0..MAX_TYPING_SHOWN - 1, MAX_TYPING_SHOWN), (999..1000, MAX_TYPING_SHOWN)] {
            let tx = server.base.tx();
            for n in others {
                tx.put(&TYPING, &(no, user(&format!("other{n}")).to_string()), &0);
            }
            server.base.commit(&tx).await.unwrap();
            let found = news(&server.base.view(), no, None).await.unwrap().unwrap();
            assert_eq!(found.len(), shown);
        }
    }
}
