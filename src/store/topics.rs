//! Who waits for what: commits announce topics, watches collect them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::Position;

/// Something that can change, named by the layer above (a room, a user). Equal numbers mean the same thing; a needless
/// wake-up does no harm.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Topic(pub u64);

/// The watches of an engine, by topic.
#[derive(Default)]
pub struct Topics {
    /// By topic and watch, in an order that does not depend on chance.
    waiting: Mutex<HashMap<Topic, BTreeMap<u64, Arc<Watched>>>>,
    watches: AtomicU64,
}

/// A standing interest in some topics. It remembers, per topic, the newest commit since it was registered.
pub struct Watch {
    /// Which of all that there ever were.
    number: u64,
    topics: Arc<Topics>,
    interests: HashSet<Topic>,
    watched: Arc<Watched>,
}

struct Watched {
    changed: Mutex<HashMap<Topic, Position>>,
    wake: Notify,
}

impl Topics {
    /// A watch without topics.
    pub fn watch(self: &Arc<Self>) -> Watch {
        Watch {
            number: self.watches.fetch_add(1, Ordering::Relaxed),
            topics: Arc::clone(self),
            interests: HashSet::new(),
            watched: Arc::new(Watched { changed: Mutex::default(), wake: Notify::new() }),
        }
    }

    /// Engines call this in commit order at the moment a group becomes visible: no snapshot shows a batch before its
    /// topics are announced, and whoever hears of one finds the batch in the next snapshot.
    pub fn announce(&self, position: Position, topics: impl IntoIterator<Item = Topic>) {
        let waiting = lock(&self.waiting);
        for topic in topics {
            for watched in waiting.get(&topic).into_iter().flat_map(BTreeMap::values) {
                lock(&watched.changed).insert(topic, position);
                watched.wake.notify_one();
            }
        }
    }
}

impl Watch {
    /// Adds a topic; commits before this call are not seen.
    pub fn add(&mut self, topic: Topic) {
        if self.interests.insert(topic) {
            lock(&self.topics.waiting).entry(topic).or_default().insert(self.number, Arc::clone(&self.watched));
        }
    }

    /// Whether the topic is watched.
    pub fn has(&self, topic: Topic) -> bool {
        self.interests.contains(&topic)
    }

    /// Takes a topic off.
    pub fn remove(&mut self, topic: Topic) {
        if self.interests.remove(&topic) {
            self.topics.forget(topic, self.number);
            lock(&self.watched.changed).remove(&topic);
        }
    }

    /// The topics with a commit above `since`, seen since they were added.
    pub fn changed_since(&self, since: Position) -> Vec<Topic> {
        let changed = lock(&self.watched.changed);
        let mut topics: Vec<_> =
            changed.iter().filter(|(_, position)| **position > since).map(|(topic, _)| *topic).collect();
        topics.sort_unstable();
        topics
    }

    /// The newest commit of a topic, seen since it was added.
    pub fn last(&self, topic: Topic) -> Option<Position> {
        lock(&self.watched.changed).get(&topic).copied()
    }

    /// Returns as soon as a watched topic has a commit above `since`. Safe to drop and call again.
    pub async fn wait(&self, since: Position) {
        loop {
            // `notify_one` stores a permit, so an announcement between the check and the wait is not lost.
            if lock(&self.watched.changed).values().any(|position| *position > since) {
                return;
            }
            self.watched.wake.notified().await;
        }
    }
}

impl Topics {
    /// Commits wait for the lock: however many watch a topic, one goes quickly.
    fn forget(&self, topic: Topic, watch: u64) {
        let mut waiting = lock(&self.waiting);
        if let Some(watches) = waiting.get_mut(&topic) {
            watches.remove(&watch);
            if watches.is_empty() {
                waiting.remove(&topic);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for topic in &self.interests {
            self.topics.forget(*topic, self.number);
        }
    }
}

/// A poisoned lock means that a thread panicked between two plain map operations: the maps are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn watches_that_go_leave_nothing_and_do_not_wait_for_each_other() {
        let topics = Arc::new(Topics::default());
        let watch = || {
            let mut watch = topics.watch();
            watch.add(Topic(1));
            watch
        };
        // Going through all for each of them takes minutes.
        let (begun, mut watches) = (Instant::now(), (0..60_000).map(|_| watch()).collect::<Vec<_>>());
        let last = watches.pop().unwrap();
        drop(watches);
        assert!(begun.elapsed() < Duration::from_secs(20));
        topics.announce(Position(7), [Topic(1)]);
        assert_eq!(last.last(Topic(1)), Some(Position(7)));
        drop(last);
        assert!(lock(&topics.waiting).is_empty());
    }
}
