//! One after the other, by user: requests of one node that rewrite the same rows wait here instead of conflicting at
//! the commit. The requirements of the batches are still what keeps the rows right, between nodes too.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use ruma::UserId;
use tokio::sync::{Mutex, MutexGuard};

/// How many users can have a turn at a time, at most.
const STRIPES: usize = 64;

/// Turns of users. Two users may share one.
pub struct Turns([Mutex<()>; STRIPES]);

impl Turns {
    /// Waits for the turns of these users and holds them until the answer is dropped.
    pub async fn take(&self, users: &[&UserId]) -> Vec<MutexGuard<'_, ()>> {
        // Always in the same order, so that two who need several never wait for each other.
        let stripes: BTreeSet<usize> = users.iter().map(|user| stripe(user)).collect();
        let mut guards = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            guards.push(self.0[stripe].lock().await);
        }
        guards
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

fn stripe(user: &UserId) -> usize {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or_default()
}
