//! Answers that take long: a line of JSON for each step of the way, and a last one with the outcome.
//!
//! `{"progress": ...}`, any number of times; then `{"done": ...}` or `{"error": "..."}`. The status says only that the work
//! began. Whoever asked and went away ends the work at its next step; it cleans up after itself. So does the end of the
//! server, which waits a while for that.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use http::header;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// How often progress is told.
const EVERY: Duration = Duration::from_secs(1);

/// What the work says of itself on its way.
pub struct Progress {
    lines: mpsc::Sender<Bytes>,
    said: Instant,
}

impl Progress {
    /// Says how far it is, at most once a second.
    pub fn say(&mut self, how_far: impl FnOnce() -> Value) {
        if self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            self.begin(&how_far());
        }
    }

    /// Says that something begins.
    pub fn begin(&self, what: &Value) {
        // A reader that is behind misses a line, which the next one makes up for.
        let _ = self.lines.try_send(line(&json!({ "progress": what })));
    }

    /// When nobody waits any more.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let lines = self.lines.clone();
        async move { lines.closed().await }
    }

    /// Fails if nobody waits any more.
    pub fn check(&self) -> Result<(), String> {
        if self.lines.is_closed() { Err("nobody waits for it any more".to_owned()) } else { Ok(()) }
    }
}

/// Begins the work and answers with what it says.
pub fn respond<W: Future<Output = Result<Value, String>> + Send + 'static>(
    tracker: &TaskTracker,
    work: impl FnOnce(Progress) -> W,
) -> Response {
    let (lines, receiver) = mpsc::channel(16);
    let begun = Instant::now();
    let work = work(Progress { lines: lines.clone(), said: begun.checked_sub(EVERY).unwrap_or(begun) });
    tracker.spawn(async move {
        let last = match work.await {
            Ok(done) => json!({ "done": done }),
            Err(error) => {
                tracing::error!(error, "a request of the operator failed");
                json!({ "error": error })
            }
        };
        // Whoever asked may have gone.
        let _ = lines.send(line(&last)).await;
    });
    let lines = futures::stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async move {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(line), receiver))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}

fn line(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    use serde_json::json;
    use tokio_util::task::TaskTracker;

    use super::respond;

    #[tokio::test]
    async fn work_that_nobody_waits_for_ends_and_is_waited_for() {
        let (tracker, cleaned) = (TaskTracker::new(), Arc::new(AtomicBool::new(false)));
        let mark = Arc::clone(&cleaned);
        let response = respond(&tracker, |progress| async move {
            progress.gone().await;
            let outcome = progress.check();
            mark.store(outcome.is_err(), Ordering::Relaxed);
            outcome.map(|()| json!({}))
        });
        tracker.close();
        assert!(!tracker.is_empty());
        drop(response);
        tokio::time::timeout(Duration::from_secs(30), tracker.wait()).await.expect("it ends");
        assert!(cleaned.load(Ordering::Relaxed));
    }
}
