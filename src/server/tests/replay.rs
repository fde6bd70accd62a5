//! A seed replays: the same session on two servers makes the same commits, byte by byte.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use depesche_store::{
    Batch, Changes, CommitError, Engine, Options, Position, ReadError, Reading, Snapshot, Topics, memory::Memory,
};
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};

use super::{script::Run, start};

/// An engine that keeps what was asked of it, in order.
struct Recording {
    engine: Memory,
    batches: Arc<Mutex<Vec<String>>>,
}

impl Engine for Recording {
    fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>> {
        self.batches.lock().expect("not poisoned").push(format!("{batch:?}"));
        self.engine.commit(batch)
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

/// Every batch of a session as text, and the hash of all.
async fn session() -> (Vec<String>, [u8; 32]) {
    let batches = Arc::new(Mutex::new(Vec::new()));
    let engine = Recording { engine: Memory::new(Options::default()), batches: Arc::clone(&batches) };
    let mut run = Run::new(start(Arc::new(engine)).await);
    run.go().await.expect("every request is answered");
    let batches = batches.lock().expect("not poisoned").clone();
    let mut hash = Sha256::new();
    for batch in &batches {
        hash.update(batch);
    }
    (batches, hash.finalize().into())
}

#[tokio::test]
async fn one_seed_makes_the_same_commits_twice() {
    let ((first, hash), (second, again)) = (session().await, session().await);
    let differs = first.iter().zip(&second).position(|(first, second)| first != second);
    if let Some(at) = differs {
        panic!("batch {at} differs:\n{}\n{}", first[at], second[at]);
    }
    assert_eq!((first.len(), hash), (second.len(), again));
}
