//! Copies of a running database.
//!
//! A copy is marked by a file, so that whoever opens it starts with positions far above the original's: what the original
//! hands out after the copy is made must not come again. The mark stays until whoever opened it has made it its own. A copy made by other means (a snapshot of the disk)
//! is marked by creating that file by hand.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use depesche_store::ReadError;
use rocksdb::{checkpoint::Checkpoint, properties};
use tokio::sync::oneshot;

use crate::{Database, space, statistics};

/// The file that marks a copy that was not opened yet.
const MARK: &str = "THIS_IS_A_COPY";

pub(crate) async fn checkpoint(database: Arc<Database>, into: PathBuf) -> Result<(), ReadError> {
    let (done, answer) = oneshot::channel();
    // A thread of its own: on another disk it copies everything, and the read pool has better things to do.
    let copy = move || {
        // Nobody waits any more if this fails.
        let _ = done.send(copy(&database, &into));
    };
    let failed = |cause: io::Error| ReadError::Engine(format!("the copy failed: {cause}"));
    thread::Builder::new().name("checkpoint".to_owned()).spawn(copy).map_err(failed)?;
    answer.await.unwrap_or_else(|_| Err(io::Error::other("its thread panicked"))).map_err(failed)
}

/// Under a name of its own first, so that what has the wished name is whole and marked. A copy that fails leaves nothing.
fn copy(database: &Database, into: &Path) -> io::Result<()> {
    if fs::exists(into)? && fs::read_dir(into)?.next().is_some() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("{} is not empty", into.display())));
    }
    let name = into.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let partial = into.with_file_name(format!("{name}.partial"));
    remove(&partial)?;
    let parent = into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let copied = write(database, &partial, parent).and_then(|()| fs::rename(&partial, into));
    if copied.is_err() {
        // RocksDB's own name for what is not whole, and ours. What cannot be removed either is said by the first error.
        let _ = remove(&into.with_file_name(format!("{name}.partial.tmp")));
        let _ = remove(&partial);
    }
    copied?;
    File::open(parent)?.sync_all()
}

/// Copies the database into a folder that is not there, below `parent`.
fn write(database: &Database, partial: &Path, parent: &Path) -> io::Result<()> {
    let size = statistics::figure(&database.db, properties::TOTAL_SST_FILES_SIZE);
    let wanted = if can_link(database, &partial.with_extension("link")) { 0 } else { size };
    space::check_room(parent, wanted, database.reserve)?;
    let written = Checkpoint::new(&database.db).and_then(|checkpoint| checkpoint.create_checkpoint(partial));
    written.map_err(|error| io::Error::other(error.into_string()))?;
    File::create(partial.join(MARK))?.sync_all()?;
    File::open(partial)?.sync_all()
}

/// Whether files of the database can have another name there. If not, RocksDB copies them.
fn can_link(database: &Database, probe: &Path) -> bool {
    let linked = fs::hard_link(database.path.join("CURRENT"), probe).is_ok();
    if linked {
        // One more name of a file of ours does no harm.
        let _ = fs::remove_file(probe);
    }
    linked
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether this is a copy that was not opened yet.
pub(crate) fn is_copy(path: &Path) -> io::Result<bool> {
    fs::exists(path.join(MARK))
}

/// Its positions are reserved: from now on it is a database like others.
pub(crate) fn is_copy_no_more(path: &Path) -> io::Result<()> {
    match fs::remove_file(path.join(MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::open(path)?.sync_all()
}
