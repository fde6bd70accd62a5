//! How long the index waits until it looks again. Messages that are indexed soon after they were sent still lie in
//! memory; those of two busy seconds would have to be read again, and drive others out of the caches.

use std::time::Duration;

use tokio::time::Instant;

/// How often the index looks for what is new, where little is said and nobody searches.
const EVERY: Duration = Duration::from_secs(2);
/// So many changes should gather at most between two looks: two full batches, and a fraction of what the cache of events
/// holds.
const GATHERED: u32 = 512;

/// When the index looks.
pub struct Pace {
    looked: Instant,
}

impl Pace {
    /// It has just looked.
    pub fn start() -> Self {
        Self { looked: Instant::now() }
    }

    /// The pause after a look that found so many changes: until as many as should gather have come, if they go on coming
    /// as they did.
    pub fn pause(&mut self, changes: usize) -> Duration {
        let since = self.looked.elapsed();
        self.looked += since;
        let changes = u32::try_from(changes).unwrap_or(u32::MAX);
        (since * GATHERED).checked_div(changes).map_or(EVERY, |pause| pause.min(EVERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn paused(pace: &mut Pace, since: Duration, changes: usize) -> Duration {
        tokio::time::advance(since).await;
        pace.pause(changes)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_slowly_is_gathered() {
        let mut pace = Pace::start();
        assert_eq!(paused(&mut pace, EVERY, 0).await, EVERY);
        assert_eq!(paused(&mut pace, EVERY, 500).await, EVERY);
        assert_eq!(paused(&mut pace, Duration::from_hours(1), 5000).await, EVERY);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_said_fast_is_looked_at_while_it_is_new() {
        let mut pace = Pace::start();
        let soon = Duration::from_millis(100);
        assert_eq!(paused(&mut pace, EVERY, 10_240).await, soon, "five thousand a second");
        assert_eq!(paused(&mut pace, soon, 512).await, soon, "it stays so");
        assert_eq!(paused(&mut pace, soon, 0).await, EVERY, "and ends when it ends");
    }
}
