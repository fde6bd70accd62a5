use depesche_store::{
    CommitError, Options,
    faults::{Fault as Injected, Faults},
    memory::Memory,
};
use ruma::server_name;

use super::*;
use crate::{
    identity::{self, IdentityError, SCHEMA},
    keyspace::{FILTER, PROFILE},
    records::server::Identity,
    testing::user,
};

const USERS: usize = 1200;

/// Two steps: every profile gets a letter more, then those of some users go, and all filters.
const TWO: &[Migration] = &[
    Migration {
        to: SCHEMA + 1,
        what: "a letter more",
        ends: Vec::new,
        rows: profiles_and_filters,
        at_a_time: ROWS,
        change: lengthen,
    },
    Migration {
        to: SCHEMA + 2,
        what: "some go",
        ends: || vec![FILTER.under(&())],
        rows: || vec![PROFILE.under(&())],
        at_a_time: ROWS,
        change: remove_some,
    },
];

fn profiles_and_filters() -> Vec<Range> {
    vec![PROFILE.under(&()), FILTER.under(&())]
}

fn lengthen(step: Step<'_>) -> BoxFuture<'_, Result<(), Fault>> {
    for (key, value) in step.rows {
        assert!(!value.ends_with(b"+"), "no row is seen twice");
        step.tx.put_stored(key.clone(), [value, &b"+"[..]].concat().into());
    }
    Box::pin(async { Ok(()) })
}

fn remove_some(step: Step<'_>) -> BoxFuture<'_, Result<(), Fault>> {
    for (key, _) in step.rows {
        if PROFILE.parse(key).is_some_and(|(user,)| user.as_str().starts_with("@1")) {
            step.tx.delete_stored(key.clone());
        }
    }
    Box::pin(async { Ok(()) })
}

/// A database of the present schema with some rows.
async fn old() -> Memory {
    let memory = Memory::new(Options::default());
    identity::claim(&memory, server_name!("agency.test")).await.unwrap();
    let tx = Tx::new(memory.snapshot());
    for n in 0..USERS {
        tx.put(&PROFILE, &(user(&n.to_string()),), &"{}".to_owned());
        tx.put(&FILTER, &(user(&n.to_string()), 0), &"{}".to_owned());
    }
    memory.commit(tx.finish()).await.unwrap();
    memory
}

async fn is_migrated(memory: &Memory, when: &str) {
    let tx = Tx::new(memory.snapshot());
    let rows = tx.view().scan(&PROFILE, PROFILE.under(&()), MAX_SCAN).await.unwrap();
    assert!(rows.iter().all(|(_, text)| text == "{}+"), "{when}");
    let left = (0..USERS).filter(|n| !n.to_string().starts_with('1')).count();
    assert_eq!(rows.len(), left, "{when}");
    assert!(tx.view().scan_stored(FILTER.under(&()), 1).await.unwrap().is_empty(), "{when}");
    let identity = Identity { schema: SCHEMA + 2, name: server_name!("agency.test").to_owned() };
    assert_eq!(tx.peek(&IDENTITY, &(0,)).await.unwrap(), Some(identity), "{when}");
    assert_eq!(tx.peek(&MIGRATION, &(0,)).await.unwrap(), None, "{when}");
}

#[tokio::test]
async fn killed_at_any_commit_it_goes_on_and_no_older_program_opens_it() {
    let (clock, _) = Clock::paused(1_700_000_000_000);
    let mut commits = 0;
    loop {
        let mut memory = old().await;
        let when = format!("killed after {commits} commits, and again");
        for last in [Injected::UnknownLost, Injected::UnknownApplied] {
            let faults = Faults::new(memory.clone());
            let control = faults.control();
            control.next(std::iter::repeat_n(Injected::None, commits).chain([last]));
            let outcome = run(&faults, &clock, TWO, SCHEMA + 2).await;
            if control.left() > 0 {
                assert!(outcome.is_ok(), "{when}");
                break;
            }
            memory = memory.reopen();
            let tx = Tx::new(memory.snapshot());
            let touched = tx.peek(&PROFILE, &(user("0"),)).await.unwrap().as_deref() != Some("{}");
            let refused = matches!(
                identity::claim(&memory, server_name!("agency.test")).await,
                Err(IdentityError::NewerSchema { .. })
            );
            assert!(refused || !touched, "{when}: an older program would open it");
        }
        run(&memory, &clock, TWO, SCHEMA + 2).await.unwrap();
        is_migrated(&memory, &when).await;
        if memory_needs_no_more(commits).await {
            assert!(commits > 6, "{commits} commits migrate nothing");
            return;
        }
        commits += 1;
    }
}

/// Whether a migration takes fewer commits than this.
async fn memory_needs_no_more(commits: usize) -> bool {
    let (clock, _) = Clock::paused(1_700_000_000_000);
    let faults = Faults::new(old().await);
    let control = faults.control();
    control.next(std::iter::repeat_n(Injected::None, commits));
    run(&faults, &clock, TWO, SCHEMA + 2).await.unwrap();
    control.left() > 0
}

#[tokio::test]
async fn nothing_is_written_where_nothing_is_to_do() {
    let (clock, _) = Clock::paused(1);
    let memory = old().await;
    let before = memory.snapshot().position();
    run(&memory, &clock, TWO, SCHEMA).await.unwrap();
    assert_eq!(memory.snapshot().position(), before);
    let none = run(&memory, &clock, &[], SCHEMA + 1).await;
    assert!(matches!(none, Err(MigrationError::Missing(schema)) if schema == SCHEMA + 1));
}

#[tokio::test]
async fn who_lost_the_lease_writes_no_more() {
    let (clock, _) = Clock::paused(1_700_000_000_000);
    let memory = old().await;
    let lease = lease(&memory, &clock).await.unwrap();
    let mut first = Run { engine: &memory, clock: &clock, lease, said: Instant::now() };
    assert!(first.step(TWO, SCHEMA + 2).await.unwrap());
    run(&memory, &clock, TWO, SCHEMA + 2).await.unwrap();
    let late = first.step(&[Migration { to: SCHEMA + 3, ..copy(&TWO[1]) }], SCHEMA + 3).await;
    assert!(matches!(late, Err(MigrationError::Fault(Fault::Commit(CommitError::Conflict(_))))), "{late:?}");
    is_migrated(&memory, "by the second").await;
}

fn copy(migration: &Migration) -> Migration {
    let Migration { to, what, ends, rows, at_a_time, change } = *migration;
    Migration { to, what, ends, rows, at_a_time, change }
}

#[tokio::test]
async fn large_rows_share_fewer_batches() {
    let memory = old().await;
    let tx = Tx::new(memory.snapshot());
    for n in 0..30 {
        tx.put(&PROFILE, &(user(&format!("large{n}")),), &"x".repeat(60_000));
    }
    memory.commit(tx.finish()).await.unwrap();
    let tx = Tx::new(memory.snapshot());
    let after = PROFILE.key(&(user("a"),));
    let rows = next_rows(&tx, &TWO[0], &after).await.unwrap();
    assert_eq!(rows.len(), BYTES / 60_000 + 1);
}
