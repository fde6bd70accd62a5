//! A folder of media in the hands of one process: its lock, the room on its disk, and what is not whole yet.
//!
//! What is not whole lies in `tmp/`, under names of its own: what else lies there belongs to somebody else, since an
//! operator may name any folder.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

/// The folder of what is not whole yet.
const TMP: &str = "tmp";
/// The file whose lock says that a process has the folder.
const LOCK: &str = "media.lock";
/// How the names of uploads under way begin.
const UPLOAD: &str = "depesche-upload-";
/// Where a restore gathers files.
const RESTORE: &str = "depesche-restore";

/// The sole use of a folder of media, until it is dropped. The system releases it also when the process is killed.
#[derive(Debug)]
pub struct Claim {
    folder: PathBuf,
    reserve: u64,
    // None where the file system has no locks.
    _lock: Option<File>,
}

impl Claim {
    /// Takes the folder, makes it if it is not there, and clears what a crash left of uploads and restores. Files are
    /// taken as long as `reserve` bytes of its disk are free.
    pub fn take(folder: &Path, reserve: u64) -> io::Result<Self> {
        fs::create_dir_all(folder.join(TMP)).map_err(|error| of(&folder.join(TMP), &error))?;
        let claim = Self { folder: folder.to_owned(), reserve, _lock: lock(&folder.join(LOCK))? };
        claim.clear()?;
        Ok(claim)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An empty file for an upload. Dropped, it is gone.
    pub fn upload(&self) -> io::Result<NamedTempFile> {
        self.check_room()?;
        let tmp = self.folder.join(TMP);
        tempfile::Builder::new().prefix(UPLOAD).tempfile_in(&tmp).map_err(|error| of(&tmp, &error))
    }

    /// Where a restore gathers files before they get their places, which are on the same file system.
    pub fn restore(&self) -> PathBuf {
        self.folder.join(TMP).join(RESTORE)
    }

    /// Fails if the disk has not more than the reserve: the database may need it to keep what it has.
    pub fn check_room(&self) -> io::Result<()> {
        // Where nobody can tell, the write itself will.
        let Ok(disk) = rustix::fs::statvfs(&self.folder) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= self.reserve {
            return Ok(());
        }
        let (folder, free, wanted) = (self.folder.display(), free >> 20, self.reserve >> 20);
        let text = format!(
            "the disk is full: {free} MB are free for {folder}, and files are taken while there are {wanted} MB. Make room"
        );
        Err(io::Error::new(io::ErrorKind::StorageFull, text))
    }

    /// Removes what uploads and restores left. What has other names is not ours.
    fn clear(&self) -> io::Result<()> {
        let tmp = self.folder.join(TMP);
        for entry in fs::read_dir(&tmp).map_err(|error| of(&tmp, &error))? {
            let entry = entry.map_err(|error| of(&tmp, &error))?;
            let (name, path) = (entry.file_name(), entry.path());
            let removed = if name == RESTORE {
                fs::remove_dir_all(&path)
            } else if name.to_str().is_some_and(|name| name.starts_with(UPLOAD)) {
                fs::remove_file(&path)
            } else {
                Ok(())
            };
            removed.map_err(|error| of(&path, &error))?;
        }
        Ok(())
    }
}

fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| of(path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another server uses this folder: each server needs one of its own",
        )),
        // Some network file systems.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(None),
        Err(TryLockError::Error(error)) => Err(of(path, &error)),
    }
}

/// The error with the file it is about.
fn of(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
