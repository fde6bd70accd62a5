//! Finding a file by its address, and reading its bytes.

use std::{ops::Range, time::Duration};

use ruma::ServerName;
use tokio::time::Instant;

use super::{
    Media,
    blobs::{BlobError, BlobName, ByteStream},
};
use crate::{
    Fault,
    keyspace::FILE,
    records::media::{Content, FileState},
    topic,
};

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is none by this address.
    #[error("there is no such file")]
    NotFound,
    /// It was announced and has not come.
    #[error("the file has not been uploaded yet")]
    NotYetUploaded,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why the bytes of a file cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// They are lost.
    #[error("the bytes of this file are lost")]
    Lost,
    /// The store failed.
    #[error(transparent)]
    Failed(BlobError),
}

impl Media {
    /// The file by this address; of one that was announced waits for the upload, at most so long.
    pub async fn find(&self, server: &ServerName, id: &str, wait: Duration) -> Result<Content, FindError> {
        if server != self.base.name || !is_media_id(id) {
            // Files of other servers are fetched here, once there is federation.
            return Err(FindError::NotFound);
        }
        let deadline = Instant::now() + wait.min(self.base.config.media.download_wait);
        let mut watch = self.base.topics().watch();
        watch.add(topic::file(id));
        loop {
            // After the watch: what the snapshot does not show wakes it.
            let view = self.base.view();
            let file = view.get(&FILE, &(self.base.name.clone(), id.to_owned())).await?.ok_or(FindError::NotFound)?;
            match file.state {
                FileState::Stored(content) => return Ok(content),
                FileState::Pending { expires_ms } if expires_ms <= self.base.clock.now_ms() => {
                    return Err(FindError::NotFound);
                }
                FileState::Pending { .. } => {}
            }
            tokio::select! {
                biased;
                () = self.base.stopped() => return Err(FindError::NotYetUploaded),
                () = watch.wait(view.position()) => {}
                () = tokio::time::sleep_until(deadline) => return Err(FindError::NotYetUploaded),
            }
        }
    }

    /// The bytes of a file in this range.
    pub async fn read(&self, blob: BlobName, range: Range<u64>) -> Result<ByteStream, ReadError> {
        self.blobs.open(blob, range).await.map_err(|error| match error {
            BlobError::Missing => {
                tracing::error!(%blob, "the bytes of a file are not in the store of media");
                ReadError::Lost
            }
            error @ (BlobError::Failed(_) | BlobError::Full(_)) => ReadError::Failed(error),
        })
    }
}

/// Spec: only these characters make a media id, which keeps paths out of it.
fn is_media_id(id: &str) -> bool {
    (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
