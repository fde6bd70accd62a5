//! The commit thread: takes what waits, writes it as one group with one sync, publishes, announces, answers. In this
//! order, so that visible implies durable, and announced or answered implies visible.
//!
//! After a write that failed, the outcome of its group is either certain (nothing applied: the log could not be
//! appended to) or not (the sync failed, and what the disk has nobody knows). In the first case later groups are tried
//! again, since RocksDB recovers by itself when space is back. In the second nothing is written until a restart, which
//! reads from the disk what it has.
//!
//! Before a group is begun, [`Space`] is asked whether there is room for it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use depesche_store::{
    Batch, CommitError, Position,
    reserved::{self, Kept, Positions},
};
use rocksdb::{WriteBatch, WriteOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{RocksOptions, Shared, group::Group, space::Space};

/// The most batches in one group.
const GROUP_BATCHES: usize = 256;
/// The most bytes in one group, unless a single batch has more.
const GROUP_BYTES: usize = 8 << 20;
/// The most bytes of batches that wait, in units of [`UNIT`]: who comes then waits outside.
const WAITING_UNITS: usize = 64 << 10;
/// A batch counts as so many bytes at least.
const UNIT: usize = 1 << 10;
/// How long a lazy batch may stay unsynced.
const LAZY: Duration = Duration::from_secs(1);

/// The way to the commit thread.
pub(crate) struct Queue {
    messages: Sender<Message>,
    room: Arc<Semaphore>,
    /// Set by the commit thread at its orderly end: what has no answer then was never looked at.
    ended: Arc<AtomicBool>,
    refuse_peeked_writes: bool,
}

#[cfg_attr(
    not(test),
    expect(clippy::large_enum_variant, reason = "the small one is sent once in a life; a box would cost each commit")
)]
enum Message {
    Commit(Waiting),
    Close,
    /// Stands still until the other end is dropped.
    #[cfg(test)]
    Stand(Receiver<()>),
}

struct Waiting {
    batch: Batch,
    /// The bytes of the batch.
    size: usize,
    answer: oneshot::Sender<Result<Position, CommitError>>,
    _room: OwnedSemaphorePermit,
}

/// The commit thread's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    positions: Positions,
    kept: Kept,
    sync: bool,
    /// Since when something written waits for its sync.
    unsynced: Option<Instant>,
    /// Why nothing is written any more.
    stopped: Option<String>,
    /// Whether the last group failed, to log only changes.
    failing: bool,
    space: Space,
}

pub(crate) fn start(writer: Writer, options: &RocksOptions) -> io::Result<(Queue, JoinHandle<()>)> {
    let (messages, receiver) = channel();
    let ended = Arc::new(AtomicBool::new(false));
    let queue = Queue {
        messages,
        room: Arc::new(Semaphore::new(WAITING_UNITS)),
        ended: Arc::clone(&ended),
        refuse_peeked_writes: options.common.refuse_peeked_writes,
    };
    let thread = thread::Builder::new().name("store-commit".to_owned()).spawn(move || {
        writer.run(&receiver);
        ended.store(true, Ordering::Release);
    })?;
    Ok((queue, thread))
}

impl Queue {
    /// Commits a batch. The order of batches is that of the first polls.
    pub(crate) fn commit(&self, batch: Batch) -> impl Future<Output = Result<Position, CommitError>> + use<> {
        let checked = batch.check(self.refuse_peeked_writes);
        let (messages, room, ended) = (self.messages.clone(), Arc::clone(&self.room), Arc::clone(&self.ended));
        async move {
            checked?;
            let closed = || CommitError::Failed("the database is closed".to_owned());
            let size = batch.size();
            let units = u32::try_from(size / UNIT + 1).unwrap_or(u32::MAX);
            let room = room.acquire_many_owned(units).await.map_err(|_| closed())?;
            let (answer, result) = oneshot::channel();
            messages.send(Message::Commit(Waiting { batch, size, answer, _room: room })).map_err(|_| closed())?;
            match result.await {
                Ok(result) => result,
                Err(_) if ended.load(Ordering::Acquire) => Err(closed()),
                Err(_) => Err(CommitError::Unknown("the commit thread panicked; restart the server".to_owned())),
            }
        }
    }

