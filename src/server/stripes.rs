//! One after the other, by anything: those who want the same key wait for each other, and so do some who do not, for there
//! are so many queues and no more.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// How many queues there are.
const QUEUES: usize = 256;

/// Queues for one purpose. Nobody may wait in a second one while they have a turn: two who did could wait for each other.
pub struct Stripes {
    hasher: RandomState,
    queues: [Mutex<()>; QUEUES],
}

impl Default for Stripes {
    fn default() -> Self {
        Self { hasher: RandomState::new(), queues: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Stripes {
    /// The turn of this key, until the answer is dropped.
    pub async fn of(&self, key: &impl Hash) -> MutexGuard<'_, ()> {
        let queue = self.hasher.hash_one(key) % QUEUES as u64;
        self.queues[usize::try_from(queue).unwrap_or_default()].lock().await
    }
}
