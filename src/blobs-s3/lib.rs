//! Blobs of media in a store that speaks the S3 protocol: an object for each, `<prefix>/ab/abcd...`, as
//! `depesche-blobs-files` names its files.
//!
//! What a blob is called is known when its last byte has come, so it gathers first, in memory while it is small and then
//! in a local file, and goes to the store from there ([`draft`]). An object is there whole or not at all: the store shows
//! it when it has taken all of it, and [`Draft::publish`] returns when the store has said so.
//!
//! A request that fails for a reason that may pass is repeated, for some seconds; then whoever asked is told. An answer is
//! waited for as long as bytes come.

mod bucket;
mod draft;
mod refusal;
#[cfg(test)]
mod tests;

use std::{io, ops::Range, path::Path as Folder, sync::Arc};

use depesche_blobs_files::Claim;
use depesche_server::media::blobs::{BlobError, BlobName, Blobs, ByteStream, Draft};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};

pub use self::bucket::{AccessKey, Bucket};
use self::{draft::S3Draft, refusal::judge};

/// A bucket as a store of blobs.
#[derive(Clone, Debug)]
pub struct S3Blobs {
    bucket: Bucket,
    /// Where uploads under way gather.
    claim: Arc<Claim>,
}

impl S3Blobs {
    /// A store over this bucket; uploads under way gather in `<folder>/tmp`, as long as `reserve` bytes of its disk are
    /// free. Clears what a crash left there. Asks the bucket for nothing.
    pub fn open(bucket: Bucket, folder: &Folder, reserve: u64) -> io::Result<Self> {
        Ok(Self { bucket, claim: Arc::new(Claim::take(folder, reserve)?) })
    }
}

impl Blobs for S3Blobs {
    fn draft(&self) -> BoxFuture<'_, Result<Box<dyn Draft>, BlobError>> {
        let draft: Box<dyn Draft> = Box::new(S3Draft::new(self.bucket.clone(), Arc::clone(&self.claim)));
        async { Ok(draft) }.boxed()
    }

    fn open(&self, name: BlobName, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, BlobError>> {
        async move {
            if range.is_empty() {
                // The protocol has no range of nothing.
                return Ok(stream::empty().boxed());
            }
            let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
            let found = self.bucket.store.get_opts(&self.bucket.path(name), options).await;
            let found = found.map_err(|error| judge("cannot read a file", &error))?;
            if found.range != range {
                return Err(BlobError::failed("cannot read a file", "the object in the store is too short"));
            }
            Ok(found.into_stream().map_err(|error| judge("cannot read a file", &error)).boxed())
        }
        .boxed()
    }

    fn exists(&self, name: BlobName) -> BoxFuture<'_, Result<bool, BlobError>> {
        async move {
            let found = self.bucket.store.head(&self.bucket.path(name)).await;
            match found.map_err(|error| judge("cannot look at a file", &error)) {
                Ok(_) => Ok(true),
                Err(BlobError::Missing) => Ok(false),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn delete(&self, name: BlobName) -> BoxFuture<'_, Result<(), BlobError>> {
        async move {
            let gone = self.bucket.store.delete(&self.bucket.path(name)).await;
            match gone.map_err(|error| judge("cannot delete a file", &error)) {
                Ok(()) | Err(BlobError::Missing) => Ok(()),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }
}
