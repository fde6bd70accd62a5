//! `depesche restore`: puts a backup where the configuration wants the data to be, while no server runs.
//!
//! Nothing is overwritten: what is there already must be moved away first. Every file is compared with the manifest while
//! it is copied. The database gets its name last, so that a restore which was interrupted leaves no database. Then the
//! server is opened once, without listeners: it raises its positions and makes the copy fit to go on (see
//! `depesche_server::restored`).

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use depesche_blobs_files::Claim;
use depesche_config::Config;
use depesche_store_rocksdb::check_room;

use super::{
    DATABASE, MANIFEST, MEDIA, SIGNING_KEY,
    files::{self, Blobs, Folder, MediaFolder, about, copy_hashed, sync_folder},
    manifest::{Entry, Manifest},
    media_folder,
};
use crate::{
    commands::{config::valid, moment},
    data_dir::DataDir,
    failure::Failure,
    log, media,
    node::{self, Node, Purpose},
};

/// How often the copying says how far it is, in seconds.
const SAY_EVERY_S: u64 = 1;

/// Carries the command out.
pub fn run(path: &Path, backup: &Path) -> Result<(), Failure> {
    // With its secrets: what is missing is better said before hours of copying.
    let config = Arc::new(valid(path)?);
    log::start(&config)?;
    let manifest = read_manifest(backup)?;
    check(&config, backup, &manifest)?;
    let data = DataDir::open(&config.server.data_dir)?;
    let targets = Targets::find(&config, &data)?;
    targets.fill(backup, &manifest, node::rocksdb_options(&config).reserve_bytes())?;
    drop(data);
    adopt(&config).map_err(|failure| {
        Failure::Failed(format!(
            "everything is in its place, but: {failure}. Mend that and start the server, which does the rest"
        ))
    })?;
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
    let list = Folder(backup.to_owned()).list();
    let list = list.map_err(|error| Failure::Failed(format!("the backup cannot be read: {error}")))?;
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
}

/// Where they are gathered until all of them are there.
struct Gathered {
    database: PathBuf,
    /// With the folder that it is in, which is ours meanwhile. None if the backup has no media.
    media: Option<(PathBuf, Claim)>,
    /// None if the key is there already.
    signing_key: Option<PathBuf>,
}

impl Targets {
    fn find(config: &Config, data: &DataDir) -> Result<Self, Failure> {
        let (database, media) = (data.database(), media_folder(config));
        let failed = |error: io::Error| Failure::Failed(format!("nothing was restored: {error}"));
        let files = Folder(database.clone()).list().map_err(failed)?;
        let media_files = MediaFolder(media.clone()).list().map_err(failed)?;
        for (folder, files) in [(&database, files), (&media, media_files)] {
            if !files.is_empty() {
                return Err(Failure::Failed(format!(
                    "{} is not empty, and a restore overwrites nothing: move it away first",
                    folder.display()
                )));
            }
        }
        Ok(Self { database, media, signing_key: config.server.signing_key_file() })
    }

    /// Whether there is room for everything, and for the server's next writes. What an earlier restore left must be gone.
    fn check_room(&self, manifest: &Manifest, reserve: u64) -> io::Result<()> {
        let size = |part: &str| -> u64 {
            let files =
                manifest.files.iter().filter(|file| file.name.split_once('/').is_some_and(|(of, _)| of == part));
            files.map(|file| file.size).sum()
        };
        let (database, media) = (there(&self.database), there(&self.media));
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
        if device(database) == device(media) {
            check_room(database, size(DATABASE).saturating_add(size(MEDIA)), reserve)
        } else {
            check_room(database, size(DATABASE), reserve).and_then(|()| check_room(media, size(MEDIA), 0))
        }
    }

    /// Copies everything, and gives it its names at the end. So many bytes must stay free.
    fn fill(self, backup: &Path, manifest: &Manifest, reserve: u64) -> Result<(), Failure> {
        let gathered = self.gather(backup, manifest, reserve);
        let gathered = gathered.map_err(|error| Failure::Failed(format!("nothing was restored: {error}")))?;
        self.name(gathered).map_err(|error| {
            let media = self.media.display();
            Failure::Failed(format!(
                "the restore did not come to its end: {error}. There is no database yet. Before it is begun again, move \
                 away what is in {media}"
            ))
        })
    }

