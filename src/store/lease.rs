//! Leases: who alone may do something, over all nodes that share a database.
//!
//! A lease is two rows of the engine's own table. One names the epoch and the holder and changes only when the lease
//! changes hands; a holder's batches require it ([`Lease::requirement`]), so a holder that lost the lease without
//! noticing cannot write any more, whatever its clock says. The other says when the lease ends, so that renewing does
//! not disturb the batches under way. Epochs only grow: the first row is never deleted.
//!
//! Clocks decide only when another may *try*. A clock that is wrong costs a change of hands, never a double write.

use std::time::Duration;

use crate::{Batch, Bytes, CommitError, Engine, ReadError, Requirement, reserved};

/// The longest name of a lease and of a holder in bytes.
pub const MAX_LEASE_NAME: usize = 255;

/// A lease as its holder has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lease {
    /// What it is for.
    pub name: String,
    /// Higher for each holder than for all before.
    pub epoch: u64,
    /// Who holds it. Two processes must not use the same name: the second takes the lease from the first at once.
    pub holder: String,
    /// When others may take it, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// Why a lease is not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another holds it.
    #[error("{holder} holds the lease for another {left_ms} ms")]
    Held {
        /// Who.
        holder: String,
        /// For how long, unless it renews.
        left_ms: u64,
    },
    /// Another has taken it since: stop what it was for.
    #[error("the lease was taken by another")]
    Lost,
    /// The name of the lease or of the holder is empty or too long.
    #[error("not a name for a lease or its holder: {0:?}")]
    Name(String),
    /// The database could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database could not be written.
    #[error(transparent)]
    Commit(CommitError),
}

/// The rows of a lease to write: made only here, so that no other batch touches them.
#[derive(Clone, Debug, Default)]
pub struct LeaseRows(Vec<(Bytes, Option<Bytes>)>);

impl LeaseRows {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_rows(self) -> Vec<(Bytes, Option<Bytes>)> {
        self.0
    }
}

impl Lease {
    /// Takes a lease that is free, has ended, or is held under the same holder's name.
    pub async fn acquire(
        engine: &dyn Engine,
        name: &str,
        holder: &str,
        now_ms: u64,
        lasts: Duration,
    ) -> Result<Self, LeaseError> {
        for text in [name, holder] {
            if text.is_empty() || text.len() > MAX_LEASE_NAME {
                return Err(LeaseError::Name(text.to_owned()));
            }
        }
        let keys = [reserved::lease_key(name), reserved::lease_end_key(name)];
        let found = engine.snapshot().get_many(keys.to_vec()).await?;
        let (row, end) = (found.first().cloned().flatten(), found.get(1).cloned().flatten());
        let (epoch, former) = row.as_deref().and_then(decode).unwrap_or_default();
        let left_ms = end.as_deref().and_then(decode_ms).unwrap_or_default().saturating_sub(now_ms);
        if left_ms > 0 && former != holder {
            return Err(LeaseError::Held { holder: former, left_ms });
        }
        let lease = Self {
            name: name.to_owned(),
            epoch: epoch + 1,
            holder: holder.to_owned(),
            expires_ms: end_ms(now_ms, lasts),
        };
        let mut batch = Batch::default();
        for (key, value) in keys.into_iter().zip([row, end]) {
            batch.requirements.insert(key, value.map_or(Requirement::Absent, Requirement::Is));
        }
        batch.lease.0.extend([lease.row(), lease.end()]);
        match engine.commit(batch).await {
            Ok(_) => Ok(lease),
            // Two tried at once: the other has it.
            Err(CommitError::Conflict(_)) => Err(LeaseError::Lost),
            Err(error) => Err(LeaseError::Commit(error)),
        }
    }

    /// Extends the lease from now on. Batches under way are not disturbed.
    pub async fn renew(&mut self, engine: &dyn Engine, now_ms: u64, lasts: Duration) -> Result<(), LeaseError> {
        let renewed = Self { expires_ms: end_ms(now_ms, lasts), ..self.clone() };
        self.write(engine, vec![renewed.end()]).await?;
        *self = renewed;
        Ok(())
    }

    /// Gives the lease back. Batches that require it fail from then on.
    pub async fn release(self, engine: &dyn Engine) -> Result<(), LeaseError> {
        let nobody = Self { holder: String::new(), ..self.clone() };
        self.write(engine, vec![nobody.row(), (reserved::lease_end_key(&self.name), None)]).await
    }

    /// What every batch of the holder requires: that nobody has taken the lease since.
    pub fn requirement(&self) -> (Bytes, Requirement) {
        let (key, value) = self.row();
        (key, value.map_or(Requirement::Absent, Requirement::Is))
    }

    /// Whether a batch failed because the lease was taken.
    pub fn is_lost(&self, error: &CommitError) -> bool {
        matches!(error, CommitError::Conflict(key) if *key == reserved::lease_key(&self.name))
    }

    async fn write(&self, engine: &dyn Engine, rows: Vec<(Bytes, Option<Bytes>)>) -> Result<(), LeaseError> {
        let mut batch = Batch { lease: LeaseRows(rows), ..Batch::default() };
        batch.requirements.extend([self.requirement()]);
        match engine.commit(batch).await {
            Ok(_) => Ok(()),
            Err(error) if self.is_lost(&error) => Err(LeaseError::Lost),
            Err(error) => Err(LeaseError::Commit(error)),
        }
    }

    fn row(&self) -> (Bytes, Option<Bytes>) {
        let value = [self.epoch.to_be_bytes().as_slice(), self.holder.as_bytes()].concat();
        (reserved::lease_key(&self.name), Some(value.into()))
    }

    fn end(&self) -> (Bytes, Option<Bytes>) {
        (reserved::lease_end_key(&self.name), Some(Bytes::copy_from_slice(&self.expires_ms.to_be_bytes())))
    }
}

fn end_ms(now_ms: u64, lasts: Duration) -> u64 {
    now_ms.saturating_add(u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX))
}

fn decode(row: &[u8]) -> Option<(u64, String)> {
    let (epoch, holder) = row.split_first_chunk()?;
    Some((u64::from_be_bytes(*epoch), String::from_utf8_lossy(holder).into_owned()))
}

fn decode_ms(row: &[u8]) -> Option<u64> {
    row.try_into().ok().map(u64::from_be_bytes)
}
