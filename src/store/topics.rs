//! Who waits for what: commits announce topics, watches collect them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{Mutex, Position};

/// Something that can change, named by the layer above (a room, a user). Equal numbers mean the same thing; a needless
/// wake-up does no harm.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Topic(pub u64);

/// Topics that a watch puts in or takes out before others have the lock: who commits waits for it.
const AT_ONCE: usize = 64;

/// How many commits of topics that came again a watch may remember beside as many as it has topics.
const SPARE: usize = 64;

/// By topic and watch, in an order that does not depend on chance.
type Waiting = HashMap<Topic, BTreeMap<u64, Arc<Watched>>>;

/// The watches of an engine, by topic.
#[derive(Default)]
pub struct Topics {
    waiting: Mutex<Waiting>,
    watches: AtomicU64,
}

/// The topics of one or more batches on their way to the watches, in two steps. What the watches know changes where the
/// batches become visible, under the engine's lock; who sleeps is woken behind it, since thousands may, and whoever wants
/// a snapshot would wait for all of them.
///
/// From the beginning to the end of the first step nobody comes or goes: who watches a topic and then takes a snapshot
/// that does not show a batch hears of it.
///
/// No wake-up is lost between the two steps. Who waits looks at what the watch knows, and sleeps if nothing is new there.
/// Who looks after the first step does not sleep. Who looked before it is asleep or about to be, and the second step,
/// which always follows, finds the sleeper or leaves a permit that ends the sleep as it begins.
#[must_use = "who sleeps is to be woken"]
pub struct Announcement<'a> {
    waiting: MutexGuard<'a, Waiting>,
    heard: Vec<Arc<Watched>>,
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
    changed: Mutex<Changed>,
    wake: Notify,
}

/// What a watch knows. Who asks what is new since a position pays for what is, not for all that ever was.
#[derive(Default)]
struct Changed {
    /// The newest commit of each topic.
    last: HashMap<Topic, Position>,
    /// The same in the order of commits, and some that are newest no more.
    log: Vec<(Position, Topic)>,
    /// The position above which whoever waits wants to hear of something.
    since: Position,
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

    /// Begins an announcement. Engines call this before they take the lock under which a group becomes visible.
    pub fn announcement(&self) -> Announcement<'_> {
        Announcement { waiting: lock(&self.waiting), heard: Vec::new() }
    }

    /// Announces one batch that is visible already.
    pub fn announce(&self, position: Position, topics: impl IntoIterator<Item = Topic>) {
        let mut announcement = self.announcement();
        announcement.mark(position, topics);
        announcement.wake();
    }
}

impl Announcement<'_> {
    /// The first step. Engines call this in commit order at the moment a group becomes visible: no snapshot shows a batch
    /// before its topics are announced, and whoever hears of one finds the batch in the next snapshot.
    pub fn mark(&mut self, position: Position, topics: impl IntoIterator<Item = Topic>) {
        for topic in topics {
            for watched in self.waiting.get(&topic).into_iter().flat_map(BTreeMap::values) {
                if watched.hears(topic, position) {
                    self.heard.push(Arc::clone(watched));
                }
            }
        }
    }

    /// The second step, once the engine's lock is dropped: no lock is held while tasks are woken.
    pub fn wake(self) {
        drop(self.waiting);
        for watched in self.heard {
            watched.wake.notify_one();
        }
    }
}

impl Watched {
    /// Notes a commit, and says whether it may matter to who waits. Who was told already that the topic has changed, and
    /// sleeps on, waits for other topics.
    fn hears(&self, topic: Topic, position: Position) -> bool {
        let mut changed = lock(&self.changed);
        let before = changed.note(topic, position);
        before.is_none_or(|before| before <= changed.since)
    }

    /// Whether a topic that is wanted has a commit above `since`, for one who sleeps if not.
    fn looks(&self, since: Position, wanted: impl Fn(Topic) -> bool) -> bool {
        let mut changed = lock(&self.changed);
        changed.since = since;
        changed.above(since).any(wanted)
    }
}

impl Changed {
    /// Notes a commit, and says which was the newest of its topic before.
    fn note(&mut self, topic: Topic, position: Position) -> Option<Position> {
        let before = self.last.insert(topic, position);
        // Commits are announced in their order: it goes to the end.
        let at = self.log.partition_point(|(earlier, _)| *earlier <= position);
        self.log.insert(at, (position, topic));
        if self.log.len() > 2 * self.last.len() + SPARE {
            self.tidy();
        }
        before
    }

