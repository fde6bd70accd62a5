//! Blobs of media in a store that speaks the S3 protocol: an object for each, `<prefix>/ab/abcd...`.
//!
//! What a blob is called is known when its last byte has come, so it gathers in a local file first and goes to the store
//! from there, in parts if it is large. When the store has taken all of it, it is kept; before that the store shows
//! nothing.

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    ops::Range,
    path::{Path as Folder, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use depesche_config::ObjectStore as Settings;
use depesche_server::media::blobs::{BlobError, BlobName, Blobs, ByteStream, Draft};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use object_store::{
    ClientOptions, Error as StoreError, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload,
    aws::AmazonS3Builder, path::Path,
};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

/// Bytes sent at a time; no more than so many of an upload are in memory. The protocol wants at least 5 MB.
const PART: usize = 8 << 20;
/// How long one request may take, with all of its bytes.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(5);
/// How long the store may take to answer at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Who asks.
#[derive(Clone)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The settings make no sense to it.
    #[error(transparent)]
    Settings(#[from] StoreError),
    /// The folder for uploads under way cannot be used.
    #[error(transparent)]
    Folder(#[from] io::Error),
}

/// A bucket, or the part of it that begins with a prefix.
#[derive(Clone)]
pub struct S3Blobs {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    folder: PathBuf,
}

impl S3Blobs {
    /// The store of the settings; uploads under way gather in `folder`. Asks the store for nothing yet.
    pub fn open(settings: &Settings, key: AccessKey, folder: &Folder) -> Result<Self, OpenError> {
        let mut endpoint = settings.endpoint.clone();
        if !settings.path_style
            && let Some(host) = endpoint.host_str().map(|host| format!("{}.{host}", settings.bucket))
        {
            // An endpoint without a host is refused below.
            let _ = endpoint.set_host(Some(&host));
        }
        let client = ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_connect_timeout(CONNECT_TIMEOUT);
        let store = AmazonS3Builder::new()
            .with_client_options(client)
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_allow_http(endpoint.scheme() == "http")
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_virtual_hosted_style_request(!settings.path_style)
            .with_access_key_id(key.id)
            .with_secret_access_key(key.secret)
            .build()?;
        Ok(Self::over(Arc::new(store), &settings.prefix, folder)?)
    }

    fn over(store: Arc<dyn ObjectStore>, prefix: &str, folder: &Folder) -> io::Result<Self> {
        let folder = folder.join("tmp");
        // What a crash left there was never answered.
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Self { store, prefix: prefix.trim_matches('/').to_owned(), folder })
    }

    fn path(&self, name: BlobName) -> Path {
        Path::from(format!("{}/{:02x}/{name}", self.prefix, name.0[0]))
    }
}

fn failed(error: StoreError) -> BlobError {
    match error {
        StoreError::NotFound { .. } => BlobError::Missing,
        error => BlobError::Failed(error.to_string()),
    }
}

impl Blobs for S3Blobs {
    fn draft(&self) -> BoxFuture<'_, Result<Box<dyn Draft>, BlobError>> {
        let blobs = self.clone();
        async move {
            let folder = blobs.folder.clone();
            let file = local(move || NamedTempFile::new_in(folder)).await?;
            Ok(Box::new(S3Draft { blobs, file: Some(file) }) as Box<dyn Draft>)
        }
        .boxed()
    }

    fn open(&self, name: BlobName, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, BlobError>> {
        async move {
            if range.is_empty() {
                // The protocol has no range of nothing.
                return Ok(stream::empty().boxed());
            }
            let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
            let found = self.store.get_opts(&self.path(name), options).await.map_err(failed)?;
            Ok(found.into_stream().map_err(failed).boxed())
        }
        .boxed()
    }

    fn exists(&self, name: BlobName) -> BoxFuture<'_, Result<bool, BlobError>> {
        async move {
            match self.store.head(&self.path(name)).await.map_err(failed) {
                Ok(_) => Ok(true),
                Err(BlobError::Missing) => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn delete(&self, name: BlobName) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            match self.store.delete(&self.path(name)).await.map_err(failed) {
                Ok(()) | Err(BlobError::Missing) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}

/// A file that gathers what is to be sent.
struct S3Draft {
    blobs: S3Blobs,
    /// There, but while a piece is written; gone for good when that failed.
    file: Option<NamedTempFile>,
}

impl S3Draft {
    fn take(&mut self) -> Result<NamedTempFile, BlobError> {
        self.file.take().ok_or_else(|| BlobError::Failed("the file has failed before".to_owned()))
    }
}

impl Draft for S3Draft {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            let mut file = self.take()?;
            let file = local(move || {
                file.write_all(&bytes)?;
                Ok(file)
            });
            self.file = Some(file.await?);
            Ok(())
        }
        .boxed()
    }

    fn publish(mut self: Box<Self>, name: BlobName) -> BoxFuture<'static, Result<(), BlobError>> {
        async move {
            let mut file = self.take()?;
            let (file, first) = local(move || {
                file.rewind()?;
                let first = part(file.as_file_mut())?;
                Ok((file, first))
            })
            .await?;
            let path = self.blobs.path(name);
            if first.len() < PART {
                self.blobs.store.put(&path, PutPayload::from(first)).await.map_err(failed)?;
                return Ok(());
            }
            send_parts(&*self.blobs.store, &path, file, first).await
        }
        .boxed()
    }
}

/// Sends a file in parts. Either the store has all of them in the end, or nothing.
async fn send_parts(store: &dyn ObjectStore, path: &Path, file: NamedTempFile, first: Bytes) -> Result<(), BlobError> {
    let mut upload = store.put_multipart(path).await.map_err(failed)?;
    let sent = async {
        let (mut file, mut next) = (file, first);
        while !next.is_empty() {
            upload.put_part(PutPayload::from(next)).await.map_err(failed)?;
            (file, next) = local(move || {
                let next = part(file.as_file_mut())?;
                Ok((file, next))
            })
            .await?;
        }
        upload.complete().await.map_err(failed)
    };
    let outcome = sent.await;
    if outcome.is_err() {
        // Parts that nobody completes cost the store space, until it cleans up by itself.
        let _ = upload.abort().await;
    }
    outcome.map(drop)
}

/// The next bytes of a file; empty at its end.
fn part(file: &mut File) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.take(PART as u64).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Does what waits for the local disk on a thread for that.
async fn local<T, F>(work: F) -> Result<T, BlobError>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    let done = spawn_blocking(work).await.map_err(|error| BlobError::failed("an upload under way", error))?;
    done.map_err(|error| BlobError::failed("an upload under way", error))
}
