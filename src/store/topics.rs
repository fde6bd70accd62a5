//! Who waits for what: commits announce topics, watches collect them.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
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
    waiting: Mutex<HashMap<Topic, Vec<Weak<Watched>>>>,
}

/// A standing interest in some topics. It remembers, per topic, the newest commit since it was registered.
pub struct Watch {
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
            for watched in waiting.get(&topic).into_iter().flatten().filter_map(Weak::upgrade) {
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
            lock(&self.topics.waiting).entry(topic).or_default().push(Arc::downgrade(&self.watched));
        }
    }

    /// Whether the topic is watched.
    pub fn has(&self, topic: Topic) -> bool {
        self.interests.contains(&topic)
    }

    /// Takes a topic off.
    pub fn remove(&mut self, topic: Topic) {
        if self.interests.remove(&topic) {
            self.topics.forget(topic, &self.watched);
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
    fn forget(&self, topic: Topic, watched: &Arc<Watched>) {
        let mut waiting = lock(&self.waiting);
        if let Some(watches) = waiting.get_mut(&topic) {
            watches.retain(|other| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(watched)));
            if watches.is_empty() {
                waiting.remove(&topic);
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for topic in &self.interests {
            self.topics.forget(*topic, &self.watched);
        }
    }
}

/// A poisoned lock means that a thread panicked between two plain map operations: the maps are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
