//! Server-side key backups: versions, and the encrypted room keys in them.
//!
//! `BACKUP_HEAD` says which version takes keys, and how many bytes all have; `BACKUP` has a row a version, with the count,
//! bytes and etag of its keys. Every change of keys reads and rewrites both. So rows of keys may be read from the snapshot: a batch whose snapshot is old
//! conflicts on the version's row.
//!
//! A large upload is several batches. Each is complete in itself (keys, count, etag), and the same upload again changes
//! nothing of what is there: an upload that was cut off is finished by its repetition.
//!
//! Spec: [server-side key backups](https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups).

mod keys;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;

pub use self::keys::{KeyPages, StoredKey};

use ruma::{OwnedRoomId, RoomId, UInt, UserId, api::client::backup::BackupAlgorithm, serde::Raw};

use crate::{
    Base, Fault,
    keyspace::{BACKUP, BACKUP_HEAD, BACKUP_KEY},
    records::keys::Backup,
    turns::Turns,
    tx::Tx,
};

/// The key backups of this server's users.
pub struct Backups {
    base: Arc<Base>,
    turns: Turns,
}

/// What a request about backups runs into.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no backup, or not this version.
    #[error("no such backup version")]
    NoBackup,
    /// The version has no key for this session.
    #[error("no such key")]
    NoKey,
    /// Only the newest version takes keys.
    #[error("the current backup version is {current}")]
    WrongVersion {
        /// The newest version.
        current: String,
    },
    /// What was sent is not what the specification says.
    #[error("{0}")]
    Malformed(String),
    /// The algorithm of a version cannot change, nor its number.
    #[error("the {0} does not match")]
    Mismatch(&'static str),
    /// An object, or the backup as a whole, is too large.
    #[error("too large: {0}")]
    TooLarge(&'static str),
    /// The user has as many versions, or as many bytes of keys, as allowed.
    #[error("there is too much in the key backups: delete older versions first")]
    Full,
    /// Not the caller's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A version of a backup.
#[derive(Clone, Debug)]
pub struct BackupInfo {
    /// Its name.
    pub version: String,
    /// `algorithm` and `auth_data`, as the client gave them.
    pub algorithm: Raw<BackupAlgorithm>,
    /// How many keys it has.
    pub count: UInt,
    /// Differs after each change of its keys.
    pub etag: String,
}

/// What a change of keys left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeysChanged {
    /// Differs after each change of the keys.
    pub etag: String,
    /// How many keys there are.
    pub count: UInt,
}

/// Which keys of a version.
#[derive(Clone, Copy, Debug)]
pub enum Selection<'a> {
    /// All.
    All,
    /// Those of a room.
    Room(&'a RoomId),
    /// That of a session.
    Session(&'a RoomId, &'a str),
}

impl Backups {
    /// Over this database.
    pub fn new(base: Arc<Base>) -> Self {
        Self { base, turns: Turns::default() }
    }
}

/// Removes a user's backups, in the batch that ends the account.
pub fn forget_user(tx: &Tx, user: &UserId) {
    let user = &(user.to_owned(),);
    tx.delete_range(BACKUP.under(user));
    tx.delete_range(BACKUP_KEY.under(user));
    tx.delete(&BACKUP_HEAD, user);
}

impl From<&Backup> for KeysChanged {
    fn from(backup: &Backup) -> Self {
        Self { etag: backup.etag.to_string(), count: count(backup) }
    }
}

fn count(backup: &Backup) -> UInt {
    UInt::new_saturating(backup.count)
}

/// The number a version's name stands for: what [`versions`] makes of it and nothing else.
fn number(version: &str) -> Result<u64, BackupError> {
    let number = version.parse().map_err(|_| BackupError::NoBackup)?;
    if u64::to_string(&number) == version { Ok(number) } else { Err(BackupError::NoBackup) }
}

/// A room and a session.
type SessionId = (OwnedRoomId, String);
