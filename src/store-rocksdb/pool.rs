//! A few threads that read from disk, so that no async thread waits for one.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, PoisonError},
    thread::{self, JoinHandle},
};

use depesche_store::{Mutex, ReadError};
use tokio::sync::oneshot;

/// The threads and what waits for them. What waits is bounded by those who wait: each job belongs to one future.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    /// Jobs run while nobody has it, so that one that panics leaves it whole.
    waiting: Mutex<Waiting>,
    more: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    closed: bool,
}

impl Pool {
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        let pool = Self { queue: Arc::default(), threads: Mutex::default() };
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&pool.queue);
            let thread = thread::Builder::new().name(format!("store-read-{number}")).spawn(move || queue.work())?;
            pool.threads.lock().push(thread);
        }
        Ok(pool)
    }

    /// Runs a read; it waits its turn from now on, not from the first poll.
    pub(crate) fn run<T, F>(&self, read: F) -> impl Future<Output = Result<T, ReadError>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T, ReadError> + Send + 'static,
    {
        let (done, answer) = oneshot::channel();
        self.queue.push(Box::new(move || {
            // Whoever asked may have gone: then there is nothing to read.
            if !done.is_closed() {
                let _ = done.send(read());
            }
        }));
        // Without an answer the pool is closed, or the read panicked.
        async move { answer.await.unwrap_or_else(|_| Err(ReadError::Engine("the database is closed".to_owned()))) }
    }

    /// Finishes what waits and ends the threads.
    pub(crate) fn close(&self) {
        self.queue.waiting.lock().closed = true;
        self.queue.more.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a read thread had panicked");
            }
        }
    }
}

impl Drop for Pool {
    /// For the case that opening fails half way; otherwise it is closed already.
    fn drop(&mut self) {
        self.queue.waiting.lock().closed = true;
        self.queue.more.notify_all();
    }
}

impl Queue {
    fn push(&self, job: Box<dyn FnOnce() + Send>) {
        let mut waiting = self.waiting.lock();
        if !waiting.closed {
            waiting.jobs.push_back(job);
            drop(waiting);
            self.more.notify_one();
        }
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("a read panicked");
            }
        }
    }

    fn next(&self) -> Option<Box<dyn FnOnce() + Send>> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn a_panic_ends_one_read_and_closing_the_rest() {
        let pool = Pool::start(1).expect("a pool");
        let panics = pool.run(|| -> Result<(), _> { panic!("on purpose") });
        let reads = pool.run(|| Ok(7));
        assert!(block_on(panics).is_err());
        assert_eq!(block_on(reads).expect("read"), 7);
        pool.close();
        assert!(block_on(pool.run(|| Ok(7))).is_err());
    }
}
