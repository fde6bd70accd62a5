//! The parts of media that touch the machine: where bytes lie, and the processes that make thumbnails.

use std::sync::Arc;

use depesche_blobs_files::FileBlobs;
use depesche_config::Config;
use depesche_server::media::{blobs::Blobs, thumbnails::Thumbnailer};
use depesche_thumbnails::{Bounds, Workers};

use crate::failure::Failure;

/// The store that the configuration names.
pub async fn blobs(config: &Config) -> Result<Arc<dyn Blobs>, Failure> {
    if config.media.store.is_some() {
        return Err(Failure::Usage("media.store: object stores are not part of this version".to_owned()));
    }
    let folder = config.media.dir(&config.server.data_dir);
    let what = format!("cannot use {} for media (media.dir)", folder.display());
    let opened = tokio::task::spawn_blocking(move || FileBlobs::open(&folder)).await;
    let opened = opened.map_err(|error| Failure::failed(&what, error))?;
    Ok(Arc::new(opened.map_err(|error| Failure::failed(&what, error))?))
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