    fn forget(&mut self, topics: &[Topic]) {
        for topic in topics {
            self.last.remove(topic);
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        let last = &self.last;
        self.log.retain(|(position, topic)| last.get(topic) == Some(position));
    }

    /// The topics with a commit above a position, in the order of commits; one that is noted twice in a commit, twice.
    fn above(&self, since: Position) -> impl Iterator<Item = Topic> {
        let begin = self.log.partition_point(|(position, _)| *position <= since);
        let newest = self.log[begin..].iter().filter(|(position, topic)| self.last.get(topic) == Some(position));
        newest.map(|(_, topic)| *topic)
    }
}

impl Watch {
    /// Adds a topic; commits before this call are not seen.
    pub fn add(&mut self, topic: Topic) {
        self.add_all([topic]);
    }

    /// Adds topics, as [`Self::add`] each of them.
    pub fn add_all(&mut self, topics: impl IntoIterator<Item = Topic>) {
        let new: Vec<_> = topics.into_iter().filter(|topic| self.interests.insert(*topic)).collect();
        for some in new.chunks(AT_ONCE) {
            let mut waiting = lock(&self.topics.waiting);
            for topic in some {
                waiting.entry(*topic).or_default().insert(self.number, Arc::clone(&self.watched));
            }
        }
    }

    /// Whether the topic is watched.
    pub fn has(&self, topic: Topic) -> bool {
        self.interests.contains(&topic)
    }

    /// Takes a topic off.
    pub fn remove(&mut self, topic: Topic) {
        self.remove_all([topic]);
    }

    /// Takes topics off.
    pub fn remove_all(&mut self, topics: impl IntoIterator<Item = Topic>) {
        let gone: Vec<_> = topics.into_iter().filter(|topic| self.interests.remove(topic)).collect();
        self.topics.forget(&gone, self.number);
        if !gone.is_empty() {
            lock(&self.watched.changed).forget(&gone);
        }
    }

