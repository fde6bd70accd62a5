//! `depesche restore`: puts a backup where the configuration wants the data to be, while no server runs.
//!
//! Nothing is overwritten: what is there already must be moved away first. Every file is compared with the manifest while
//! it is copied. The database gets its name last, so that a restore which was interrupted leaves no database. Then the
//! server is opened once, without listeners: it raises its positions and makes the copy fit to go on (see
//! `depesche_server::restored`).

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use depesche_config::Config;

use super::{
    DATABASE, MANIFEST, MEDIA, SIGNING_KEY,
    files::{self, Folder, copy_hashed, sync_folder},
    manifest::{Entry, Manifest},
    media_folder,
};
use crate::{
    commands::moment,
    data_dir::DataDir,
    failure::Failure,
    log, media,
    node::{Node, Purpose},
};

/// How often the copying says how far it is, in seconds.
const SAY_EVERY_S: u64 = 1;

/// Carries the command out.
pub fn run(path: &Path, backup: &Path) -> Result<(), Failure> {
    let config = Arc::new(Config::load(path)?);
    log::start(&config)?;
    let manifest = read_manifest(backup)?;
    check(&config, backup, &manifest)?;
    let data = DataDir::open(&config.server.data_dir)?;
    let targets = Targets::find(&config, &data)?;
    targets.fill(backup, &manifest).map_err(|error| Failure::Failed(format!("nothing was restored: {error}")))?;
    drop(data);
    adopt(&config)?;
    println!("Restored the backup of {} with {} files.", moment(manifest.created_ms), manifest.files.len());
    if let Some(told) = about_media(&config, &manifest) {
        println!("{told}");
    }
    for (key, file) in &manifest.secrets {
        println!("Not part of it: {file} ({key}). See that it is there.");
    }
    println!("Look at it (depesche db verify, depesche doctor), then start the server.");
    Ok(())
}

/// What is left to do about the files that users uploaded, if they lie or are to lie in an object store.
fn about_media(config: &Config, manifest: &Manifest) -> Option<String> {
    let now = config.media.store.as_ref().map(media::place);
    match (&manifest.media_elsewhere, now) {
        (None, None) => None,
        (Some(then), now) if now.as_ref() == Some(then) => {
            Some(format!("Not part of it: the files that users uploaded. See that they are in {then}."))
        }
        (Some(then), now) => Some(format!(
            "Not part of it: the files that users uploaded, which lay in {then}. Bring them to {}.",
            now.unwrap_or_else(|| media_folder(config).display().to_string())
        )),
        (None, Some(now)) => Some(format!(
            "The files that users uploaded are in {}, and the configuration keeps them in {now}. Copy them there.",
            media_folder(config).display()
        )),
    }
}

fn read_manifest(backup: &Path) -> Result<Manifest, Failure> {
    let path = backup.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(|error| {
        Failure::Usage(format!("{} is no backup, or not a whole one: {}: {error}", backup.display(), path.display()))
    })?;
    Manifest::parse(&text).map_err(|why| Failure::Failed(format!("{} cannot be used: {why}", path.display())))
}

/// Whether the backup is this server's and has what its manifest says, hashes apart.
fn check(config: &Config, backup: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let (theirs, ours) = (&manifest.server_name, &config.server.name);
    if *theirs != ours.as_str() {
        return Err(Failure::Usage(format!("this is a backup of {theirs}, and the configuration says {ours}")));
    }
    let list = Folder(backup.to_owned()).list().map_err(|error| Failure::failed(backup.display(), error))?;
    let there: BTreeSet<_> = list.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    let wanted: BTreeSet<_> = manifest.files.iter().map(|file| (file.name.as_str(), file.size)).collect();
    if let Some((name, size)) = wanted.difference(&there).next() {
        return Err(Failure::Failed(format!("the backup is damaged: {name} is missing or has not its {size} bytes")));
    }
    match there.difference(&wanted).find(|(name, _)| *name != MANIFEST) {
        Some((name, _)) => Err(Failure::Failed(format!("the backup is damaged: {name} is not in its manifest"))),
        None => Ok(()),
    }
}

/// Where the parts of a backup go.
struct Targets {
    database: PathBuf,
    media: PathBuf,
    signing_key: PathBuf,
    /// The key is there already, and the same.
    has_key: bool,
}

