//! Crashes between commits, at every commit of a session: what is left is whole, and the session goes on.

use std::{iter, sync::Arc};

use depesche_store::{
    Options,
    counting::Counting,
    faults::{Fault, Faults},
    memory::Memory,
};

use super::{open, script::Run, start};
use crate::{StartError, identity::IdentityError, verify::verify};

/// A server whose commits go through this many times; the next one suffers the fault, and no later one goes through.
struct Doomed {
    memory: Memory,
    faults: Faults<Memory>,
}

impl Doomed {
    fn new(memory: Memory, after: usize, fault: Fault) -> Self {
        let faults = Faults::new(memory.clone());
        let end = iter::repeat_n(Fault::Failed, 10_000);
        faults.control().next(iter::repeat_n(Fault::None, after).chain([fault]).chain(end));
        Self { memory, faults }
    }

    /// Runs the session into the crash, and returns what a new process finds.
    async fn crash(self, run: &mut Run) -> Memory {
        let control = self.faults.control();
        match open(Arc::new(self.faults)).await {
            Ok(server) => {
                run.server = server;
                let outcome = run.go().await;
                assert!(outcome.is_err() || control.left() >= 10_000, "the session went on without commits");
            }
            // Resuming what an earlier crash interrupted takes commits too.
            Err(StartError::Fault(_) | StartError::Identity(IdentityError::Fault(_))) => {}
            Err(other) => panic!("{other}"),
        }
        self.memory.reopen()
    }
}

async fn is_whole(memory: &Memory, when: &str) {
    let server = start(Arc::new(memory.clone())).await;
    let report = verify(&server.base.view(), |_| ()).await.expect("the check can read");
    assert_eq!(report.problems, Vec::<String>::new(), "{when}");
}

/// How many commits the session takes, and what is seen of it in the end.
async fn undisturbed() -> (usize, Vec<String>) {
    let memory = Memory::new(Options::default());
    let counting = Counting::new(memory.clone());
    let count = counting.count();
    let mut run = Run::new(start(Arc::new(counting)).await);
    run.go().await.expect("every request is answered");
    is_whole(&memory, "undisturbed").await;
    let commits = count.snapshot().commits;
    assert!(commits > 40, "{commits} commits are no session");
    (usize::try_from(commits).expect("few"), run.seen().await)
}

/// After how many commits the second crash comes: one choice for each first crash, or, where `DEPESCHE_SIMULATION` is
/// `long`, several.
fn second_crashes(first: usize) -> Vec<usize> {
    if std::env::var_os("DEPESCHE_SIMULATION").is_some_and(|length| length == "long") {
        vec![0, 1, 3, 7]
    } else {
        vec![first % 4]
    }
}

#[tokio::test]
async fn after_a_crash_at_any_commit_the_rest_is_whole_and_the_session_goes_on() {
    let (commits, seen) = undisturbed().await;
    for after in 0..commits {
        for fault in [Fault::UnknownLost, Fault::UnknownApplied] {
            for second in second_crashes(after) {
                crash_twice(&seen, after, second, fault).await;
            }
        }
    }
}

/// A crash after so many commits, another one soon after the restart, and the session to its end.
async fn crash_twice(seen: &[String], after: usize, second: usize, fault: Fault) {
    let when = format!("{fault:?} after {after} commits and {second} more");
    let memory = Memory::new(Options::default());
    let mut run = Run::new(start(Arc::new(Memory::new(Options::default()))).await);
    let left = Doomed::new(memory, after, fault).crash(&mut run).await;
    let whole = left.clone();
    let left = Doomed::new(left, second, fault).crash(&mut run).await;
    is_whole(&whole.reopen(), &when).await;
    is_whole(&left.clone().reopen(), &when).await;
    run.server = start(Arc::new(left.clone())).await;
    run.go().await.unwrap_or_else(|why| panic!("{when}: {why}"));
    let again = run.seen().await;
    let differs = seen.iter().zip(&again).find(|(first, second)| first != second);
    assert_eq!((differs, again.len()), (None, seen.len()), "{when}");
    is_whole(&left, &when).await;
}
