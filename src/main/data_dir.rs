//! The folder of the database: its mode, and the lock that gives it to one process.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use crate::failure::{Failure, hint};

/// How long to wait for another process to let go of the folder.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look meanwhile.
const PAUSE: Duration = Duration::from_millis(100);

/// Tries again for a while where another process has the data folder: a server that starts, or a command that works on
/// the database itself, which takes moments. `tell` is given the reason once.
pub async fn patiently<T>(tell: fn(&str), open: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        match open().await {
            Err(Failure::Taken(why)) if Instant::now() < deadline => {
                if !told {
                    tell(&format!("{why} Waiting for it to end, {} seconds at most.", PATIENCE.as_secs()));
                    told = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// The sole use of a data folder, until it is dropped. The system releases it also when the process is killed.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the folder if it is not there, and takes it for this process.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
            Failure::failed(format_args!("cannot create the data folder {}", path.display()), error)
        })?;
        refuse_foreign_root(path)?;
        close_to_others(path)?;
        let lock = lock(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// As [`Self::open`], where there is a database. Where there is none, as in the place of a disk that is not mounted,
    /// nothing is made: a new and empty one would be taken for the one that is meant.
    pub fn open_used(path: &Path) -> Result<Self, Failure> {
        let none = || {
            Failure::Failed(format!(
                "there is no database in {}: start the server once, or correct server.data_dir (is its disk mounted?)",
                path.display()
            ))
        };
        // Where there is the lock but no database, a server may be about to make it.
        if !has_database(path)? && !is_there(path, "lock")? {
            return Err(none());
        }
        let data = Self::open(path)?;
        if has_database(path)? { Ok(data) } else { Err(none()) }
    }

    /// Where the engine keeps its files.
    pub fn database(&self) -> PathBuf {
        database(&self.path)
    }

    /// Whether there is a database already.
    pub fn has_database(&self) -> bool {
        self.database().join("CURRENT").exists()
    }
}

fn has_database(folder: &Path) -> Result<bool, Failure> {
    is_there(&database(folder), "CURRENT")
}

/// Whether a folder has this. Who may not look is not told that it has not.
pub fn is_there(folder: &Path, name: &str) -> Result<bool, Failure> {
    folder.join(name).try_exists().map_err(|error| unseen(folder, &error))
}

fn unseen(folder: &Path, error: &io::Error) -> Failure {
    if error.kind() != ErrorKind::PermissionDenied {
        return Failure::failed(folder.display(), error);
    }
    // A folder that is closed is seen itself.
    let owner = folder.ancestors().find_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.uid());
    let owner = owner.map_or("depesche".to_owned(), |owner| format!("'#{owner}'"));
    Failure::Usage(format!(
        "{} may not be read by this user. Run this as the server's user: sudo -u {owner} depesche ...",
        folder.display()
    ))
}

fn database(folder: &Path) -> PathBuf {
    folder.join("db")
}

/// Files that root creates in another user's folder stop that user's server later.
pub fn refuse_foreign_root(path: &Path) -> Result<(), Failure> {
    let owner = fs::metadata(path).map_err(|error| Failure::failed(path.display(), error))?.uid();
    if rustix::process::geteuid().is_root() && owner != 0 {
        return Err(Failure::Usage(format!(
            "{} belongs to another user (uid {owner}). Run this as that user: sudo -u '#{owner}' depesche ...",
            path.display()
        )));
    }
    Ok(())
}

fn close_to_others(path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::Failed(format!("cannot make {} private: {error}{}", path.display(), hint(&error)))
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join("lock");
    let failed = |error: std::io::Error| Failure::Failed(format!("{}: {error}{}", path.display(), hint(&error)));
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Failure::Taken(taken(folder, &mut file))),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // For the message above, seen by a second process.
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}

fn taken(folder: &Path, file: &mut File) -> String {
    let mut pid = String::new();
    // Without the pid the message is still true.
    let _ = file.read_to_string(&mut pid);
    let holder = match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    format!("{} is in use by {holder}. Two servers must never share a data folder.", folder.display())
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::PermissionsExt,
        sync::{
            Mutex,
            atomic::{AtomicU32, Ordering},
        },
    };

    use super::{DataDir, Failure, patiently, unseen};

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        let first = DataDir::open(&path).expect("free");
        let second = DataDir::open(&path).err().expect("taken").to_string();
        assert!(second.contains(&format!("in use by process {}", std::process::id())), "{second}");
        drop(first);
        assert!(DataDir::open(&path).is_ok(), "free again");
    }

    #[test]
    fn where_there_is_no_database_none_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        let refused = |path| DataDir::open_used(path).err().expect("no database");
        let why = refused(&path);
        assert!(why.exit_code() == 1 && why.to_string().contains("there is no database in"), "{why}");
        assert!(!path.exists(), "nothing was made");
        // The place of a disk that is not mounted.
        std::fs::create_dir(&path).expect("a folder");
        refused(&path);
        assert_eq!(path.read_dir().expect("a folder").count(), 0);
        // A server that makes its first database has the folder already.
        let starting = DataDir::open(&path).expect("free");
        assert!(matches!(refused(&path), Failure::Taken(_)));
        drop(starting);
        refused(&path);
        std::fs::create_dir(path.join("db")).expect("a folder");
        std::fs::write(path.join("db/CURRENT"), "").expect("written");
        assert!(DataDir::open_used(&path).is_ok());
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_said_to_be_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data");
        std::fs::write(&path, "no folder").expect("written");
        let why = DataDir::open_used(&path).err().expect("no folder").to_string();
        assert!(!why.contains("no database"), "{why}");
        // As it is for another user than the server's, and root is none.
        let owner = std::os::unix::fs::MetadataExt::uid(&folder.path().metadata().expect("metadata"));
        let why = unseen(&folder.path().join("db"), &std::io::ErrorKind::PermissionDenied.into());
        assert_eq!(why.exit_code(), 2);
        assert!(why.to_string().contains(&format!("sudo -u '#{owner}' depesche")), "{why}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_folder_gets_it_or_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let holder = Mutex::new(DataDir::open(folder.path()).ok());
        let tries = AtomicU32::new(0);
        let opened = patiently(
            |_| {},
            async || {
                if tries.fetch_add(1, Ordering::Relaxed) == 3 {
                    drop(holder.lock().expect("no panic").take());
                }
                DataDir::open(folder.path())
            },
        );
        let _held = opened.await.expect("the holder lets go");
        let refused = patiently(|_| {}, async || DataDir::open(folder.path())).await.err().expect("taken");
        assert!(matches!(refused, Failure::Taken(_)), "{refused}");
    }

    #[test]
    fn private_also_when_it_was_not() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("mode");
        let _data = DataDir::open(folder.path()).expect("free");
        let mode = folder.path().metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
