//! Giving blobs their rows and taking them away: the only writer of `BLOB` and `LOOSE_BLOB`.

use std::{future::Future, time::Duration};

use super::{
    Media,
    blobs::{BlobError, BlobName},
    upload::Received,
};
use crate::{
    Fault,
    keyspace::{BLOB, LOOSE_BLOB},
    records::media::Blob,
    tx::{FaultKind, Pages, Tx},
};

/// Loose blobs looked at together at the start.
const PAGE: usize = 500;
/// How long the start may wait for a store that does not answer.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

impl Media {
    /// Keeps bytes that have arrived, together with the rows that `decide` puts into the batch. Afterwards the bytes are
    /// on disk and counted once more; what is refused leaves no bytes behind.
    pub(super) async fn keep<T, E, F, R>(&self, received: Received, decide: F) -> Result<T, E>
    where
        E: From<Fault> + From<BlobError>,
        F: Fn(Tx) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let Received { draft, name, size } = received;
        let turn = self.turn(name).await;
        if !self.is_kept::<E>(name).await? {
            // What is refused by now need not be published.
            decide(self.base.tx()).await?;
            let tx = self.base.tx();
            tx.put(&LOOSE_BLOB, &(name.0,), &self.base.clock.now_ms());
            self.base.commit(&tx).await?;
            if let Err(error) = draft.publish(name).await {
                drop(turn);
                // Whatever of it was kept.
                self.discard(&[name]).await;
                return Err(error.into());
            }
        }
        let (decide, key) = (&decide, &(name.0,));
        let kept = self
            .base
            .transact(|tx| async move {
                // The bytes stay while the turn lasts, even if their last file goes in this moment.
                let mut blob = tx.read(&BLOB, key).await?.unwrap_or(Blob { size, uses: 0 });
                blob.uses += 1;
                tx.put(&BLOB, key, &blob);
                tx.delete(&LOOSE_BLOB, key);
                decide(tx).await.map_err(Unkept::Refused)
            })
            .await;
        drop(turn);
        match kept {
            Ok(value) => Ok(value),
            Err(Unkept::Refused(error)) => {
                self.discard(&[name]).await;
                Err(error)
            }
            Err(Unkept::Fault(fault)) => {
                // Of a batch that may have been committed the bytes may be needed: the next start knows.
                if fault.kind() != FaultKind::Broken {
                    self.discard(&[name]).await;
                }
                Err(fault.into())
            }
        }
    }

    /// Whether a blob has its row and its bytes. Bytes that were lost come back with the next upload of them.
    async fn is_kept<E: From<Fault> + From<BlobError>>(&self, name: BlobName) -> Result<bool, E> {
        let row = self.base.view().get(&BLOB, &(name.0,)).await?;
        Ok(row.is_some() && self.blobs.exists(name).await?)
    }

    /// Counts a use of a blob less. True if that was the last: then it has no row any more, and after the commit its
    /// bytes are to be [discarded](Self::discard).
    pub(super) async fn release(&self, tx: &Tx, name: BlobName) -> Result<bool, Fault> {
        let key = (name.0,);
        let Some(mut blob) = tx.read(&BLOB, &key).await? else {
            return Err(Fault::Bug(format!("the blob {name} is used and has no row")));
        };
        blob.uses = blob.uses.saturating_sub(1);
        if blob.uses > 0 {
            tx.put(&BLOB, &key, &blob);
            return Ok(false);
        }
        tx.delete(&BLOB, &key);
        tx.put(&LOOSE_BLOB, &key, &self.base.clock.now_ms());
        Ok(true)
    }

    /// Deletes the bytes of loose blobs. What fails is left for the next start.
    pub(super) async fn discard(&self, names: &[BlobName]) {
        for name in names {
            if let Err(error) = self.discard_one(*name).await {
                tracing::warn!(%error, "bytes of media that nobody needs stay until the next start");
            }
        }
    }

    async fn discard_one(&self, name: BlobName) -> Result<(), DiscardError> {
        let _turn = self.turn(name).await;
        let tx = self.base.tx();
        if tx.read(&BLOB, &(name.0,)).await?.is_none() {
            self.blobs.delete(name).await?;
        }
        tx.delete(&LOOSE_BLOB, &(name.0,));
        self.base.commit(&tx).await?;
        Ok(())
    }

    /// Deletes what a crash left between the bytes and their row. To be called once, at the start. What a slow store has
    /// not deleted in time is left for the next one.
    pub async fn sweep(&self) -> Result<(), Fault> {
        let swept = tokio::time::timeout(SWEEP_LIMIT, self.sweep_all()).await;
        swept.unwrap_or_else(|_| {
            tracing::warn!("the store of media is slow: bytes that nobody needs stay until the next start");
            Ok(())
        })
    }

    async fn sweep_all(&self) -> Result<(), Fault> {
        let mut loose = Pages::new(&LOOSE_BLOB, LOOSE_BLOB.under(&()), PAGE);
        while let Some(rows) = loose.next(&self.base.view()).await? {
            let names: Vec<BlobName> = rows.into_iter().map(|((hash,), _)| BlobName(hash)).collect();
            // What could not be deleted is passed over.
            self.discard(&names).await;
        }
        Ok(())
    }
}

/// Why bytes have no row.
enum Unkept<E> {
    Refused(E),
    Fault(Fault),
}

impl<E> From<Fault> for Unkept<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

#[derive(Debug, thiserror::Error)]
enum DiscardError {
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Fault(#[from] Fault),
}
