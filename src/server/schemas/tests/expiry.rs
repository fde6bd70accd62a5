//! To schema 3.

use std::sync::atomic::Ordering;

use ruma::{OwnedDeviceId, OwnedUserId, event_id};

use super::*;
use crate::{
    expiry,
    keys::bounds::TRANSACTION_MEMORY_MS,
    keyspace::{DUE, LOGIN_TOKEN, OPENID_TOKEN, TO_DEVICE_TXN, TRANSACTION},
    records::accounts::{LoginToken, OpenIdToken},
    rooms::lane::TRANSACTION_KEPT_MS,
    testing::{Fixture, user},
};

/// The schema.
const TO: u32 = 3;
/// How many rows of each kind.
const ROWS: u8 = 10;
/// How long a login token of the test is good.
const LOGIN_MS: u64 = 120_000;
/// How long a token of OpenID is.
const OPENID_MS: u64 = 3_600_000;

fn sender() -> (OwnedUserId, OwnedDeviceId) {
    (user("alice"), "PHONE".into())
}

/// A database with rows that nothing ends, and with the tables that ended others.
async fn old(server: &Fixture) {
    let now_ms = server.base.clock.now_ms();
    set_back(server.base.engine.as_ref(), TO - 1, |tx| {
        tx.delete_range(DUE.under(&()));
        for n in 0..ROWS {
            let hash = [n; 32];
            let user = user("alice");
            let token = LoginToken { user: user.clone(), expires_ms: now_ms + LOGIN_MS, issued_ms: now_ms };
            tx.put(&LOGIN_TOKEN, &(hash,), &token);
            tx.put(&OPENID_TOKEN, &(hash,), &OpenIdToken { user, expires_ms: now_ms + OPENID_MS });
            tx.put(&TO_DEVICE_TXN, &(sender().0, sender().1, hash), &now_ms);
            let key = (sender().0, sender().1, "send".to_owned(), n.to_string());
            tx.put(&TRANSACTION, &key, &event_id!("$event").to_owned());
            for ended in [0x16, 0x24, 0x62] {
                tx.put_stored(vec![ended, n].into(), Bytes::new());
            }
        }
    })
    .await;
}

/// How many rows there are of each kind, and of the tables that end.
async fn left(server: &Fixture) -> [usize; 5] {
    let engine = server.base.engine.as_ref();
    let count = async |range: Range| rows(engine, [range]).await.len();
    let ended = rows(engine, [0x16, 0x24, 0x62].map(|number: u8| Range::prefix(vec![number]))).await;
    [
        count(LOGIN_TOKEN.under(&())).await,
        count(OPENID_TOKEN.under(&())).await,
        count(TRANSACTION.under(&())).await,
        count(TO_DEVICE_TXN.under(&())).await,
        ended.len(),
    ]
}

#[tokio::test]
async fn old_rows_end_when_they_would_have() {
    let server = Fixture::new();
    old(&server).await;
    let (clock, _) = Clock::paused(server.base.clock.now_ms());
    migrations::run(server.base.engine.as_ref(), &clock, &[migration_to(TO, 7)], TO).await.unwrap();
    let all = usize::from(ROWS);
    assert_eq!(left(&server).await, [all, all, all, all, 0]);
    let mut passed = 0;
    for (ms, expected) in [
        (LOGIN_MS - 1, [all, all, all, all, 0]),
        (LOGIN_MS, [0, all, all, all, 0]),
        (OPENID_MS, [0, 0, all, all, 0]),
        (TRANSACTION_MEMORY_MS, [0, 0, all, 0, 0]),
        (TRANSACTION_KEPT_MS, [0, 0, 0, 0, 0]),
    ] {
        server.hand.fetch_add(ms - passed, Ordering::Relaxed);
        passed = ms;
        expiry::sweep(&server.base, 0).await.unwrap();
        assert_eq!(left(&server).await, expected, "after {ms} ms");
    }
}

#[tokio::test]
async fn killed_in_the_middle_no_row_is_forgotten() {
    let server = Fixture::new();
    let engine = Arc::clone(&server.base.engine);
    let check = async |when: &str| {
        let due = server.base.view().scan(&DUE, DUE.under(&()), 1000).await.unwrap();
        assert_eq!(due.len(), usize::from(ROWS) * 4, "{when}");
        assert_eq!(left(&server).await[4], 0, "{when}");
    };
    let commits = killed_at_every_commit(&engine, migration_to(TO, 7), async || old(&server).await, check).await;
    assert!(commits > 8, "{commits} commits are no steps");
}
