//! What ends by itself: one table of rows with the time of their end, and the one sweeper that removes them.
//!
//! Whoever writes a row that is to end puts its end into the same batch. Nobody may rely on the end being punctual: a row
//! that is over may still be there for minutes, or for as long as no server runs. A row that is removed before its time
//! leaves its entry, which then ends alone; a row that was written anew is not taken for the old one.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use depesche_store::CommitError;
use sha2::{Digest, Sha256};

use crate::{
    base::Base,
    codec::Key,
    keyspace::DUE,
    records::server::Due,
    table::{Record, Table},
    tx::{Fault, Tx},
};

/// How often the sweeper looks.
const EVERY: Duration = Duration::from_mins(1);
/// How soon it looks again where a look left something.
const SOON: Duration = Duration::from_secs(1);
/// The most rows that end in one batch.
const ROWS: usize = 256;
/// The most batches of one look: others want the disk too.
const BATCHES: usize = 40;

/// Puts the end of a row into the batch that writes it.
pub fn put<K: Key, V: Record>(tx: &Tx, table: &Table<K, V>, key: &K, value: &V, due_ms: u64) {
    put_stored(tx, &table.key(key), &value.encode(), due_ms);
}

/// The same for a row of whatever table, as it is stored.
pub fn put_stored(tx: &Tx, key: &Bytes, value: &Bytes, due_ms: u64) {
    let due = Due { value: hash(value), key: key.to_vec() };
    tx.put(&DUE, &(due_ms, hash(key)), &due);
}

