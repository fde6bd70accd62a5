//! For which pushers something waits, and whose turn it is.
//!
//! Who waits longest comes first, and of one user only a few deliveries run at a time: slow gateways hold up those who
//! named them.

use std::collections::{BTreeMap, BTreeSet};

use ruma::OwnedUserId;

use super::deliver::Next;
use crate::pushers::PusherKey;

/// Deliveries of one user that run at the same time.
const OF_ONE_USER: usize = 4;

/// All pushers for which something waits or is under way.
#[derive(Default)]
pub struct Lines {
    all: BTreeMap<PusherKey, Line>,
    /// Those that wait, by since when they may be delivered.
    waiting: BTreeMap<u64, BTreeSet<PusherKey>>,
    /// How many are under way, of each user.
    running: BTreeMap<OwnedUserId, usize>,
}

/// What is known of a pusher.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// When to deliver next; none if something is under way.
    due_ms: Option<u64>,
    /// A delivery is under way.
    running: bool,
    /// Something came since it began.
    again: bool,
    /// The count is to be told though no event waits.
    badge: bool,
}

impl Lines {
    /// A pusher has something to tell. One that pauses after a failure goes on pausing.
    pub fn wake(&mut self, key: PusherKey, now_ms: u64) {
        let line = self.all.entry(key.clone()).or_default();
        line.again = true;
        if !line.running && line.due_ms.is_none() {
            self.schedule(key, now_ms);
        }
    }

    /// A pusher has something to tell at this time.
    pub fn wake_at(&mut self, key: PusherKey, due_ms: u64) {
        let line = self.all.entry(key.clone()).or_default();
        line.again = true;
        if !line.running {
            self.schedule(key, due_ms);
        }
    }

    /// A pusher is to tell the count, at this time.
    pub fn wake_for_badge(&mut self, key: PusherKey, due_ms: u64) {
        self.all.entry(key.clone()).or_default().badge = true;
        self.wake_at(key, due_ms);
    }

    /// Takes the next whose turn it is; with it, whether the count is to be told.
    pub fn begin(&mut self, now_ms: u64) -> Option<(PusherKey, bool)> {
        let mut due = self.waiting.range(..=now_ms).flat_map(|(due_ms, keys)| keys.iter().map(|key| (*due_ms, key)));
        let (due_ms, key) =
            due.find(|(_, key)| self.running.get(&key.0).is_none_or(|running| *running < OF_ONE_USER))?;
        let key = key.clone();
        self.take_out(due_ms, &key);
        *self.running.entry(key.0.clone()).or_default() += 1;
        let line = self.all.entry(key.clone()).or_default();
        let badge = line.badge;
        *line = Line { running: true, ..Line::default() };
        Some((key, badge))
    }

