//! Pictures of previews: files of nobody's, that end by themselves.
//!
//! Whoever keeps one looks for those that are over, so no more are there than are made in their time. One picture in
//! two previews is two files of the same bytes, which are kept once.

use bytes::Bytes;
use ruma::OwnedMxcUri;
use sha2::{Digest, Sha256};

use super::{Media, RemoveError, UploadError, blobs::BlobName, upload::Received};
use crate::{
    Fault,
    keyspace::{FILE, PREVIEW_PICTURE},
    records::media::{Content, File, FileState, ImageFormat},
};

/// How many that are over are removed with each new one.
const OVER: usize = 4;

impl Media {
    /// Keeps the picture of a preview for as long as the operator says.
    pub async fn keep_for_preview(&self, bytes: Bytes, format: ImageFormat) -> Result<OwnedMxcUri, UploadError> {
        self.end_pictures().await?;
        let (blob, size) = (BlobName(Sha256::digest(&bytes).into()), bytes.len() as u64);
        let mut draft = self.blobs.draft().await?;
        draft.write(bytes).await?;
        let content_type = Some(format.content_type().to_owned());
        let content = &Content { blob: blob.0, size, content_type, filename: None };
        let id = self.base.random.secret();
        let lasts = self.base.config.media.previews.picture_keep_for;
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let id_of = &id;
        self.keep(Received { draft, name: blob, size }, |tx| async move {
            let created_ms = self.base.clock.now_ms();
            let file = File { owner: None, created_ms, state: FileState::Stored(content.clone()) };
            tx.put(&FILE, &(self.base.name.clone(), id_of.clone()), &file);
            tx.put(&PREVIEW_PICTURE, &(created_ms.saturating_add(lasts_ms), id_of.clone()), &());
            Ok::<_, UploadError>(())
        })
        .await?;
        Ok(self.address(&id))
    }

    /// Removes the oldest pictures that are over.
    async fn end_pictures(&self) -> Result<(), Fault> {
        let now_ms = self.base.clock.now_ms();
        let range = PREVIEW_PICTURE.under(&());
        for (key, ()) in self.base.view().scan(&PREVIEW_PICTURE, range, OVER).await? {
            if key.0 > now_ms {
                break;
            }
            match self.remove(&key.1).await {
                // An operator may have been faster.
                Ok(()) | Err(RemoveError::NotFound) => {}
                Err(RemoveError::Fault(fault)) => return Err(fault),
            }
            let tx = self.base.tx();
            tx.delete(&PREVIEW_PICTURE, &key);
            self.base.commit(&tx).await?;
        }
        Ok(())
    }
}