/// Removes what is over, until the server stops.
pub async fn sweep_until_stopped(base: Arc<Base>) {
    let mut from_ms = 0;
    loop {
        let wait = match sweep(&base, from_ms).await {
            Ok(Some(through_ms)) => {
                from_ms = through_ms;
                EVERY
            }
            Ok(None) => SOON,
            // The disk is full: the next look finds the same rows.
            Err(Fault::Commit(why)) => {
                tracing::debug!(%why, "what is over could not be removed");
                EVERY
            }
            Err(fault) => {
                tracing::error!(%fault, "what is over cannot be removed");
                EVERY
            }
        };
        tokio::select! {
            biased;
            () = base.stopped() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One look, at entries from a time on: what lies before it was swept by this process, and reading past rows that were
/// removed costs time. Says where the next look may begin, or nothing if this one left some.
pub(crate) async fn sweep(base: &Base, from_ms: u64) -> Result<Option<u64>, Fault> {
    let now_ms = base.clock.now_ms();
    for _ in 0..BATCHES {
        let tx = base.tx();
        tx.lazy();
        let range = DUE.between(&(from_ms, [0; 16]), &(now_ms.saturating_add(1), [0; 16]));
        let over = tx.view().scan_stored(range, ROWS).await?;
        for (entry, due) in &over {
            match Due::decode(due) {
                Some(due) => {
                    let key = due.key.into();
                    if tx.read_stored(&key).await?.is_some_and(|value| hash::<8>(&value) == due.value) {
                        tx.delete_stored(key);
                    }
                }
                None => tracing::error!(entry = ?entry, "what ends here cannot be read: it stays for good"),
            }
            tx.delete_stored(entry.clone());
        }
        match base.commit(&tx).await {
            // A row was written anew in this moment: it stays, and its entry goes with the next look.
            Err(Fault::Commit(CommitError::Conflict(_))) => return Ok(None),
            committed => committed?,
        };
        if over.len() < ROWS {
            return Ok(Some(now_ms));
        }
    }
    Ok(None)
}

fn hash<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    *digest.first_chunk().expect("a digest has 32 bytes, and nobody asks for more")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use ruma::{device_id, event_id};

    use super::*;
    use crate::{
        keyspace::TRANSACTION,
        testing::{Fixture, user},
    };

    async fn entries(server: &Fixture) -> usize {
        server.base.view().scan(&DUE, DUE.under(&()), 1000).await.unwrap().len()
    }

    #[tokio::test]
    async fn a_row_ends_at_its_time_unless_it_is_another_by_then() {
        let server = Fixture::new();
        let now_ms = server.base.clock.now_ms();
        let key = |id: &str| (user("alice"), device_id!("A").to_owned(), "s".to_owned(), id.to_owned());
        let value = event_id!("$a").to_owned();
        let tx = server.base.tx();
        for (id, due_ms) in [("now", now_ms), ("anew", now_ms + 1), ("gone", now_ms + 1), ("later", now_ms + 5000)] {
            tx.put(&TRANSACTION, &key(id), &value);
            put(&tx, &TRANSACTION, &key(id), &value, due_ms);
        }
        server.base.commit(&tx).await.unwrap();
        let from_ms = sweep(&server.base, 0).await.unwrap().unwrap();
        assert_eq!(entries(&server).await, 3);
        let tx = server.base.tx();
        tx.put(&TRANSACTION, &key("anew"), &event_id!("$b").to_owned());
        tx.delete(&TRANSACTION, &key("gone"));
        server.base.commit(&tx).await.unwrap();
        server.hand.fetch_add(1000, Ordering::Relaxed);
        sweep(&server.base, from_ms).await.unwrap();
        assert_eq!(entries(&server).await, 1);
        let mut left = Vec::new();
        for id in ["now", "anew", "gone", "later"] {
            left.push(server.base.view().get(&TRANSACTION, &key(id)).await.unwrap().is_some());
        }
        assert_eq!(left, [false, true, false, true]);
    }

    #[tokio::test]
    async fn an_entry_that_cannot_be_read_holds_up_no_other() {
        let server = Fixture::new();
        let now_ms = server.base.clock.now_ms();
        let key = (user("alice"), device_id!("A").to_owned(), String::new(), String::new());
        let tx = server.base.tx();
        tx.put_stored(DUE.key(&(now_ms - 1, [1; 16])), "nonsense".into());
        tx.put(&TRANSACTION, &key, &event_id!("$a").to_owned());
        put(&tx, &TRANSACTION, &key, &event_id!("$a").to_owned(), now_ms);
        server.base.commit(&tx).await.unwrap();
        assert_eq!(sweep(&server.base, 0).await.unwrap(), Some(now_ms));
        assert_eq!(server.base.view().get(&TRANSACTION, &key).await.unwrap(), None);
        assert_eq!(server.base.view().scan_stored(DUE.under(&()), 10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_look_goes_on_over_many_rows_and_is_bounded() {
        let server = Fixture::new();
        let now_ms = server.base.clock.now_ms();
        for part in 0..(ROWS * (BATCHES + 1)).div_ceil(1000) {
            let tx = server.base.tx();
            for n in 0..1000 {
                let key = (user("alice"), device_id!("A").to_owned(), part.to_string(), n.to_string());
                tx.put(&TRANSACTION, &key, &event_id!("$a").to_owned());
                put(&tx, &TRANSACTION, &key, &event_id!("$a").to_owned(), now_ms);
            }
            server.base.commit(&tx).await.unwrap();
        }
        assert_eq!(sweep(&server.base, 0).await.unwrap(), None, "there is more");
        let left = server.base.view().scan(&TRANSACTION, TRANSACTION.under(&()), 10_000).await.unwrap().len();
        assert_eq!(left, 11_000 - ROWS * BATCHES);
        assert_eq!(sweep(&server.base, 0).await.unwrap(), Some(now_ms), "all is swept");
        assert_eq!(entries(&server).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweeper_works_until_the_server_stops() {
        let server = Fixture::new();
        let key = (user("alice"), device_id!("A").to_owned(), String::new(), String::new());
        let sweeper = tokio::spawn(sweep_until_stopped(Arc::clone(&server.base)));
        let tx = server.base.tx();
        tx.put(&TRANSACTION, &key, &event_id!("$a").to_owned());
        put(&tx, &TRANSACTION, &key, &event_id!("$a").to_owned(), server.base.clock.now_ms() + 1000);
        server.base.commit(&tx).await.unwrap();
        tokio::time::sleep(EVERY * 2).await;
        assert_eq!(entries(&server).await, 1, "not yet");
        server.hand.fetch_add(1000, Ordering::Relaxed);
        tokio::time::sleep(EVERY * 2).await;
        assert_eq!(entries(&server).await, 0);
        server.stop.send_replace(true);
        sweeper.await.unwrap();
    }
}
