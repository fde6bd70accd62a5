//! One after the other, by user: requests of one node that rewrite the same rows, or that take much, wait here. Where rows
//! are rewritten the requirements of the batches are still what keeps them right, between nodes too; without turns,
//! requests that one client sends at once would give up on their conflicts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use depesche_store::Mutex;
use ruma::{OwnedUserId, UserId};
use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

/// The turns of users, for one purpose. Those that nobody has or waits for take no room.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<OwnedUserId, Arc<Queue<()>>>>);

/// A user's turn, or the wait for it. It ends when this is dropped.
pub struct Held<'a> {
    turns: &'a Turns,
    user: OwnedUserId,
    queue: Arc<Queue<()>>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a user's turn.
    pub async fn of(&self, user: &UserId) -> Held<'_> {
        let queue = Arc::clone(self.0.lock().entry(user.to_owned()).or_default());
        let mut held = Held { turns: self, user: user.to_owned(), queue, turn: None };
        held.turn = Some(Arc::clone(&held.queue).lock_owned().await);
        held
    }

    /// Waits for the turns of several users.
    pub async fn of_all(&self, users: &[&UserId]) -> Vec<Held<'_>> {
        // Always in the same order, so that two who need several never wait for each other.
        let users: BTreeSet<&UserId> = users.iter().copied().collect();
        let mut held = Vec::with_capacity(users.len());
        for user in users {
            held.push(self.of(user).await);
        }
        held
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.turn = None;
        let mut turns = self.turns.0.lock();
        // The map's and this one's: nobody else has it or waits for it, and under the lock nobody comes.
        if Arc::strong_count(&self.queue) == 2 {
            turns.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::{join_all, poll_immediate};

    use super::*;
    use crate::testing::user;

    #[tokio::test]
    async fn users_have_turns_of_their_own_and_leave_nothing() {
        let (turns, alice, bob) = (Turns::default(), user("alice"), user("bob"));
        let first = turns.of_all(&[&bob, &alice, &bob]).await;
        assert!(poll_immediate(Box::pin(turns.of(&alice))).await.is_none(), "who gives up waits no longer");
        let mut second = Box::pin(turns.of(&alice));
        assert!(poll_immediate(&mut second).await.is_none());
        drop(first);
        assert_eq!(turns.0.lock().len(), 1, "bob's is gone, alice's is waited for");
        assert!(poll_immediate(Box::pin(turns.of(&bob))).await.is_some());
        drop(second.await);
        join_all((0..10).map(|_| turns.of(&bob)).map(|turn| async { drop(turn.await) })).await;
        assert!(turns.0.lock().is_empty());
    }
}
