//! `[media]`: files that users upload.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use url::Url;

use crate::{
    previews::Previews,
    section::{optional, preset, required, section},
    value::{choices, section_as_value},
};

section! {
    /// Files that users upload, and pictures made smaller.
    [media]
    pub struct Media {
        /// The folder of the files. Without this key: media in data_dir. With [media.store] only uploads under way lie
        /// here.
        dir: Option<PathBuf> = optional("\"/srv/depesche-media\""),
        /// The largest upload, in megabytes. A reverse proxy in front must let more through.
        max_upload_mb: u64 = preset(100).within(1..=65_536),
        /// How much one user may upload in all, in megabytes. Without this key there is no bound.
        max_mb_per_user: Option<u64> = optional("10000"),
        /// Downloads without an access token, which Matrix has given up.
        legacy: LegacyMedia = preset(LegacyMedia::Off),
        /// Uploads that a user may have announced and not made (POST /create).
        pending_per_user: usize = preset(20).within(1..=1000),
        /// How long an announced upload may take to come.
        pending_lifetime: Duration = preset(Duration::from_hours(24))
            .within(Duration::from_mins(1)..=Duration::from_hours(7 * 24)),
        /// The longest that a download waits for an announced upload, whatever the client asks for.
        download_wait: Duration = preset(Duration::from_mins(1))
            .within(Duration::from_secs(1)..=Duration::from_mins(10)),
        /// Pictures with more pixels than this, in millions, have no thumbnails.
        thumbnail_megapixels: u32 = preset(64).within(1..=1000),
        /// Animations with more frames than this are shown still.
        thumbnail_frames: u32 = preset(200).within(1..=10_000),
        /// How long the making of a thumbnail may take, of the processor as well as of the clock.
        thumbnail_timeout: Duration = preset(Duration::from_secs(20))
            .within(Duration::from_secs(1)..=Duration::from_mins(5)),
        /// Memory of the process that makes a thumbnail, in megabytes. It has to hold the picture, uncompressed, twice.
        thumbnail_memory_mb: u64 = preset(1024).within(128..=65_536),
        /// Thumbnails made at a time, each by a process of its own.
        thumbnail_processes: usize = preset(2).within(1..=64),
        /// An object store that keeps the files instead of the folder. Files do not move by themselves: the server has
        /// to be stopped, and all but tmp and media.lock copied from the folder to the prefix, under the same names.
        store: Option<ObjectStore> = optional(""),
        /// What links in messages lead to: title, description and picture of a page, fetched by the server. In encrypted
        /// rooms clients ask only if their user wants it.
        previews: Previews = preset(Previews::default()),
    }
}

choices! {
    /// Downloads without an access token.
    pub enum LegacyMedia {
        /// nothing is found there.
        Off = "off",
        /// whoever knows the address of a file gets it, as it was before Matrix 1.11.
        On = "on",
    }
}

section! {
    /// A store that speaks the S3 protocol.
    [store]
    pub struct ObjectStore {
        /// Where it is reached.
        endpoint: Url = required("\"https://s3.example.org\""),
        /// The bucket. It must be there.
        bucket: String = required("\"depesche\""),
        /// Its region, as the store calls it.
        region: String = preset("us-east-1".to_owned()),
        /// What the names of all objects begin with. Two servers must never share bucket and prefix.
        prefix: String = preset(String::new()),
        /// A file that holds the id of the access key: its first line. The key must allow to read, write and delete
        /// objects, and to list the bucket.
        access_key_id_file: PathBuf = required("\"/etc/depesche/s3-id\""),
        /// A file that holds the secret of the access key: its first line.
        secret_access_key_file: PathBuf = required("\"/etc/depesche/s3-secret\""),
        /// Whether the bucket is part of the path and not of the host.
        path_style: bool = preset(true),
    }
}

impl Media {
    /// The most bytes of an upload.
    pub fn max_upload_bytes(&self) -> u64 {
        self.max_upload_mb << 20
    }

    /// The folder of the files, or of uploads under way.
    pub fn dir(&self, data_dir: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| data_dir.join("media"))
    }

    /// Takes relative paths from this folder.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        let store = self.store.as_mut();
        let secrets = store.map(|store| [&mut store.access_key_id_file, &mut store.secret_access_key_file]);
        for path in self.dir.as_mut().into_iter().chain(secrets.into_iter().flatten()) {
            *path = folder.join(&*path).components().collect();
        }
    }
}

section_as_value!(ObjectStore);
