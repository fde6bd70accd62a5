//! Where the bytes of files lie: what the server asks of a folder or an object store.
//!
//! Bytes are kept under their SHA-256, so that a name always stands for the same bytes, and writing them twice does no
//! harm. Which names are in use is the database's to know, not the store's.

use std::{fmt, io, ops::Range};

use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

use crate::records::media::BlobHash;

/// A store of blobs. Whoever calls it makes sure that a blob is not deleted while it is published.
pub trait Blobs: Send + Sync + 'static {
    /// Begins to write bytes whose name is not known yet.
    fn draft(&self) -> BoxFuture<'_, Result<Box<dyn Draft>, BlobError>>;

    /// The bytes of a blob in this range, in pieces. The range lies within the blob.
    fn open(&self, name: BlobName, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, BlobError>>;

    /// Whether the blob is there.
    fn exists(&self, name: BlobName) -> BoxFuture<'_, Result<bool, BlobError>>;

    /// Deletes a blob. One that is not there is deleted.
    fn delete(&self, name: BlobName) -> BoxFuture<'_, Result<(), BlobError>>;
}

/// Bytes on their way into the store. Dropped, they are gone.
pub trait Draft: Send + 'static {
    /// Appends bytes.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>>;

    /// Keeps what was written, under this name. When this returns, a crash of the machine does not lose it.
    fn publish(self: Box<Self>, name: BlobName) -> BoxFuture<'static, Result<(), BlobError>>;
}

/// Bytes in pieces.
pub type ByteStream = BoxStream<'static, Result<Bytes, BlobError>>;

/// The name of a blob: the SHA-256 of its bytes. Shown in hexadecimal.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BlobName(pub BlobHash);

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a store does not do what it is asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// It does not have this blob.
    #[error("the bytes are not there")]
    Missing,
    /// It does not work at present.
    #[error("the store of media failed: {0}")]
    Failed(String),
    /// It takes nothing until there is room.
    #[error("the store of media is full: {0}")]
    Full(String),
}

impl BlobError {
    /// Something was tried and this is why it did not work.
    pub fn failed(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {why}"))
    }

    /// As [`Self::failed`], for what the disk said.
    pub fn of_disk(what: impl fmt::Display, why: &io::Error) -> Self {
        let text = format!("{what}: {why}");
        match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(text),
            _ => Self::Failed(text),
        }
    }
}
