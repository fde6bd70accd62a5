//! Blobs in memory and no thumbnails: for tests, here and in the API.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, MutexGuard},
};

use bytes::{Bytes, BytesMut};
use depesche_store::Mutex;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};

use super::{
    blobs::{BlobError, BlobName, Blobs, ByteStream, Draft},
    thumbnails::{Made, Measured, Order, Source, Thumbnailer, Unmade},
};

/// A store that forgets all with the process.
#[derive(Clone, Default)]
pub struct MemoryBlobs(Arc<Mutex<HashMap<BlobName, Bytes>>>);

impl MemoryBlobs {
    /// How many blobs there are.
    pub fn count(&self) -> usize {
        self.blobs().len()
    }

    /// The blobs themselves, for tests that spoil them.
    pub fn blobs(&self) -> MutexGuard<'_, HashMap<BlobName, Bytes>> {
        self.0.lock()
    }
}

impl Blobs for MemoryBlobs {
    fn draft(&self) -> BoxFuture<'_, Result<Box<dyn Draft>, BlobError>> {
        let draft: Box<dyn Draft> = Box::new(MemoryDraft { store: self.clone(), bytes: BytesMut::new() });
        async { Ok(draft) }.boxed()
    }

    fn open(&self, name: BlobName, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, BlobError>> {
        let found = self.blobs().get(&name).cloned();
        async move {
            let bytes = found.ok_or(BlobError::Missing)?;
            let place = |at: u64| usize::try_from(at).map_err(|error| BlobError::failed("memory", error));
            let (from, to) = (place(range.start)?, place(range.end)?);
            let part = bytes.get(from..to).map(|part| bytes.slice_ref(part)).ok_or(BlobError::Missing)?;
            // In pieces, as a file comes.
            let pieces: Vec<_> = part.chunks(64 * 1024).map(|piece| Ok(part.slice_ref(piece))).collect();
            Ok(stream::iter(pieces).boxed())
        }
        .boxed()
    }

    fn exists(&self, name: BlobName) -> BoxFuture<'_, Result<bool, BlobError>> {
        let found = self.blobs().contains_key(&name);
        async move { Ok(found) }.boxed()
    }

    fn delete(&self, name: BlobName) -> BoxFuture<'_, Result<(), BlobError>> {
        self.blobs().remove(&name);
        async { Ok(()) }.boxed()
    }
}

struct MemoryDraft {
    store: MemoryBlobs,
    bytes: BytesMut,
}

impl Draft for MemoryDraft {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        self.bytes.extend_from_slice(&bytes);
        async { Ok(()) }.boxed()
    }

    fn publish(self: Box<Self>, name: BlobName) -> BoxFuture<'static, Result<(), BlobError>> {
        self.store.blobs().insert(name, self.bytes.freeze());
        async { Ok(()) }.boxed()
    }
}

/// Takes no picture for one.
pub struct NoThumbnails;

impl Thumbnailer for NoThumbnails {
    fn make(&self, _: Source, _: Order) -> BoxFuture<'_, Result<Made, Unmade>> {
        async { Err(Unmade::Unfit) }.boxed()
    }

    fn measure(&self, _: Source) -> BoxFuture<'_, Result<Measured, Unmade>> {
        async { Err(Unmade::Unfit) }.boxed()
    }
}
