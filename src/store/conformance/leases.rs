//! Leases: one holder at a time, and a holder that lost its lease cannot write.

use std::time::Duration;

use futures::future::join_all;

use super::{Database, batch, commit, get, open, run};
use crate::{Engine, Lease, LeaseError};

const LASTS: Duration = Duration::from_millis(100);

async fn acquire(engine: &dyn Engine, holder: &str, now_ms: u64) -> Result<Lease, LeaseError> {
    Lease::acquire(engine, "sweeper", holder, now_ms, LASTS).await
}

/// While one holds it others are refused; when it has ended, or to the same holder, it is given with a higher epoch.
pub fn a_lease_has_one_holder<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let first = acquire(&*engine, "a", 1000).await.expect("free");
        assert_eq!((first.epoch, first.expires_ms), (1, 1100));
        let refused = acquire(&*engine, "b", 1099).await;
        assert!(matches!(&refused, Err(LeaseError::Held { holder, left_ms: 1 }) if holder == "a"), "{refused:?}");
        assert_eq!(acquire(&*engine, "a", 1050).await.expect("the same holder").epoch, 2);
        assert_eq!(acquire(&*engine, "b", 1150).await.expect("ended").epoch, 3);
        assert_eq!(Lease::acquire(&*engine, "other", "a", 0, LASTS).await.expect("another lease").epoch, 1);
        for (name, holder) in [("", "a"), ("sweeper", ""), (&*"x".repeat(256), "a")] {
            let refused = Lease::acquire(&*engine, name, holder, 0, LASTS).await;
            assert!(matches!(refused, Err(LeaseError::Name(_))), "{refused:?}");
        }
    });
}

/// The batches of a former holder conflict, on the lease; so do its attempts to renew and to release.
pub fn a_lost_lease_fences_its_holder<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let mut lost = acquire(&*engine, "a", 0).await.expect("free");
        let guarded = |lease: &Lease, value: &str| {
            let mut batch = batch().put("k", value);
            batch.requirements.extend([lease.requirement()]);
            batch
        };
        commit(&*engine, guarded(&lost, "1")).await;
        let holder = acquire(&*engine, "b", 100).await.expect("ended");
        let error = engine.commit(guarded(&lost, "2")).await.expect_err("fenced");
        assert!(lost.is_lost(&error), "{error}");
        let other = engine.commit(batch().is("k", "9")).await.expect_err("conflict");
        assert!(!lost.is_lost(&other), "{other}");
        assert_eq!(get(&*engine, "k").await.as_deref(), Some(&b"1"[..]));
        assert!(matches!(lost.renew(&*engine, 100, LASTS).await, Err(LeaseError::Lost)));
        assert!(matches!(lost.release(&*engine).await, Err(LeaseError::Lost)));
        commit(&*engine, guarded(&holder, "3")).await;
    });
}

/// Renewing moves the end and nothing that a batch under way requires.
pub fn renewing_leaves_batches_alone<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let mut lease = acquire(&*engine, "a", 0).await.expect("free");
        let before = lease.requirement();
        lease.renew(&*engine, 50, LASTS).await.expect("renewed");
        assert_eq!(lease.expires_ms, 150);
        let mut batch = batch();
        batch.requirements.extend([before]);
        commit(&*engine, batch).await;
        assert!(matches!(acquire(&*engine, "b", 149).await, Err(LeaseError::Held { .. })));
        assert_eq!(acquire(&*engine, "b", 150).await.expect("ended").epoch, 2);
    });
}

/// Released, it is free at once, its old holder is fenced, and the epochs go on.
pub fn a_released_lease_is_free<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let lease = acquire(&*engine, "a", 0).await.expect("free");
        let requirement = lease.requirement();
        lease.release(&*engine).await.expect("released");
        let mut late = batch();
        late.requirements.extend([requirement]);
        engine.commit(late).await.expect_err("fenced");
        assert_eq!(acquire(&*engine, "b", 1).await.expect("free").epoch, 2);
    });
}

/// Of many that try at once exactly one succeeds, and the others know that they did not.
pub fn of_two_at_once_one_has_it<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        for round in 0..20 {
            let holders: Vec<String> = (0..5).map(|holder| format!("{round}-{holder}")).collect();
            let tries = holders.iter().map(|holder| acquire(&*engine, holder, round * 1000));
            let leases: Vec<_> = join_all(tries).await;
            assert_eq!(leases.iter().flatten().count(), 1, "{leases:?}");
            for refused in leases.iter().filter_map(|lease| lease.as_ref().err()) {
                assert!(matches!(refused, LeaseError::Held { .. } | LeaseError::Lost), "{refused}");
            }
            assert_eq!(leases.iter().flatten().next().map(|lease| lease.epoch), Some(round + 1));
        }
    });
}

/// A restart neither frees a lease nor lowers an epoch.
pub fn leases_outlive_a_restart<D: Database>() {
    let (database, engine) = open::<D>();
    run(async { acquire(&*engine, "a", 0).await.expect("free") });
    drop(engine);
    let database = database.reopen();
    let engine = database.engine();
    run(async {
        assert!(matches!(acquire(&*engine, "b", 99).await, Err(LeaseError::Held { .. })));
        assert_eq!(acquire(&*engine, "b", 100).await.expect("ended").epoch, 2);
    });
}
