//! Blobs of media in a folder: `ab/abcd...`, a file for each, in 256 folders by the first byte of its name.
//!
//! A blob is written to `tmp/` first. [`Draft::publish`] syncs the file, renames it, and syncs the folder that has it
//! now: when it returns, a power cut takes nothing away. What a crash leaves in `tmp/` goes at the next start; nothing
//! else is ever looked through. No file is taken when the disk is nearly full ([`Claim`]).

mod claim;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    io::{Read, Seek, SeekFrom, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use depesche_server::media::blobs::{BlobError, BlobName, Blobs, ByteStream, Draft};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use tempfile::NamedTempFile;
use tokio::task::spawn_blocking;

pub use self::claim::Claim;

/// Bytes read at a time.
const PIECE: usize = 128 * 1024;
/// Bytes gathered before they are written.
const WRITE: usize = 256 * 1024;

/// A folder of blobs. One process at a time may have it.
#[derive(Clone, Debug)]
pub struct FileBlobs {
    claim: Arc<Claim>,
}

/// The names of the folders of blobs in a folder of media. What else lies there is not ours.
pub fn folders() -> impl Iterator<Item = String> {
    (0..=u8::MAX).map(|byte| format!("{byte:02x}"))
}

impl FileBlobs {
    /// Takes the folder, makes it if it is not there, and clears what a crash left in it. Files are taken as long as
    /// `reserve` bytes of its disk are free.
    pub fn open(folder: &Path, reserve: u64) -> io::Result<Self> {
        let claim = Claim::take(folder, reserve)?;
        for name in folders() {
            match fs::create_dir(folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        sync_folder(folder)?;
        // The folder itself may be new.
        folder.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_folder)?;
        Ok(Self { claim: Arc::new(claim) })
    }

    /// Where a blob lies.
    pub fn path(&self, name: BlobName) -> PathBuf {
        self.claim.folder().join(format!("{:02x}", name.0[0])).join(name.to_string())
    }
}

impl Blobs for FileBlobs {
    fn draft(&self) -> BoxFuture<'_, Result<Box<dyn Draft>, BlobError>> {
        let blobs = self.clone();
        blocking("cannot begin a file", move || {
            let file = blobs.claim.upload()?;
            Ok(Box::new(FileDraft { blobs, file: Some(file), gathered: BytesMut::new() }) as Box<dyn Draft>)
        })
    }

    fn open(&self, name: BlobName, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, BlobError>> {
        let path = self.path(name);
        blocking("cannot open a file", move || {
            let mut file = fs::File::open(path)?;
            file.seek(SeekFrom::Start(range.start))?;
            Ok(pieces(file, range.end.saturating_sub(range.start)))
        })
    }

    fn exists(&self, name: BlobName) -> BoxFuture<'_, Result<bool, BlobError>> {
        let path = self.path(name);
        blocking("cannot look at a file", move || path.try_exists())
    }

    fn delete(&self, name: BlobName) -> BoxFuture<'_, Result<(), BlobError>> {
        let path = self.path(name);
        blocking("cannot delete a file", move || match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }
}

/// A file in the making.
struct FileDraft {
    blobs: FileBlobs,
    /// There, but while a piece is written; gone for good when that failed.
    file: Option<NamedTempFile>,
    gathered: BytesMut,
}

impl FileDraft {
    async fn flush(&mut self) -> Result<(), BlobError> {
        let gathered = self.gathered.split().freeze();
        let Some(mut file) = self.file.take() else {
            return Err(BlobError::Failed("the file has failed before".into()));
        };
        let claim = Arc::clone(&self.blobs.claim);
        self.file = Some(
            blocking("cannot write a file", move || {
                claim.check_room()?;
                file.write_all(&gathered)?;
                Ok(file)
            })
            .await?,
        );
        Ok(())
    }
}

impl Draft for FileDraft {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        self.gathered.extend_from_slice(&bytes);
        async move { if self.gathered.len() >= WRITE { self.flush().await } else { Ok(()) } }.boxed()
    }

    fn publish(mut self: Box<Self>, name: BlobName) -> BoxFuture<'static, Result<(), BlobError>> {
        async move {
            self.flush().await?;
            let path = self.blobs.path(name);
            let Some(file) = self.file.take() else { return Err(BlobError::Failed("the file is gone".into())) };
            blocking("cannot keep a file", move || {
                file.as_file().sync_all()?;
                file.persist(&path)?;
                path.parent().map_or(Ok(()), sync_folder)
            })
            .await
        }
        .boxed()
    }
}

/// The next bytes of a file, piece by piece. A file that ends early is a broken one.
fn pieces(file: fs::File, length: u64) -> ByteStream {
    let next = |(mut file, left): (fs::File, u64)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = blocking("cannot read a file", move || {
            let mut piece = vec![0; usize::try_from(left).map_or(PIECE, |left| left.min(PIECE))];
            file.read_exact(&mut piece)?;
            Ok((file, Bytes::from(piece)))
        });
        let (file, piece) = read.await?;
        let left = left - piece.len() as u64;
        Ok(Some((piece, (file, left))))
    };
    stream::try_unfold((file, length), next).boxed()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// Does what waits for the disk on a thread for that.
fn blocking<T, F>(what: &'static str, work: F) -> BoxFuture<'static, Result<T, BlobError>>
where
    T: Send + 'static,
    F: FnOnce() -> io::Result<T> + Send + 'static,
{
    async move {
        match spawn_blocking(work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(BlobError::Missing),
            Ok(Err(error)) => Err(BlobError::of_disk(what, &error)),
            Err(error) => Err(BlobError::failed(what, error)),
        }
    }
    .boxed()
}
