//! Slowing down who guesses passwords: after some failures in a row an account answers only after a pause, which grows.
//!
//! An attempt counts as a failure until it succeeds: many at once get no further than many in a row.
//!
//! It is kept in memory and by the name tried, whether or not such an account exists. It is bounded in time, because
//! anybody can lock somebody else out with it. Limits by address stand elsewhere.

use std::collections::HashMap;

use depesche_store::Mutex;
use ruma::{OwnedUserId, UserId};

/// Failures that cost nothing: people mistype.
const FREE: u32 = 10;
/// The pause after the next one; each further one doubles it.
const FIRST_PAUSE_MS: u64 = 1_000;
/// The longest pause.
const LONGEST_PAUSE_MS: u64 = 60_000;
/// Failures are forgotten after this time without another.
const FORGET_MS: u64 = 15 * 60_000;
/// Names remembered at a time.
const NAMES: usize = 10_000;

/// Failed attempts by name.
#[derive(Default)]
pub(super) struct Backoff {
    failures: Mutex<HashMap<OwnedUserId, Failures>>,
}

#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    last_ms: u64,
}

impl Backoff {
    /// Counts an attempt, or says how many milliseconds it has to wait.
    pub(super) fn attempt(&self, user: &UserId, now_ms: u64) -> Result<(), u64> {
        let mut all = self.failures.lock();
        if all.len() >= NAMES && !all.contains_key(user) {
            forget_some(&mut all, now_ms);
        }
        let failures = all.entry(user.to_owned()).or_default();
        // A clock that was set back: the pause is as long as it was, and not as long as the clock is behind.
        failures.last_ms = failures.last_ms.min(now_ms);
        if failures.last_ms + FORGET_MS < now_ms {
            failures.count = 0;
        }
        if let Some(wait_ms) = failures.wait_ms(now_ms) {
            return Err(wait_ms);
        }
        *failures = Failures { count: failures.count.saturating_add(1), last_ms: now_ms };
        Ok(())
    }

    /// Forgets the failures of who succeeded.
    pub(super) fn succeeded(&self, user: &UserId) {
        self.failures.lock().remove(user);
    }
}

impl Failures {
    fn wait_ms(self, now_ms: u64) -> Option<u64> {
        let pauses = self.count.checked_sub(FREE)?;
        let pause = (FIRST_PAUSE_MS << pauses.min(16)).min(LONGEST_PAUSE_MS);
        (self.last_ms + pause).checked_sub(now_ms).filter(|wait| *wait > 0)
    }
}

/// Makes room: what is old, or else the oldest.
fn forget_some(all: &mut HashMap<OwnedUserId, Failures>, now_ms: u64) {
    all.retain(|_, failures| failures.last_ms + FORGET_MS >= now_ms);
    if all.len() >= NAMES {
        let oldest = all.iter().min_by_key(|(user, failures)| (failures.last_ms, *user)).map(|(user, _)| user.clone());
        oldest.map(|user| all.remove(&user));
    }
}

#[cfg(test)]
mod tests {
    use ruma::{UserId, user_id};

    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_end() {
        let backoff = Backoff::default();
        let user = user_id!("@a:b");
        for _ in 0..FREE {
            assert_eq!(backoff.attempt(user, 1_000_000), Ok(()));
        }
        assert_eq!(backoff.attempt(user, 1_000_000), Err(1_000));
        assert_eq!(backoff.attempt(user, 1_000_999), Err(1));
        assert_eq!(backoff.attempt(user, 1_001_000), Ok(()));
        assert_eq!(backoff.attempt(user, 1_001_000), Err(2_000));
        let mut now_ms = 1_001_000;
        for _ in 0..100 {
            now_ms += LONGEST_PAUSE_MS;
            assert_eq!(backoff.attempt(user, now_ms), Ok(()));
        }
        assert_eq!(backoff.attempt(user, now_ms), Err(LONGEST_PAUSE_MS));
        backoff.succeeded(user);
        assert_eq!(backoff.attempt(user, now_ms), Ok(()));
    }

    #[test]
    fn old_failures_are_forgotten() {
        let backoff = Backoff::default();
        let user = user_id!("@a:b");
        for _ in 0..FREE {
            backoff.attempt(user, 1_000_000).unwrap();
        }
        for _ in 0..FREE {
            backoff.attempt(user, 1_000_001 + FORGET_MS).unwrap();
        }
        backoff.attempt(user, 1_000_001 + FORGET_MS).unwrap_err();
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let backoff = Backoff::default();
        let (user, day_ms) = (user_id!("@a:b"), 24 * 60 * 60_000);
        for _ in 0..FREE {
            backoff.attempt(user, 10 * day_ms).unwrap();
        }
        assert_eq!(backoff.attempt(user, 9 * day_ms), Err(1_000));
        assert_eq!(backoff.attempt(user, 9 * day_ms + 1_000), Ok(()));
        assert_eq!(backoff.attempt(user, 8 * day_ms), Err(2_000));
        assert_eq!(backoff.attempt(user, 8 * day_ms + FORGET_MS + 1), Ok(()), "they are forgotten all the same");
    }

    #[test]
    fn memory_is_bounded() {
        let backoff = Backoff::default();
        for number in 0..=NAMES as u64 {
            backoff.attempt(&UserId::parse(format!("@{number}:b")).unwrap(), 1_000 + number).unwrap();
        }
        let names = backoff.failures.lock();
        assert_eq!(names.len(), NAMES);
        assert!(!names.contains_key(user_id!("@0:b")), "the oldest stayed");
    }
}