    fn gather(&self, backup: &Path, manifest: &Manifest, reserve: u64) -> io::Result<Gathered> {
        let gathered = self.places(backup, manifest)?;
        match self.check_room(manifest, reserve).and_then(|()| gathered.copy(backup, manifest)) {
            Ok(()) => Ok(gathered),
            Err(error) => {
                gathered.clear();
                Err(error)
            }
        }
    }

    /// Empty ones. Each is on the file system of what it becomes: the folder of media, which may be a disk of its own or
    /// lie behind a link, is never replaced.
    fn places(&self, backup: &Path, manifest: &Manifest) -> io::Result<Gathered> {
        let key = backup.join(SIGNING_KEY);
        let key = fs::read(&key).map_err(about(&key))?;
        let has_key = self.signing_key.exists();
        if has_key && fs::read(&self.signing_key).map_err(about(&self.signing_key))? != key {
            let path = self.signing_key.display();
            return Err(io::Error::other(format!("{path} is another key than that of the backup: move it away first")));
        }
        let database = files::partial(&self.database)?;
        files::remove_folder(&database)?;
        let signing_key = files::partial(&self.signing_key)?;
        let _ = fs::remove_file(&signing_key);
        let has_media = manifest.files.iter().any(|file| file.name.split_once('/').is_some_and(|(of, _)| of == MEDIA));
        let media = if has_media {
            let claim = Claim::take(&self.media, 0).map_err(about(&self.media))?;
            Some((claim.restore(), claim))
        } else {
            None
        };
        Ok(Gathered { database, media, signing_key: (!has_key).then_some(signing_key) })
    }

    /// The database last: with it the restore counts.
    fn name(&self, Gathered { database, media, signing_key }: Gathered) -> io::Result<()> {
        let of_media = media.as_ref().map_or(Ok(Vec::new()), |(media, _)| files::folders(media))?;
        [files::folders(&database)?, of_media].concat().iter().try_for_each(|folder| sync_folder(folder))?;
        if let Some(key) = signing_key {
            files::rename(&key, &self.signing_key)?;
            sync_parent(&self.signing_key)?;
        }
        if let Some((media, _claim)) = media {
            for entry in fs::read_dir(&media).map_err(about(&media))? {
                let entry = entry.map_err(about(&media))?;
                files::rename(&entry.path(), &self.media.join(entry.file_name()))?;
            }
            files::remove_folder(&media)?;
            sync_folder(&self.media)?;
        }
        files::remove_folder(&self.database)?;
        files::rename(&database, &self.database)?;
        sync_parent(&self.database)
    }
}

impl Gathered {
    /// Fills them, comparing each file with its hash.
    fn copy(&self, backup: &Path, manifest: &Manifest) -> io::Result<()> {
        let all: u64 = manifest.files.iter().map(|file| file.size).sum();
        let (mut done, mut said) = (0, None::<Instant>);
        for file in &manifest.files {
            let to = match (file.name.split_once('/'), &self.media) {
                (Some((DATABASE, name)), _) => self.database.join(name),
                (Some((MEDIA, name)), Some((media, _))) => media.join(name),
                _ => match &self.signing_key {
                    Some(key) if file.name == SIGNING_KEY => key.clone(),
                    _ => continue,
                },
            };
            copy(&backup.join(&file.name), &to, file)?;
            done += file.size;
            if said.is_none_or(|said| said.elapsed().as_secs() >= SAY_EVERY_S) {
                said = Some(Instant::now());
                eprintln!("copying: {} of {} MB", done >> 20, all >> 20);
            }
        }
        Ok(())
    }

    /// Takes away what was copied in vain: it may be large. An error of this one tells less than the first.
    fn clear(self) {
        let _ = files::remove_folder(&self.database);
        let _ = self.signing_key.map(fs::remove_file);
        let _ = self.media.map(|(media, _claim)| files::remove_folder(&media));
    }
}

