//! The parts of media that touch the machine: where bytes lie, and the processes that make thumbnails.

use std::sync::Arc;

use depesche_blobs_files::FileBlobs;
use depesche_blobs_s3::{AccessKey, Bucket, S3Blobs};
use depesche_config::{Config, ObjectStore};
use depesche_server::media::{
    blobs::{BlobError, Blobs},
    thumbnails::Thumbnailer,
};
use depesche_thumbnails::{Bounds, Workers};

use crate::{
    failure::{Failure, hint},
    node, secret,
};

/// The store that the configuration names. An object store is not asked for anything: the server also starts while it
/// does not answer.
pub async fn blobs(config: &Config) -> Result<Arc<dyn Blobs>, Failure> {
    let bucket = config.media.store.as_ref().map(bucket).transpose()?;
    let folder = config.media.dir(&config.server.data_dir);
    let what = format!("cannot use {} for media (media.dir)", folder.display());
    let reserve = reserve(config);
    let opened = tokio::task::spawn_blocking(move || {
        Ok::<Arc<dyn Blobs>, std::io::Error>(match bucket {
            Some(bucket) => Arc::new(S3Blobs::open(bucket, &folder, reserve)?),
            None => Arc::new(FileBlobs::open(&folder, reserve)?),
        })
    });
    let opened = opened.await.map_err(|error| Failure::failed(&what, error))?;
    opened.map_err(|error| Failure::Failed(format!("{what}: {error}{}", hint(&error))))
}

/// How many bytes of a disk must be free for what can wait: files of users, and backups. Twice what the database wants, so
/// that those do not stop it.
pub fn reserve(config: &Config) -> u64 {
    node::rocksdb_options(config).reserve_bytes().saturating_mul(2)
}

/// Whether an object store takes files, gives them back and deletes them.
pub async fn probe(store: &ObjectStore) -> Result<(), String> {
    let bucket = bucket(store).map_err(|failure| failure.to_string())?;
    let probed = bucket.probe().await;
    probed.map_err(|error| match error {
        BlobError::Failed(why) => format!("{why} ({})", place(store)),
        missing @ (BlobError::Missing | BlobError::Full(_)) => format!("{missing} ({})", place(store)),
    })
}

/// Where an object store keeps the files, in words.
pub fn place(store: &ObjectStore) -> String {
    let under = if store.prefix.is_empty() { String::new() } else { format!(" under \"{}\"", store.prefix) };
    format!("the bucket {} at {}{under}", store.bucket, store.endpoint)
}

/// The bucket, with its keys from their files. Nobody is asked for anything yet.
pub fn bucket(store: &ObjectStore) -> Result<Bucket, Failure> {
    let key = AccessKey {
        id: secret::of("media.store.access_key_id_file", &store.access_key_id_file)?,
        secret: secret::of("media.store.secret_access_key_file", &store.secret_access_key_file)?,
    };
    Bucket::new(store, key).map_err(|why| Failure::Usage(format!("media.store: {why}")))
}

/// Processes of this program.
pub fn thumbnailer(config: &Config) -> Arc<dyn Thumbnailer> {
    let media = &config.media;
    let bounds = Bounds {
        megapixels: media.thumbnail_megapixels,
        frames: media.thumbnail_frames,
        memory_mb: media.thumbnail_memory_mb,
        time: media.thumbnail_timeout,
    };
    Arc::new(Workers::new(media.thumbnail_processes, bounds))
}
