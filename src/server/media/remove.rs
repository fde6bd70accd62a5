//! What an operator does with files: list those of a user, and remove them.

use ruma::UserId;

use super::{Media, blobs::BlobName, thumbnails};
use crate::{
    Fault,
    keyspace::{FILE, FILE_OF, PENDING, USAGE},
    records::media::{Content, File, FileState},
    tx::Tx,
};

/// A file of a user.
#[derive(Clone, Debug)]
pub struct FileInfo {
    /// The part of its address behind the server.
    pub id: String,
    /// When its address was made.
    pub created_ms: u64,
    /// What it is.
    pub content: Content,
}

/// Why a file was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// There is none by this address.
    #[error("there is no such file")]
    NotFound,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Media {
    /// The files of a user, oldest first, behind one that was listed before, by its time and id.
    pub async fn list(&self, user: &UserId, after: Option<(u64, &str)>, limit: usize) -> Result<Vec<FileInfo>, Fault> {
        let user = user.to_owned();
        let range = match after {
            Some((created_ms, id)) => FILE_OF.behind(&(user.clone(),), &(user.clone(), created_ms, id.to_owned())),
            None => FILE_OF.under(&(user.clone(),)),
        };
        let view = self.base.view();
        let rows = view.scan(&FILE_OF, range, limit).await?;
        let keys: Vec<_> = rows.into_iter().map(|((_, _, id), ())| (self.base.name.clone(), id)).collect();
        let files = view.get_many(&FILE, &keys).await?;
        let infos = keys.into_iter().zip(files).filter_map(|((_, id), file)| match file {
            Some(File { created_ms, state: FileState::Stored(content), .. }) => {
                Some(FileInfo { id, created_ms, content })
            }
            _ => None,
        });
        Ok(infos.collect())
    }

    /// Removes a file of this server. Its bytes go with the last file that consists of them.
    pub async fn remove(&self, id: &str) -> Result<(), RemoveError> {
        let loose = self.base.transact(|tx| async move { self.take_away(&tx, id).await }).await?;
        self.discard(&loose).await;
        Ok(())
    }

    async fn take_away(&self, tx: &Tx, id: &str) -> Result<Vec<BlobName>, RemoveError> {
        let key = (self.base.name.clone(), id.to_owned());
        let File { owner, created_ms, state } = tx.read(&FILE, &key).await?.ok_or(RemoveError::NotFound)?;
        tx.delete(&FILE, &key);
        match state {
            FileState::Pending { expires_ms } => {
                if let Some(owner) = owner {
                    tx.delete(&PENDING, &(owner, expires_ms, id.to_owned()));
                }
                Ok(Vec::new())
            }
            FileState::Stored(content) => {
                if let Some(owner) = owner {
                    let mut usage = tx.read(&USAGE, &(owner.clone(),)).await?.unwrap_or_default();
                    usage.files = usage.files.saturating_sub(1);
                    usage.bytes = usage.bytes.saturating_sub(content.size);
                    tx.put(&USAGE, &(owner.clone(),), &usage);
                    tx.delete(&FILE_OF, &(owner, created_ms, id.to_owned()));
                }
                Ok(self.let_go(tx, BlobName(content.blob)).await?)
            }
        }
    }

    /// Counts a use of a blob less; with the last one its thumbnails go too. The blobs that are loose then.
    async fn let_go(&self, tx: &Tx, name: BlobName) -> Result<Vec<BlobName>, Fault> {
        if !self.release(tx, name).await? {
            return Ok(Vec::new());
        }
        let mut loose = vec![name];
        for thumbnail in thumbnails::forget(tx, name).await? {
            if self.release(tx, thumbnail).await? {
                loose.push(thumbnail);
            }
        }
        Ok(loose)
    }
}