    /// The topics with a commit above `since`, seen since they were added. Costs what it returns, and not what else is
    /// watched.
    pub fn changed_since(&self, since: Position) -> Vec<Topic> {
        let mut topics: Vec<_> = lock(&self.watched.changed).above(since).collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// The newest commit of a topic, seen since it was added.
    pub fn last(&self, topic: Topic) -> Option<Position> {
        lock(&self.watched.changed).last.get(&topic).copied()
    }

    /// How many watch a topic, this one among them.
    pub fn watchers(&self, topic: Topic) -> usize {
        lock(&self.topics.waiting).get(&topic).map_or(0, BTreeMap::len)
    }

    /// Returns as soon as a watched topic has a commit above `since`. Safe to drop and call again.
    pub async fn wait(&self, since: Position) {
        self.wait_for(since, |_| true).await;
    }

    /// The same for the topics that are wanted; the others do not end the sleep, and interrupt it once each at most. One
    /// task waits at a time.
    pub async fn wait_for(&self, since: Position, wanted: impl Fn(Topic) -> bool) {
        loop {
            // `notify_one` stores a permit, so an announcement between the check and the wait is not lost.
            if self.watched.looks(since, &wanted) {
                return;
            }
            self.watched.wake.notified().await;
        }
    }
}

impl Topics {
    /// Commits wait for the lock: however many watch a topic, one goes quickly, and one of many topics in parts.
    fn forget(&self, topics: &[Topic], watch: u64) {
        for some in topics.chunks(AT_ONCE) {
            let mut waiting = lock(&self.waiting);
            for topic in some {
                if let Some(watches) = waiting.get_mut(topic) {
                    watches.remove(&watch);
                    if watches.is_empty() {
                        waiting.remove(topic);
                    }
                }
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let topics: Vec<_> = self.interests.drain().collect();
        self.topics.forget(&topics, self.number);
    }
}

/// A poisoned lock means that a thread panicked between two plain map operations: the maps are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Context, Poll, Wake, Waker},
        time::{Duration, Instant},
    };

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
    #[derive(Default)]
    struct Alarm(AtomicUsize);

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_sleeps_is_woken_in_the_second_step_and_who_comes_between_does_not_sleep() {
        let topics = Arc::new(Topics::default());
        let watch = || {
            let mut watch = topics.watch();
            watch.add(Topic(1));
            watch
        };
        let (sleeper, late) = (watch(), watch());
        let alarm = Arc::new(Alarm::default());
        let waker = Waker::from(Arc::clone(&alarm));
        let mut context = Context::from_waker(&waker);
        let mut sleeps = Box::pin(sleeper.wait(Position(6)));
        assert_eq!(sleeps.as_mut().poll(&mut context), Poll::Pending);
        let mut announcement = topics.announcement();
        announcement.mark(Position(7), [Topic(1), Topic(2)]);
        assert_eq!(alarm.0.load(Ordering::Relaxed), 0, "nobody is woken under the engine's lock");
        assert_eq!(sleeper.last(Topic(1)), Some(Position(7)), "and everybody knows");
        let mut late = Box::pin(late.wait(Position(6)));
        assert_eq!(late.as_mut().poll(&mut context), Poll::Ready(()));
        announcement.wake();
        assert_eq!(alarm.0.load(Ordering::Relaxed), 1);
        assert_eq!(sleeps.as_mut().poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn who_waits_for_others_is_disturbed_by_a_topic_once() {
        let topics = Arc::new(Topics::default());
        let mut watch = topics.watch();
        watch.add_all([Topic(1), Topic(2)]);
        assert_eq!((watch.watchers(Topic(1)), watch.watchers(Topic(3))), (1, 0));
        let alarm = Arc::new(Alarm::default());
        let waker = Waker::from(Arc::clone(&alarm));
        let mut context = Context::from_waker(&waker);
        let mut sleeps = Box::pin(watch.wait_for(Position(6), |topic| topic == Topic(2)));
        let mut rings = |position, topic| {
            topics.announce(Position(position), [Topic(topic)]);
            let ready = sleeps.as_mut().poll(&mut context).is_ready();
            (alarm.0.swap(0, Ordering::Relaxed), ready)
        };
        assert_eq!(rings(6, 2), (0, false), "before it is polled");
        assert_eq!(rings(7, 1), (1, false), "it looks, and sleeps on");
        assert_eq!([rings(8, 1), rings(9, 1)], [(0, false); 2]);
        assert_eq!(rings(10, 2), (1, true));
        drop(sleeps);
        assert_eq!(watch.changed_since(Position(8)), [Topic(1), Topic(2)], "all is known");
        // What disturbs nobody is news for who comes later.
        let mut late = Box::pin(watch.wait(Position(9)));
        assert_eq!(late.as_mut().poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn many_topics_come_and_go_at_once() {
        let topics = Arc::new(Topics::default());
        let all = || (0..1000).map(Topic);
        let mut watch = topics.watch();
        watch.add_all(all());
        watch.add_all(all());
        topics.announce(Position(7), all());
        assert_eq!(watch.changed_since(Position(6)).len(), 1000);
        watch.remove_all(all().take(400));
        assert_eq!(watch.changed_since(Position(6)), all().skip(400).collect::<Vec<_>>());
        assert_eq!(lock(&topics.waiting).len(), 600);
        drop(watch);
        assert!(lock(&topics.waiting).is_empty());
    }

    #[test]
    fn what_was_heard_is_the_newest_of_each_topic_and_takes_no_more_than_that() {
        let topics = Arc::new(Topics::default());
        let mut watch = topics.watch();
        watch.add_all((0..10).map(Topic));
        let mut model = HashMap::new();
        for position in 1..3000_u64 {
            // Some come often, one comes once, one goes.
            let topic = if position == 7 { Topic(9) } else { Topic(position * position % 9) };
            topics.announce(Position(position), [topic]);
            model.insert(topic, Position(position));
            if position == 1500 {
                watch.remove(Topic(0));
            }
            if position >= 1500 {
                model.remove(&Topic(0));
            }
            for since in [0, 6, position / 2, position - 1, position].map(Position) {
                let mut expected: Vec<_> = model.iter().filter(|(_, last)| **last > since).map(|(t, _)| *t).collect();
                expected.sort_unstable();
                assert_eq!(watch.changed_since(since), expected, "{since:?} at {position}");
                assert_eq!(watch.watched.looks(since, |_| true), !expected.is_empty());
            }
        }
        assert!(lock(&watch.watched.changed).log.len() <= 2 * 10 + SPARE);
    }
}
