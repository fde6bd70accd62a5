//! A blob on its way into the store.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use depesche_blobs_files::Claim;
use depesche_server::media::blobs::{BlobError, BlobName, Draft};
use futures::{FutureExt, future::BoxFuture};
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload, path::Path};
use tempfile::NamedTempFile;
use tokio::{runtime::Handle, task::spawn_blocking};

use crate::{bucket::Bucket, refusal::refused};

/// Bytes gathered before they are written. What is not larger goes without a file.
pub(crate) const GATHERED: usize = 256 << 10;
/// Bytes sent at a time; no more of an upload is in memory. The protocol wants parts of 5 MB at least, and 10,000 at most,
/// which leaves room for what the configuration allows.
pub(crate) const PART: usize = 8 << 20;

/// Gathers what is to be sent.
pub(crate) struct S3Draft {
    bucket: Bucket,
    claim: Arc<Claim>,
    gathered: BytesMut,
    file: Spool,
}

/// Where bytes go that are too many for memory.
enum Spool {
    NotNeeded,
    /// With the bytes in it.
    Open(NamedTempFile, u64),
    /// A write failed, or was given up: nobody knows what is in it.
    Broken,
}

impl S3Draft {
    /// A draft of nothing.
    pub(crate) fn new(bucket: Bucket, claim: Arc<Claim>) -> Self {
        Self { bucket, claim, gathered: BytesMut::new(), file: Spool::NotNeeded }
    }

    /// Moves what is gathered to the file.
    async fn flush(&mut self) -> Result<(), BlobError> {
        let (claim, gathered) = (Arc::clone(&self.claim), self.gathered.split().freeze());
        let file = std::mem::replace(&mut self.file, Spool::Broken);
        let written = local(move || {
            let (mut file, size) = match file {
                Spool::NotNeeded => (claim.upload()?, 0),
                Spool::Open(file, size) => {
                    claim.check_room()?;
                    (file, size)
                }
                Spool::Broken => return Err(io::Error::other("the file has failed before")),
            };
            file.write_all(&gathered)?;
            Ok((file, size + gathered.len() as u64))
        });
        let (file, size) = written.await?;
        self.file = Spool::Open(file, size);
        Ok(())
    }
}

impl Draft for S3Draft {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        self.gathered.extend_from_slice(&bytes);
        async move { if self.gathered.len() > GATHERED { self.flush().await } else { Ok(()) } }.boxed()
    }

    fn publish(mut self: Box<Self>, name: BlobName) -> BoxFuture<'static, Result<(), BlobError>> {
        async move {
            let path = self.bucket.path(name);
            if matches!(self.file, Spool::NotNeeded) {
                return put(&self.bucket, &path, self.gathered.freeze()).await;
            }
            self.flush().await?;
            let Spool::Open(mut file, size) = self.file else {
                return Err(BlobError::Failed("the file has failed before".to_owned()));
            };
            let rewound = local(move || {
                file.rewind()?;
                Ok(file)
            });
            send(&self.bucket, &path, rewound.await?, size).await
        }
        .boxed()
    }
}

/// Sends a file: at once if it is one part, else part by part.
async fn send(bucket: &Bucket, path: &Path, file: NamedTempFile, size: u64) -> Result<(), BlobError> {
    let (mut file, mut next) = read(file, size).await?;
    if next.len() as u64 == size {
        return put(bucket, path, next).await;
    }
    let upload =
        bucket.store.put_multipart(path).await.map_err(|error| refused("cannot begin to send a file", &error))?;
    let mut unfinished = Unfinished(Some(upload));
    let mut left = size;
    while let Some(upload) = unfinished.0.as_mut() {
        left -= next.len() as u64;
        upload
            .put_part(PutPayload::from(next))
            .await
            .map_err(|error| refused("cannot send a part of a file", &error))?;
        if left == 0 {
            upload.complete().await.map_err(|error| refused("cannot send the end of a file", &error))?;
            unfinished.0 = None;
            break;
        }
        (file, next) = read(file, left).await?;
    }
    Ok(())
}

async fn put(bucket: &Bucket, path: &Path, bytes: Bytes) -> Result<(), BlobError> {
    let sent = bucket.store.put(path, PutPayload::from(bytes)).await;
    sent.map(drop).map_err(|error| refused("cannot send a file", &error))
}

/// An upload in parts that is to be given up unless it comes to its end: also when nobody waits for it any more. Parts
/// that nobody completes cost room in the store until it cleans up by itself.
struct Unfinished(Option<Box<dyn MultipartUpload>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let (Some(mut upload), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = upload.abort().await.map_err(|error| refused("cannot give up a file", &error)) {
                    tracing::warn!(%error, "the object store keeps parts of a file that was not sent to its end");
                }
            });
        }
    }
}

/// The next part of a file that has so many bytes left, at least one.
async fn read(mut file: NamedTempFile, left: u64) -> Result<(NamedTempFile, Bytes), BlobError> {
    let size = usize::try_from(left).map_or(PART, |left| left.min(PART));
    local(move || {
        let mut bytes = vec![0; size];
        File::read_exact(file.as_file_mut(), &mut bytes)?;
        Ok((file, bytes.into()))
    })
    .await
}

/// Does what waits for the local disk on a thread for that.
async fn local<T, F>(work: F) -> Result<T, BlobError>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let done = spawn_blocking(work).await.map_err(|error| BlobError::failed("an upload under way", error))?;
    done.map_err(|error| BlobError::of_disk("an upload under way", &error))
}
