//! An engine whose commits fail or wait, and whose reads fail, when a test says so.

use std::{collections::VecDeque, path::Path, sync::Arc};

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    Batch, Bytes, Changes, CommitError, Engine, Mutex, Position, Range, Read, ReadError, Reading, Row, Snapshot,
    SnapshotReads, Topics,
};

/// An engine around another; [`Faults::control`] says what goes wrong.
pub struct Faults<E> {
    engine: Arc<E>,
    control: Arc<Control>,
}

/// What a commit suffers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Nothing: lets one commit pass between two faults.
    None,
    /// Not applied, and said so.
    Failed,
    /// Not applied, answered with [`CommitError::Unknown`].
    UnknownLost,
    /// Applied, answered with [`CommitError::Unknown`].
    UnknownApplied,
    /// Not applied: another batch was faster, on the first key the batch requires or writes.
    Conflict,
}

/// The test's end of [`Faults`].
pub struct Control {
    next: Mutex<VecDeque<Fault>>,
    /// Reads that pass before one fails.
    reads: Mutex<Option<usize>>,
    held: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl<E: Engine> Faults<E> {
    /// Passes everything through until told otherwise.
    pub fn new(engine: E) -> Self {
        let control = Control {
            next: Mutex::default(),
            reads: Mutex::default(),
            held: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        };
        Self { engine: Arc::new(engine), control: Arc::new(control) }
    }

    /// What says which commits fail; it stays valid when the engine is given away.
    pub fn control(&self) -> Arc<Control> {
        Arc::clone(&self.control)
    }
}

impl Control {
    /// The next commits suffer these, in the order they reach the engine.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.next.lock().extend(faults);
    }

    /// Faults that no commit has met yet.
    pub fn left(&self) -> usize {
        self.next.lock().len()
    }

    /// Of the reads from now on one fails, after so many have passed; `None`: none fails.
    pub fn fail_read(&self, after: Option<usize>) {
        *self.reads.lock() = after;
    }

    /// Whether the read that was to fail is still to come.
    pub fn read_left(&self) -> bool {
        self.reads.lock().is_some()
    }

    /// Commits wait from now on, as for a slow disk, until [`Control::release`].
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Lets all waiting commits go on.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// Returns when at least so many commits wait.
    pub async fn waiting(&self, commits: usize) {
        let mut waiting = self.waiting.subscribe();
        // The sender lives in `self`.
        let _ = waiting.wait_for(|now| *now >= commits).await;
    }

    async fn pass(&self) -> Fault {
        let mut held = self.held.subscribe();
        if *held.borrow_and_update() {
            let _waits = Waits::new(&self.waiting);
            let _ = held.wait_for(|held| !held).await;
        }
        self.next.lock().pop_front().unwrap_or(Fault::None)
    }

    fn read<T>(&self, read: impl FnOnce() -> Reading<T>) -> Reading<T> {
        let fails = match &mut *self.reads.lock() {
            None => false,
            Some(0) => true,
            Some(passing) => {
                *passing -= 1;
                false
            }
        };
        if fails {
            self.fail_read(None);
            return Read::ready(Err(ReadError::Engine("injected by the test".to_owned())));
        }
        read()
    }
}

/// Counts one waiting commit, also when its future is dropped.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|now| *now += 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|now| *now -= 1);
    }
}