impl Targets {
    fn find(config: &Config, data: &DataDir) -> Result<Self, Failure> {
        let database = data.database();
        let media = media_folder(config);
        for folder in [&database, &media] {
            let files = Folder(folder.clone()).list().map_err(|error| Failure::failed(folder.display(), error))?;
            if !files.is_empty() {
                return Err(Failure::Failed(format!(
                    "{} is not empty, and a restore overwrites nothing: move it away first",
                    folder.display()
                )));
            }
        }
        Ok(Self { database, media, signing_key: config.server.signing_key_file(), has_key: false })
    }

    /// Copies everything, and gives it its names at the end.
    fn fill(mut self, backup: &Path, manifest: &Manifest) -> io::Result<()> {
        let key = fs::read(backup.join(SIGNING_KEY))?;
        if self.signing_key.exists() {
            self.has_key = fs::read(&self.signing_key)? == key;
            if !self.has_key {
                let path = self.signing_key.display();
                return Err(io::Error::other(format!(
                    "{path} is another key than that of the backup: move it away first"
                )));
            }
        }
        let partial =
            [files::partial(&self.database)?, files::partial(&self.media)?, files::partial(&self.signing_key)?];
        let [database, media, signing_key] = &partial;
        files::remove_folder(database)?;
        files::remove_folder(media)?;
        let _ = fs::remove_file(signing_key);
        let all: u64 = manifest.files.iter().map(|file| file.size).sum();
        let (mut done, mut said) = (0, Instant::now());
        for file in &manifest.files {
            let to = match file.name.split_once('/') {
                Some((DATABASE, name)) => database.join(name),
                Some((MEDIA, name)) => media.join(name),
                _ if file.name == SIGNING_KEY && !self.has_key => signing_key.clone(),
                _ => continue,
            };
            copy(&backup.join(&file.name), &to, file)?;
            done += file.size;
            if said.elapsed().as_secs() >= SAY_EVERY_S {
                said = Instant::now();
                eprintln!("copying: {} of {} MB", done >> 20, all >> 20);
            }
        }
        self.name(&partial)
    }

    /// The database last: with it the restore counts.
    fn name(&self, [database, media, signing_key]: &[PathBuf; 3]) -> io::Result<()> {
        let folders = [files::folders(database)?, files::folders(media)?].concat();
        folders.iter().try_for_each(|folder| sync_folder(folder))?;
        if !self.has_key {
            fs::rename(signing_key, &self.signing_key)?;
            sync_parent(&self.signing_key)?;
        }
        if media.exists() {
            files::remove_folder(&self.media)?;
            fs::rename(media, &self.media)?;
            sync_parent(&self.media)?;
        }
        files::remove_folder(&self.database)?;
        fs::rename(database, &self.database)?;
        sync_parent(&self.database)
    }
}

fn copy(from: &Path, to: &Path, wanted: &Entry) -> io::Result<()> {
    files::create_parents(to)?;
    let copied = copy_hashed(from, to, &wanted.name)?;
    if copied == *wanted {
        return Ok(());
    }
    Err(io::Error::other(format!("the backup is damaged: {} is not what its hash says", wanted.name)))
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), sync_folder)
}

/// Opens the copy once, which makes it fit to go on.
fn adopt(config: &Arc<Config>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start threads", error))?;
    runtime.block_on(async {
        let data = DataDir::open(&config.server.data_dir)?;
        let node = Node::open(config, data, Purpose::GoOn).await?;
        node.stop().await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use depesche_config::Config;

    use super::{Manifest, about_media};

    #[test]
    fn files_in_an_object_store_are_not_forgotten() {
        let here = Config::parse("[server]\nname = \"example.org\"\n").expect("valid");
        let store = "[server]\nname = \"example.org\"\n[media.store]\nendpoint = \"https://s3.example.org\"\n\
                     bucket = \"b\"\naccess_key_id_file = \"/id\"\nsecret_access_key_file = \"/secret\"\n";
        let store = Config::parse(store).expect("valid");
        let manifest = |media_elsewhere: Option<&str>| Manifest {
            version: String::new(),
            server_name: "example.org".to_owned(),
            created_ms: 0,
            secrets: Vec::new(),
            media_elsewhere: media_elsewhere.map(str::to_owned),
            files: Vec::new(),
        };
        let same = "the bucket b at https://s3.example.org/";
        assert_eq!(about_media(&here, &manifest(None)), None);
        for (config, then, told) in [
            (&store, Some(same), "See that they are in the bucket b"),
            (&store, Some("the bucket a"), "Bring them to the bucket b"),
            (&here, Some(same), "Bring them to /var/lib/depesche/media"),
            (&store, None, "Copy them there"),
        ] {
            let said = about_media(config, &manifest(then)).expect("something to do");
            assert!(said.contains(told), "{said}");
        }
    }
}
