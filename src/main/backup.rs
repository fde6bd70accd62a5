//! Backups of a running server: the database, the files of media, the signing key, and a manifest with the hash of each.
//!
//! ```text
//! manifest.json    what this is, and every other file with its size and SHA-256
//! db/              the database as of one moment, marked as a copy
//! media/           the files that users uploaded; not if they lie in an object store, which the manifest then names
//! signing.key      signs this server's events
//! config.toml      the configuration in force; it holds no secrets, and the manifest lists where those lie
//! ```
//!
//! Everything is written to `<folder>.partial` and synced; the last step gives it its name. So a backup that has its name
//! is whole, and one that fails leaves nothing. The database is copied first: a file of media is on disk before its row is, and a row without its file could
//! come only from a deletion meanwhile.

pub mod files;
pub mod manifest;
pub mod restore;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use depesche_config::Config;
use depesche_store::Engine;
use depesche_store_rocksdb::{RocksDb, check_room};
use serde_json::{Value, json};

use self::{
    files::{Blobs, Folder, MediaFolder, sync_folder},
    manifest::{Entry, Manifest},
};
use crate::{media, node::long::Progress};

/// The names in a backup.
pub const DATABASE: &str = "db";
pub const MEDIA: &str = "media";
pub const SIGNING_KEY: &str = "signing.key";
const CONFIG: &str = "config.toml";
pub const MANIFEST: &str = "manifest.json";

/// Said where the server may not write.
const MAY_WRITE: &str = ". The folder above must belong to the user of the server, and be in ReadWritePaths= of its unit or \
                         in a volume of its container";

/// The files that no backup has, by their keys. It has the signing key.
fn secrets(config: &Config) -> Vec<(String, String)> {
    let files = config.secret_files().into_iter().filter(|(key, _)| *key != Config::SIGNING_KEY);
    files.map(|(key, path)| (key.to_owned(), path.display().to_string())).collect()
}

/// Where this server's media files lie.
pub fn media_folder(config: &Config) -> PathBuf {
    config.media.dir(&config.server.data_dir)
}

/// Makes a backup of the running server in a folder that is not there yet.
pub async fn make(
    config: Arc<Config>,
    engine: Arc<RocksDb>,
    now_ms: u64,
    into: PathBuf,
    progress: Progress,
) -> Result<Value, String> {
    let failed = |error: io::Error| format!("the backup {} was not made: {error}", into.display());
    if into.exists() {
        return Err(format!("{} is there already: a backup is a folder of its own", into.display()));
    }
    let partial = files::partial(&into).map_err(failed)?;
    files::remove_folder(&partial).map_err(failed)?;
    fs::create_dir(&partial).map_err(files::about(&partial)).map_err(|error| {
        let refused = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
        format!("{}{}", failed(error), if refused { MAY_WRITE } else { "" })
    })?;
    let work = Work { reserve: media::reserve(&config), config, now_ms, into: into.clone(), partial, progress };
    let partial = work.partial.clone();
    let made = fill(work, engine).await.map_err(|why| format!("the backup {} was not made: {why}", into.display()));
    if made.is_err() {
        // It may be large. An error of this one tells less than the first.
        let _ = tokio::task::spawn_blocking(move || files::remove_folder(&partial)).await;
    }
    made
}

async fn fill(work: Work, engine: Arc<RocksDb>) -> Result<Value, String> {
    let work = blocking(move || {
        work.check_room()?;
        Ok(work)
    });
    let work = work.await?;
    work.progress.begin(&json!({ "what": "copying the database" }));
    engine.checkpoint(&work.partial.join(DATABASE)).await.map_err(|error| error.to_string())?;
    blocking(move || work.finish()).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

/// What is left to do once the database is copied.
struct Work {
    config: Arc<Config>,
    now_ms: u64,
    into: PathBuf,
    partial: PathBuf,
    progress: Progress,
    /// How many bytes of the disk are left free.
    reserve: u64,
}

impl Work {
    /// Whether there is room for the files of media. The engine looks for itself.
    fn check_room(&self) -> io::Result<()> {
        let all = match &self.config.media.store {
            Some(_) => 0,
            None => MediaFolder(media_folder(&self.config)).list()?.iter().map(|(_, size)| size).sum(),
        };
        check_room(&self.partial, all, self.reserve)
    }

    fn finish(mut self) -> io::Result<Value> {
        let mut entries = self.hash_database()?;
        let media_elsewhere = self.config.media.store.as_ref().map(media::place);
        if media_elsewhere.is_none() {
            entries.extend(self.copy_media(&MediaFolder(media_folder(&self.config)))?);
        }
        let key = self.config.server.signing_key_file();
        for (name, text) in
            [(SIGNING_KEY, fs::read_to_string(&key).map_err(files::about(&key))?), (CONFIG, self.config.in_force())]
        {
            entries.push(files::write(&self.partial, name, text.as_bytes())?);
        }
        let bytes: u64 = entries.iter().map(|entry| entry.size).sum();
        let count = entries.len();
        let manifest = Manifest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            server_name: self.config.server.name.to_string(),
            created_ms: self.now_ms,
            secrets: secrets(&self.config),
            media_elsewhere,
            files: entries,
        };
        files::write(&self.partial, MANIFEST, manifest.to_text().as_bytes())?;
        for folder in files::folders(&self.partial)? {
            sync_folder(&folder)?;
        }
        files::rename(&self.partial, &self.into)?;
        sync_folder(self.into.parent().unwrap_or(Path::new("/")))?;
        Ok(json!({
            "into": self.into, "files": count, "bytes": bytes, "media_elsewhere": manifest.media_elsewhere,
            "secrets": manifest.secrets.iter().map(|(key, path)| json!({ "key": key, "file": path })).collect::<Vec<_>>(),
        }))
    }

    /// Reads what was copied, so that the manifest knows its hashes.
    fn hash_database(&mut self) -> io::Result<Vec<Entry>> {
        let folder = Folder(self.partial.join(DATABASE));
        let (list, mut done) = (folder.list()?, 0);
        let all: u64 = list.iter().map(|(_, size)| size).sum();
        let mut entries = Vec::with_capacity(list.len());
        for (name, _) in list {
            let path = folder.0.join(&name);
            entries.push(files::hash(&path, &format!("{DATABASE}/{name}"))?);
            done += entries.last().map_or(0, |entry| entry.size);
            self.step("reading the copy of the database", done, all)?;
        }
        Ok(entries)
    }

    fn copy_media(&mut self, blobs: &impl Blobs) -> io::Result<Vec<Entry>> {
        let (list, mut done) = (blobs.list()?, 0);
        let all: u64 = list.iter().map(|(_, size)| size).sum();
        check_room(&self.partial, all, self.reserve)?;
        let mut entries = Vec::with_capacity(list.len());
        for (name, size) in list {
            let within = format!("{MEDIA}/{name}");
            let to = self.partial.join(&within);
            files::create_parents(&to)?;
            match blobs.copy(&name, &to, &within) {
                Ok(entry) => entries.push(entry),
                // Deleted since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            done += size;
            self.step("copying media", done, all)?;
        }
        Ok(entries)
    }

    fn step(&mut self, what: &str, done: u64, of: u64) -> io::Result<()> {
        self.progress.check().map_err(io::Error::other)?;
        check_room(&self.partial, 0, self.reserve)?;
        self.progress.say(|| json!({ "what": what, "done": done, "of": of, "unit": "bytes" }));
        Ok(())
    }
}