impl<E: Engine> Engine for Faults<E> {
    fn snapshot(&self) -> Snapshot {
        Arc::new(FaultyReads { snapshot: self.engine.snapshot(), control: Arc::clone(&self.control) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>> {
        let (engine, control) = (Arc::clone(&self.engine), Arc::clone(&self.control));
        Box::pin(async move {
            let injected = "injected by the test".to_owned();
            match control.pass().await {
                Fault::None => engine.commit(batch).await,
                Fault::Failed => Err(CommitError::Failed(injected)),
                Fault::UnknownLost => Err(CommitError::Unknown(injected)),
                Fault::UnknownApplied => engine.commit(batch).await.and(Err(CommitError::Unknown(injected))),
                Fault::Conflict => Err(CommitError::Conflict(first_key(&batch))),
            }
        })
    }

    fn changes(&self, after: Position, limit: usize) -> Reading<Changes> {
        self.engine.changes(after, limit)
    }

    fn topics(&self) -> &Arc<Topics> {
        self.engine.topics()
    }

    fn checkpoint(&self, into: &Path) -> BoxFuture<'static, Result<(), ReadError>> {
        self.engine.checkpoint(into)
    }

    fn statistics(&self) -> Vec<(String, u64)> {
        self.engine.statistics()
    }
}

struct FaultyReads {
    snapshot: Snapshot,
    control: Arc<Control>,
}

impl SnapshotReads for FaultyReads {
    fn position(&self) -> Position {
        self.snapshot.position()
    }

    fn get(&self, key: &[u8]) -> Reading<Option<Bytes>> {
        self.control.read(|| self.snapshot.get(key))
    }

    fn get_many(&self, keys: Vec<Bytes>) -> Reading<Vec<Option<Bytes>>> {
        self.control.read(|| self.snapshot.get_many(keys))
    }

    fn scan(&self, range: Range, reverse: bool, limit: usize) -> Reading<Vec<Row>> {
        self.control.read(|| self.snapshot.scan(range, reverse, limit))
    }
}

fn first_key(batch: &Batch) -> Bytes {
    batch.requirements.keys().chain(batch.operations.keys()).next().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Operation, memory::Memory};

    fn put(value: &'static str) -> Batch {
        let mut batch = Batch::default();
        batch.operations.insert("key".into(), Operation::Put(value.into(), vec![]));
        batch
    }

    #[tokio::test]
    async fn commits_fail_as_told_and_in_order() {
        let engine = Faults::new(Memory::new(crate::Options::default()));
        let control = engine.control();
        control.next([Fault::Failed, Fault::None, Fault::UnknownLost, Fault::Conflict, Fault::UnknownApplied]);
        assert!(matches!(engine.commit(put("1")).await, Err(CommitError::Failed(_))));
        engine.commit(put("2")).await.expect("applied");
        assert!(matches!(engine.commit(put("3")).await, Err(CommitError::Unknown(_))));
        assert!(matches!(engine.commit(put("4")).await, Err(CommitError::Conflict(key)) if key == "key"));
        assert_eq!(engine.snapshot().get(b"key").await.expect("read"), Some("2".into()));
        assert!(matches!(engine.commit(put("5")).await, Err(CommitError::Unknown(_))));
        assert_eq!(engine.snapshot().get(b"key").await.expect("read"), Some("5".into()));
        assert_eq!(control.left(), 0);
    }

    #[tokio::test]
    async fn one_read_fails_as_told() {
        let engine = Faults::new(Memory::new(crate::Options::default()));
        let control = engine.control();
        control.fail_read(Some(2));
        let snapshot = engine.snapshot();
        assert!(snapshot.get(b"key").await.is_ok() && snapshot.get_many(Vec::new()).await.is_ok());
        assert!(control.read_left());
        assert!(matches!(snapshot.scan(Range::new("", ""), false, 1).await, Err(ReadError::Engine(_))));
        assert!(!control.read_left() && snapshot.get(b"key").await.is_ok());
    }

    #[tokio::test]
    async fn held_commits_wait_for_their_release() {
        let engine = Faults::new(Memory::new(crate::Options::default()));
        let control = engine.control();
        control.hold();
        let commits = [tokio::spawn(engine.commit(put("1"))), tokio::spawn(engine.commit(put("2")))];
        control.waiting(2).await;
        assert_eq!(engine.snapshot().get(b"key").await.expect("read"), None);
        control.release();
        for commit in commits {
            commit.await.expect("a task").expect("applied");
        }
    }
}