/// The nearest of a path and the folders above it that is there.
fn there(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
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
    use std::fs;

    use depesche_blobs_files::FileBlobs;
    use depesche_config::Config;

    use super::{Entry, Manifest, Targets, about_media};
    use crate::backup::files;

    /// A backup of one file in each part, in a folder of this name.
    fn backup(folder: &std::path::Path) -> Manifest {
        let names = ["db/CURRENT".to_owned(), format!("media/ab/{}", "ab".repeat(32)), "signing.key".to_owned()];
        let entries = names.map(|name| {
            let path = folder.join(&name);
            files::create_parents(&path).expect("folders");
            fs::write(&path, &name).expect("written");
            files::hash(&path, &name).expect("read")
        });
        Manifest {
            version: String::new(),
            server_name: "example.org".to_owned(),
            created_ms: 0,
            secrets: Vec::new(),
            media_elsewhere: None,
            files: Vec::<Entry>::from(entries),
        }
    }

    #[test]
    fn the_folder_of_media_is_filled_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let [from, data, disk] = ["backup", "data", "disk"].map(|name| folder.path().join(name));
        let manifest = backup(&from);
        fs::create_dir(&data).expect("a folder");
        // A disk of its own, behind a link, with what others have on it and what a server made.
        fs::create_dir_all(disk.join("lost+found")).expect("a folder");
        drop(FileBlobs::open(&disk, 0).expect("made"));
        let media = data.join("media");
        std::os::unix::fs::symlink(&disk, &media).expect("a link");
        let targets =
            Targets { database: data.join("db"), media: media.clone(), signing_key: data.join("signing.key") };
        targets.fill(&from, &manifest, 0).expect("restored");
        assert!(media.is_symlink() && disk.join("lost+found").is_dir());
        for file in &manifest.files {
            assert_eq!(fs::read_to_string(data.join(&file.name)).expect("restored"), file.name);
        }
        assert_eq!(fs::read_dir(disk.join("tmp")).expect("a folder").count(), 0, "nothing is left over");
        assert!(!data.join("db.partial").exists());
    }

    #[test]
    fn what_fails_says_what_there_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let [from, data] = ["backup", "data"].map(|name| folder.path().join(name));
        let manifest = backup(&from);
        fs::create_dir(&data).expect("a folder");
        let targets =
            || Targets { database: data.join("db"), media: data.join("media"), signing_key: data.join("signing.key") };
        let blob = from.join(&manifest.files[1].name);
        fs::rename(&blob, from.join("aside")).expect("renamed");
        let said = targets().fill(&from, &manifest, 0).expect_err("one is missing").to_string();
        assert!(said.contains("nothing was restored") && said.contains("abab"), "{said}");
        assert!(!data.join("signing.key").exists() && !data.join("db").exists());
        // Nor does what was copied in vain take room.
        assert!(!data.join("db.partial").exists() && !data.join("signing.key.partial").exists());
        assert_eq!(fs::read_dir(data.join("media/tmp")).expect("a folder").count(), 0);
        fs::rename(from.join("aside"), blob).expect("renamed");
        // The last step fails: something is where the database goes.
        fs::write(data.join("db"), "x").expect("written");
        let said = targets().fill(&from, &manifest, 0).expect_err("no folder").to_string();
        assert!(said.contains("did not come to its end") && said.contains("move away"), "{said}");
        assert!(data.join("signing.key").exists());
    }

    #[test]
    fn nothing_is_begun_where_there_is_not_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let [from, data] = ["backup", "data"].map(|name| folder.path().join(name));
        let mut manifest = backup(&from);
        let targets =
            || Targets { database: data.join("db"), media: data.join("media"), signing_key: data.join("signing.key") };
        // What a restore left that was interrupted does not count: it is gone before there is any looking.
        let leftovers = [data.join("db.partial"), data.join("media/tmp/depesche-restore")];
        let refused = |manifest: &Manifest, reserve| {
            for left in &leftovers {
                fs::create_dir_all(left).expect("a folder");
                fs::write(left.join("CURRENT"), "x").expect("written");
            }
            let said = targets().fill(&from, manifest, reserve).expect_err("too little").to_string();
            assert!(said.contains("nothing was restored") && said.contains("not enough room"), "{said}");
            leftovers.iter().all(|left| !left.exists()) && !data.join("db").exists()
        };
        assert!(refused(&manifest, u64::MAX));
        let size = std::mem::replace(&mut manifest.files[1].size, 1 << 60);
        assert!(refused(&manifest, 0), "the files of users count");
        manifest.files[1].size = size;
        targets().fill(&from, &manifest, 0).expect("there is room");
    }

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
