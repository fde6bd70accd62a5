//! Who waits for thumbnails that have to be made.
//!
//! A client that opens a room of pictures asks for many at once, so waiting is not refused before it is absurd; but of
//! each asker only a few are in the making, and their pictures open, whatever the others wait for.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use depesche_rules::bounds::{
    MAX_THUMBNAILS_ASKED, MAX_THUMBNAILS_ASKED_BY_ONE, MAX_THUMBNAILS_MADE, MAX_THUMBNAILS_MADE_FOR_ONE,
};
use depesche_store::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All who wait.
pub(super) struct Queue {
    making: Arc<Semaphore>,
    askers: Mutex<Askers>,
}

#[derive(Default)]
struct Askers {
    waiting: usize,
    /// Those who wait, or left what is in the making for them; and some who are no more.
    by_name: HashMap<String, Weak<Asker>>,
}

struct Asker {
    waiting: AtomicUsize,
    making: Arc<Semaphore>,
}

/// One who waits, until this is dropped.
pub(super) struct Asking<'a> {
    queue: &'a Queue,
    asker: Arc<Asker>,
}

/// The right to have one made.
pub(super) struct Place {
    _asker: Arc<Asker>,
    _of_asker: Option<OwnedSemaphorePermit>,
    _of_all: Option<OwnedSemaphorePermit>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { making: Arc::new(Semaphore::new(MAX_THUMBNAILS_MADE)), askers: Mutex::default() }
    }
}

impl Queue {
    /// Waits for one more; `None` if too many do.
    pub(super) fn ask(&self, name: &str) -> Option<Asking<'_>> {
        let mut askers = self.askers.lock();
        if askers.waiting >= MAX_THUMBNAILS_ASKED {
            return None;
        }
        let asker = askers.named(name);
        if asker.waiting.load(Ordering::Relaxed) >= MAX_THUMBNAILS_ASKED_BY_ONE {
            return None;
        }
        asker.waiting.fetch_add(1, Ordering::Relaxed);
        askers.waiting += 1;
        Some(Asking { queue: self, asker })
    }
}

impl Askers {
    fn named(&mut self, name: &str) -> Arc<Asker> {
        if let Some(asker) = self.by_name.get(name).and_then(Weak::upgrade) {
            return asker;
        }
        // More are not there at a time.
        if self.by_name.len() >= MAX_THUMBNAILS_ASKED + MAX_THUMBNAILS_MADE {
            self.by_name.retain(|_, asker| asker.strong_count() > 0);
        }
        let making = Arc::new(Semaphore::new(MAX_THUMBNAILS_MADE_FOR_ONE));
        let asker = Arc::new(Asker { waiting: AtomicUsize::new(0), making });
        self.by_name.insert(name.to_owned(), Arc::downgrade(&asker));
        asker
    }
}

impl Asking<'_> {
    /// Waits for a place: first among the asker's own, then among all.
    pub(super) async fn place(&self) -> Place {
        // Neither is ever closed.
        let of_asker = Arc::clone(&self.asker.making).acquire_owned().await.ok();
        let of_all = Arc::clone(&self.queue.making).acquire_owned().await.ok();
        Place { _asker: Arc::clone(&self.asker), _of_asker: of_asker, _of_all: of_all }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.queue.askers.lock().waiting -= 1;
        self.asker.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