    /// The commit thread ends after what waits now.
    pub(crate) fn close(&self) {
        // It fails only if the thread has ended already.
        let _ = self.messages.send(Message::Close);
    }

    /// Holds the commit thread until the answer is dropped.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> Sender<()> {
        let (release, wait) = channel();
        self.messages.send(Message::Stand(wait)).expect("the thread runs");
        release
    }
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, positions: Positions, kept: Kept, options: &RocksOptions) -> Self {
        let space = Space::new(shared.database.path.clone(), options.reserve_bytes());
        Self { shared, positions, kept, sync: options.sync, unsynced: None, stopped: None, failing: false, space }
    }

    fn run(mut self, messages: &Receiver<Message>) {
        let mut next = None;
        loop {
            let mut group = Vec::new();
            let mut size = 0;
            // Waits for the first, takes what is there of the rest, and keeps what does not fit for the next group.
            while let Some(message) = next.take().or_else(|| self.receive(messages, group.is_empty())) {
                match message {
                    Message::Commit(waiting) if group.is_empty() || size + waiting.size <= GROUP_BYTES => {
                        size += waiting.size;
                        group.push(waiting);
                    }
                    other => {
                        next = Some(other);
                        break;
                    }
                }
                if group.len() == GROUP_BATCHES {
                    break;
                }
            }
            if !group.is_empty() {
                self.commit(group);
                continue;
            }
            #[cfg(test)]
            if let Some(Message::Stand(wait)) = &next {
                let _ = wait.recv();
                next = None;
                continue;
            }
            // The engine closes, or nobody can send any more.
            return self.end();
        }
    }

    /// The next message; while waiting, lazy batches get their sync.
    fn receive(&mut self, messages: &Receiver<Message>, wait: bool) -> Option<Message> {
        if !wait {
            return messages.try_recv().ok();
        }
        if let Some(since) = self.unsynced {
            match messages.recv_timeout(LAZY.saturating_sub(since.elapsed())) {
                Err(RecvTimeoutError::Timeout) => self.sync_lazy(),
                received => return received.ok(),
            }
        }
        messages.recv().ok()
    }

    fn commit(&mut self, waiting: Vec<Waiting>) {
        if let Some(why) = &self.stopped {
            return refuse(waiting, &CommitError::Failed(why.clone()));
        }
        let shared = Arc::clone(&self.shared);
        if let Err(short) = self.space.check(&shared.database.db) {
            self.note(Some(&short));
            return refuse(waiting, &short);
        }
        let mut group = Group::new(&shared.database.db, shared.published().volatile().clone(), waiting.len());
        let mut answers = Vec::with_capacity(waiting.len());
        for Waiting { batch, answer, _room, .. } in waiting {
            let result = group.add(batch, &mut self.positions);
            answers.push((answer, result));
        }
        let conflicts = answers.iter().filter(|(_, result)| result.is_err()).count();
        let written = group.last.map_or(Ok(()), |last| self.write(group, last));
        self.note(written.as_ref().err());
        if written.is_ok() {
            shared.figures.group(answers.len() - conflicts, conflicts);
        }
        for (answer, result) in answers {
            // A refused batch stays refused; whoever has gone needs no answer.
            let _ = answer.send(result.and_then(|position| written.clone().map(|()| position)));
        }
    }

    /// Writes, publishes and announces a group whose last batch is at this position.
    fn write(&mut self, group: Group<'_>, last: Position) -> Result<(), CommitError> {
        let Group { mut write, volatile, announced, mut sync, .. } = group;
        let ceiling = self.positions.due();
        if let Some(ceiling) = ceiling {
            write.put(reserved::CEILING, reserved::position_value(ceiling));
            sync = true;
        }
        let trimmed = self.kept.due();
        if let Some(through) = trimmed {
            let range = reserved::changes_through(through);
            write.delete_range(&range.from, &range.to);
            write.put(reserved::TRIMMED, reserved::position_value(through));
        }
        sync |= self.unsynced.is_some_and(|since| since.elapsed() >= LAZY);
        if !write.is_empty() {
            self.write_through(write, sync)?;
        }
        if let Some(ceiling) = ceiling {
            self.positions.stored(ceiling);
        }
        for (position, _) in &announced {
            self.kept.add(*position);
        }
        if let Some(through) = trimmed {
            self.kept.forget(through);
        }
        let before = self.shared.published();
        self.shared.publish(before.after(last, trimmed.unwrap_or(before.trimmed()), volatile), announced);
        Ok(())
    }

    fn write_through(&mut self, write: WriteBatch, sync: bool) -> Result<(), CommitError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync && self.sync);
        self.shared.database.db.write_opt(write, &options).map_err(|error| self.failure(&error.into_string()))?;
        // The log is one: a sync covers what was written before it.
        self.unsynced = if sync { None } else { self.unsynced.or_else(|| Some(Instant::now())) };
        Ok(())
    }

    fn sync_lazy(&mut self) {
        self.unsynced = None;
        if self.sync
            && let Err(error) = self.shared.database.db.flush_wal(true)
        {
            let failure = self.failure(&error.into_string());
            self.note(Some(&failure));
        }
    }

    /// What a failed write means for its batches, and for the ones to come.
    fn failure(&mut self, error: &str) -> CommitError {
        let path = self.shared.database.path.display();
        if !nothing_was_applied(error) {
            let text = format!("a write to {path} failed half way: check the disk, then restart the server ({error})");
            self.stopped = Some(text.clone());
            return CommitError::Unknown(text);
        }
        CommitError::Failed(if error.contains("No space left") || error.contains("Disk quota") {
            format!("the disk is full: make room for {path}; restart the server if writes do not go on then ({error})")
        } else {
            format!("the disk refuses writes to {path}: see to it, then restart the server ({error})")
        })
    }

    /// Logs when writes begin to fail and when they go on, not each time.
    fn note(&mut self, failure: Option<&CommitError>) {
        match failure {
            Some(error) => {
                self.shared.figures.failed();
                if !self.failing {
                    tracing::error!(%error, "writes fail; reads go on");
                }
            }
            None if self.failing => tracing::info!("writes go on"),
            None => {}
        }
        self.failing = failure.is_some();
    }

    /// Makes everything durable and gives the reserved positions back, so that the next start leaves no gap.
    fn end(self) {
        if self.stopped.is_some() {
            return;
        }
        let mut write = WriteBatch::default();
        write.put(reserved::CEILING, reserved::position_value(self.positions.last()));
        let mut options = WriteOptions::default();
        options.set_sync(self.sync);
        if let Err(error) = self.shared.database.db.write_opt(write, &options) {
            // The next start leaves a gap, as after a crash.
            tracing::warn!(%error, "the last write before closing failed");
        }
    }
}

fn refuse(waiting: Vec<Waiting>, error: &CommitError) {
    for Waiting { answer, .. } in waiting {
        let _ = answer.send(Err(error.clone()));
    }
}

/// Whether an error of RocksDB says that the group did not reach the log: it could not be appended to, or RocksDB
/// refused at once because a background job had failed. A log (or its directory) that could not be synced may have it.
fn nothing_was_applied(error: &str) -> bool {
    if error.starts_with("Operation incomplete") || error.starts_with("Result incomplete") {
        // RocksDB gave up waiting for its buffers.
        return true;
    }
    let sync = error.contains("While fsync") || error.contains("While fdatasync");
    let background = error.contains(".sst") || error.contains("MANIFEST");
    error.starts_with("IO error") && (!sync || background)
}

#[cfg(test)]
mod tests;