    /// A delivery is over. With `badge` the count is still to be told.
    pub fn end(&mut self, key: PusherKey, next: Next, badge: bool, now_ms: u64) {
        if let Some(running) = self.running.get_mut(&key.0) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&key.0);
            }
        }
        let Some(line) = self.all.get_mut(&key) else { return };
        line.running = false;
        line.badge |= badge;
        let due_ms = match next {
            Next::Gone => None,
            Next::Nothing => line.again.then_some(now_ms),
            Next::More | Next::Behind => Some(now_ms),
            Next::At(due_ms) => Some(due_ms),
        };
        match due_ms {
            Some(due_ms) => self.schedule(key, due_ms),
            None => drop(self.all.remove(&key)),
        }
    }

    /// When the next pause is over. Those that are due already wait for others to end.
    pub fn next_pause(&self, now_ms: u64) -> Option<u64> {
        self.waiting.range(now_ms.saturating_add(1)..).next().map(|(due_ms, _)| *due_ms)
    }

    /// The clock was set back by so much: nobody waits longer for it.
    pub fn set_back(&mut self, by_ms: u64) {
        for (due_ms, keys) in std::mem::take(&mut self.waiting) {
            let due_ms = due_ms.saturating_sub(by_ms);
            for key in &keys {
                if let Some(line) = self.all.get_mut(key) {
                    line.due_ms = Some(due_ms);
                }
            }
            self.waiting.entry(due_ms).or_default().extend(keys);
        }
    }

    fn schedule(&mut self, key: PusherKey, due_ms: u64) {
        let line = self.all.entry(key.clone()).or_default();
        if let Some(before) = line.due_ms.replace(due_ms) {
            self.take_out(before, &key);
        }
        self.waiting.entry(due_ms).or_default().insert(key);
    }

    fn take_out(&mut self, due_ms: u64, key: &PusherKey) {
        if let Some(keys) = self.waiting.get_mut(&due_ms) {
            keys.remove(key);
            if keys.is_empty() {
                self.waiting.remove(&due_ms);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::user;

    fn key(name: &str, pushkey: &str) -> PusherKey {
        (user(name), "app".to_owned(), pushkey.to_owned())
    }

    #[test]
    fn who_waits_longest_comes_first() {
        let mut lines = Lines::default();
        for (name, now_ms) in [("zoe", 1), ("ann", 2), ("ben", 3)] {
            lines.wake(key(name, "k"), now_ms);
        }
        assert_eq!(lines.begin(3), Some((key("zoe", "k"), false)));
        lines.end(key("zoe", "k"), Next::More, false, 3);
        assert_eq!(lines.begin(2), Some((key("ann", "k"), false)));
        assert_eq!(lines.begin(2), None);
        assert_eq!((lines.next_pause(2), lines.next_pause(3)), (Some(3), None));
        lines.end(key("ann", "k"), Next::More, false, 4);
        for name in ["ben", "zoe", "ann"] {
            assert_eq!(lines.begin(5), Some((key(name, "k"), false)), "who went on waits again, behind the others");
            lines.end(key(name, "k"), Next::Nothing, false, 5);
        }
        assert_eq!(lines.begin(u64::MAX), None);
        assert!(lines.all.is_empty() && lines.waiting.is_empty() && lines.running.is_empty());
    }

    #[test]
    fn of_one_user_only_a_few_run() {
        let mut lines = Lines::default();
        for n in 0..10 {
            lines.wake(key("ann", &n.to_string()), 1);
        }
        lines.wake(key("ben", "k"), 2);
        let begun: Vec<_> = std::iter::from_fn(|| lines.begin(2)).map(|(key, _)| key.0).collect();
        assert_eq!(begun, [vec![user("ann"); OF_ONE_USER], vec![user("ben")]].concat());
        lines.end(key("ann", "0"), Next::Gone, false, 3);
        assert_eq!(lines.begin(3), Some((key("ann", "4"), false)));
    }

    #[test]
    fn a_clock_set_back_holds_up_nobody() {
        let mut lines = Lines::default();
        lines.wake(key("ann", "k"), 5000);
        lines.wake_at(key("ben", "k"), 6000);
        lines.set_back(4000);
        assert_eq!(lines.begin(1000), Some((key("ann", "k"), false)));
        assert_eq!((lines.begin(1999), lines.next_pause(1000)), (None, Some(2000)));
        lines.wake_at(key("ben", "k"), 1500);
        assert_eq!(lines.begin(1999), Some((key("ben", "k"), false)));
        assert!(lines.waiting.is_empty());
    }

    #[test]
    fn pauses_and_counts() {
        let mut lines = Lines::default();
        lines.wake_for_badge(key("ann", "k"), 1);
        assert_eq!(lines.begin(1), Some((key("ann", "k"), true)));
        lines.wake(key("ann", "k"), 2);
        lines.end(key("ann", "k"), Next::Nothing, true, 3);
        assert_eq!(lines.begin(3), Some((key("ann", "k"), true)), "something came since it began");
        lines.end(key("ann", "k"), Next::At(9), false, 4);
        lines.wake(key("ann", "k"), 5);
        assert_eq!(lines.begin(8), None, "it goes on pausing");
        lines.wake_at(key("ann", "k"), 6);
        assert_eq!(lines.begin(6), Some((key("ann", "k"), false)), "unless it was set anew");
    }
}
