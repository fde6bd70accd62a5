//! Files that users upload, by `mxc://` address, and thumbnails of them.
//!
//! A *file* is a row: who uploaded it, and what it consists of. Its bytes are a *blob*, kept once under their SHA-256
//! however many files and thumbnails consist of them ([`blobs`]); the row of the blob counts those. Bytes are on disk
//! before the row that needs them, and are deleted after it:
//!
//! - A blob that has no row, or is about to lose it, has a row in `LOOSE_BLOB`. It is written before the bytes are, and
//!   taken away in the batch that gives the blob its row. What a crash leaves there is deleted at the next start. So
//!   nothing has to look through the store, and nothing that the server does not know is ever deleted.
//! - Publishing and deleting the same blob take turns ([`Media::turn`]); within a turn the database is asked anew.
//!
//! Files of other servers are not fetched yet. Their rows have their place: `FILE` begins with a server's name.
//!
//! Spec: [content repository](https://spec.matrix.org/v1.19/client-server-api/#content-repository).

pub mod blobs;
mod download;
mod keep;
pub mod memory;
mod preview;
mod remove;
#[cfg(test)]
mod tests;
pub mod thumbnails;
mod underway;
mod upload;

use std::sync::Arc;

use ruma::OwnedMxcUri;
use tokio::sync::{Mutex, MutexGuard};

use self::{
    blobs::{BlobName, Blobs},
    thumbnails::{Flights, Thumbnailer},
    underway::Underway,
};
use crate::Base;
pub use crate::records::media::{Content, ImageFormat};

pub use self::{
    download::{FindError, ReadError},
    remove::{FileInfo, RemoveError},
    thumbnails::{Dimensions, Shown, ThumbnailError},
    upload::{Announced, BrokenBody, NewFile, UploadError},
};

/// How many blobs can be published or deleted at a time, at most.
const STRIPES: usize = 256;

/// The files of this server.
pub struct Media {
    base: Arc<Base>,
    blobs: Arc<dyn Blobs>,
    thumbnailer: Arc<dyn Thumbnailer>,
    flights: Flights,
    underway: Underway,
    turns: [Mutex<()>; STRIPES],
}

impl Media {
    /// Over this database and this store.
    pub fn new(base: Arc<Base>, blobs: Arc<dyn Blobs>, thumbnailer: Arc<dyn Thumbnailer>) -> Arc<Self> {
        let turns = std::array::from_fn(|_| Mutex::default());
        Arc::new(Self { base, blobs, thumbnailer, flights: Flights::default(), underway: Underway::default(), turns })
    }

    /// The right to publish or delete a blob, until the answer is dropped. Two blobs may share one.
    async fn turn(&self, name: BlobName) -> MutexGuard<'_, ()> {
        self.turns[usize::from(name.0[0])].lock().await
    }

    fn address(&self, id: &str) -> OwnedMxcUri {
        format!("mxc://{}/{id}", self.base.name).into()
    }
}
