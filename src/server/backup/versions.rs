//! `/room_keys/version`: making, reading, changing and deleting versions of a backup.

use depesche_rules::bounds::{MAX_BACKUP_VERSIONS, MAX_KEY_OBJECT_BYTES};
use ruma::{UserId, api::client::backup::BackupAlgorithm, serde::Raw};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{BackupError, BackupInfo, Backups, count, number};
use crate::{
    Fault,
    keys::stored,
    keyspace::{BACKUP, BACKUP_HEAD, BACKUP_KEY},
    records::keys::Backup,
};

/// What a client says of a version.
#[derive(Deserialize)]
struct Described {
    algorithm: String,
    auth_data: Box<RawValue>,
    version: Option<String>,
}

impl Backups {
    /// Makes a version, the one that takes keys from now on, and answers its name.
    pub async fn create(&self, user: &UserId, algorithm: &Raw<BackupAlgorithm>) -> Result<String, BackupError> {
        let described = &Described::parse(algorithm)?;
        self.base
            .transact(|tx| async move {
                let mut head = tx.read(&BACKUP_HEAD, &(user.to_owned(),)).await?.unwrap_or_default();
                let versions = BACKUP.under(&(user.to_owned(),));
                if tx.view().scan(&BACKUP, versions, MAX_BACKUP_VERSIONS).await?.len() >= MAX_BACKUP_VERSIONS {
                    return Err(BackupError::Full);
                }
                head.last += 1;
                head.current = Some(head.last);
                let (algorithm, auth_data) = (described.algorithm.clone(), described.auth_data.get().to_owned());
                let backup = Backup { algorithm, auth_data, etag: 0, count: 0, bytes: 0 };
                tx.put(&BACKUP, &(user.to_owned(), head.last), &backup);
                tx.put(&BACKUP_HEAD, &(user.to_owned(),), &head);
                Ok(head.last.to_string())
            })
            .await
    }

    /// The version that takes keys.
    pub async fn latest(&self, user: &UserId) -> Result<BackupInfo, BackupError> {
        let head = self.base.view().get(&BACKUP_HEAD, &(user.to_owned(),)).await?;
        let current = head.and_then(|head| head.current).ok_or(BackupError::NoBackup)?;
        self.version(user, current).await
    }

    /// A version.
    pub async fn info(&self, user: &UserId, version: &str) -> Result<BackupInfo, BackupError> {
        self.version(user, number(version)?).await
    }

    async fn version(&self, user: &UserId, version: u64) -> Result<BackupInfo, BackupError> {
        let backup = self.base.view().get(&BACKUP, &(user.to_owned(), version)).await?;
        info(version, &backup.ok_or(BackupError::NoBackup)?).map_err(Into::into)
    }

    /// Changes the `auth_data` of a version.
    pub async fn update(
        &self,
        user: &UserId,
        version: &str,
        algorithm: &Raw<BackupAlgorithm>,
    ) -> Result<(), BackupError> {
        let described = &Described::parse(algorithm)?;
        if described.version.as_ref().is_some_and(|named| named != version) {
            return Err(BackupError::Mismatch("version"));
        }
        let row = &(user.to_owned(), number(version)?);
        self.base
            .transact(|tx| async move {
                let mut backup = tx.read(&BACKUP, row).await?.ok_or(BackupError::NoBackup)?;
                if backup.algorithm != described.algorithm {
                    return Err(BackupError::Mismatch("algorithm"));
                }
                described.auth_data.get().clone_into(&mut backup.auth_data);
                tx.put(&BACKUP, row, &backup);
                Ok(())
            })
            .await
    }

    /// Deletes a version with its keys. One that was deleted before is no error.
    pub async fn delete(&self, user: &UserId, version: &str) -> Result<(), BackupError> {
        let row = &(user.to_owned(), number(version)?);
        self.base
            .transact(|tx| async move {
                let head = tx.read(&BACKUP_HEAD, &(user.to_owned(),)).await?;
                let mut head = head.filter(|head| row.1 <= head.last && row.1 > 0).ok_or(BackupError::NoBackup)?;
                let Some(backup) = tx.read(&BACKUP, row).await? else { return Ok(()) };
                tx.delete(&BACKUP, row);
                tx.delete_range(BACKUP_KEY.under(row));
                if head.current == Some(row.1) {
                    let older = tx.view().scan_back(&BACKUP, BACKUP.before(&(user.to_owned(),), row), 1).await?;
                    head.current = older.first().map(|((_, version), _)| *version);
                    if let Some(version) = head.current {
                        // Nobody deletes it before the commit.
                        tx.read(&BACKUP, &(user.to_owned(), version)).await?;
                    }
                }
                head.bytes = head.bytes.saturating_sub(backup.bytes);
                tx.put(&BACKUP_HEAD, &(user.to_owned(),), &head);
                Ok(())
            })
            .await
    }
}

impl Described {
    fn parse(algorithm: &Raw<BackupAlgorithm>) -> Result<Self, BackupError> {
        let described: Self = serde_json::from_str(algorithm.json().get())
            .map_err(|error| BackupError::Malformed(format!("not the description of a backup: {error}")))?;
        if !described.auth_data.get().starts_with('{') {
            return Err(BackupError::Malformed("auth_data must be an object".to_owned()));
        }
        if described.algorithm.len() + described.auth_data.get().len() > MAX_KEY_OBJECT_BYTES {
            return Err(BackupError::TooLarge("auth_data"));
        }
        Ok(described)
    }
}

fn info(version: u64, backup: &Backup) -> Result<BackupInfo, Fault> {
    let algorithm = serde_json::Value::from(backup.algorithm.as_str());
    let text = format!(r#"{{"algorithm":{algorithm},"auth_data":{}}}"#, backup.auth_data);
    Ok(BackupInfo {
        version: version.to_string(),
        algorithm: stored(text)?,
        count: count(backup),
        etag: backup.etag.to_string(),
    })
}
