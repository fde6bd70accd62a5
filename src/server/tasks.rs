//! Work beside the requests: what is tried again until it is done, and what runs as long as the server does.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::task::JoinHandle;

use crate::{Base, Fault};

/// The pause after the first failure. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// The pause after a panic.
const AFTER_PANIC: Duration = Duration::from_secs(10);

/// Does work, and again after a fault, at growing intervals, until it is done or the server stops. `what` is for the log.
pub async fn until_done<F, R>(base: &Base, what: &str, work: F)
where
    F: Fn() -> R,
    R: Future<Output = Result<(), Fault>>,
{
    let mut pause = FIRST_PAUSE;
    while let Err(fault) = work().await {
        tracing::warn!(%fault, ?pause, "{what} could not be finished; it is tried again");
        tokio::select! {
            biased;
            () = base.stopped() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

/// Runs what ends only with the server; after a panic, anew.
pub fn supervise<F, R>(base: &Arc<Base>, name: &'static str, work: F) -> JoinHandle<()>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send,
{
    let base = Arc::clone(base);
    tokio::spawn(async move {
        // The panic hook has logged where. What the work had in memory goes with it: it begins from the database.
        while AssertUnwindSafe(async { work().await }).catch_unwind().await.is_err() {
            tracing::error!(name, "work in the background broke off; it begins anew");
            tokio::select! {
                biased;
                () = base.stopped() => return,
                () = tokio::time::sleep(AFTER_PANIC) => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use depesche_store::CommitError;

    use super::*;
    use crate::testing::Fixture;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_done_later_unless_the_server_stops() {
        let (server, tried) = (Fixture::new(), &AtomicU32::new(0));
        let work = |enough: u32| {
            move || async move {
                let done = tried.fetch_add(1, Ordering::Relaxed) + 1 >= enough;
                if done { Ok(()) } else { Err(Fault::Commit(CommitError::Failed("full".to_owned()))) }
            }
        };
        let begun = tokio::time::Instant::now();
        until_done(&server.base, "work", work(20)).await;
        assert_eq!(tried.load(Ordering::Relaxed), 20);
        assert!(begun.elapsed() < LONGEST_PAUSE * 12);
        let stop = async { server.stop.send_replace(true) };
        tokio::join!(until_done(&server.base, "work", work(u32::MAX)), stop);
    }

    #[tokio::test(start_paused = true)]
    async fn what_panics_begins_anew() {
        let (server, begun) = (Fixture::new(), Arc::new(AtomicU32::new(0)));
        let count = Arc::clone(&begun);
        let work = supervise(&server.base, "a test", move || {
            let count = Arc::clone(&count);
            async move { assert!(count.fetch_add(1, Ordering::Relaxed) >= 2, "a panic of the test") }
        });
        work.await.unwrap();
        assert_eq!(begun.load(Ordering::Relaxed), 3);
    }
}
