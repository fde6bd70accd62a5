//! Room for a write: on the disk, and in RocksDB's own buffers. Asked before each group.
//!
//! A disk that fills up under RocksDB leaves half-written files and a database that waits for itself. So the last of the
//! disk is kept in reserve for what has been taken already (flushes, compactions, the log of the engine), and no group is
//! begun while less is left: reads go on, writes are refused at once, and go on by themselves when there is room.
//!
//! A write that finds all buffers full would wait for a flush, for however long that takes. It waits here instead, for a
//! bounded time.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use depesche_store::CommitError;
use rocksdb::{DB, properties};

/// How long a group waits for room in the buffers before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(5);
/// Where so many bytes are free beyond the reserve, the disk is looked at again only after [`ROOMY_FOR`].
const ROOMY: u64 = 1 << 30;
/// Too short for a disk to fill so much.
const ROOMY_FOR: Duration = Duration::from_millis(100);
/// Writes go on when this many quarters of the reserve are free, so that they do not stop and go with each file.
const RESUME_QUARTERS: u64 = 5;

/// What the commit thread knows of the room there is.
pub(crate) struct Space {
    path: PathBuf,
    reserve: u64,
    /// The disk was too full for the last group.
    full: bool,
    /// Until when there is room, whatever is written.
    roomy_until: Option<Instant>,
    /// The last group waited in vain for the buffers.
    stalled: bool,
}

impl Space {
    pub(crate) fn new(path: PathBuf, reserve: u64) -> Self {
        Self { path, reserve, full: false, roomy_until: None, stalled: false }
    }

    /// Refuses a group for which there is no room. Waits for the buffers, unless the group before has done so in vain.
    pub(crate) fn check(&mut self, db: &DB) -> Result<(), CommitError> {
        let begun = Instant::now();
        if self.roomy_until.is_none_or(|until| begun > until) {
            self.check_disk()?;
        }
        // A property that cannot be read says nothing against the write.
        while db.property_int_value(properties::IS_WRITE_STOPPED).ok().flatten().unwrap_or_default() > 0 {
            if self.stalled || begun.elapsed() > PATIENCE {
                self.stalled = true;
                return Err(CommitError::Failed(format!(
                    "the disk of {} does not keep up: nothing could be written for {} s; see what else uses it",
                    self.path.display(),
                    PATIENCE.as_secs()
                )));
            }
            thread::sleep(LOOK);
            self.check_disk()?;
        }
        self.stalled = false;
        Ok(())
    }

    fn check_disk(&mut self) -> Result<(), CommitError> {
        let Ok(disk) = rustix::fs::statvfs(&self.path) else { return Ok(()) };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let wanted = if self.full { self.reserve / 4 * RESUME_QUARTERS } else { self.reserve };
        self.full = free < wanted;
        self.roomy_until = (free.saturating_sub(wanted) > ROOMY).then(|| Instant::now() + ROOMY_FOR);
        if !self.full {
            return Ok(());
        }
        Err(CommitError::Failed(format!(
            "the disk is full: {} MB are free, and {} MB are needed so that what is stored stays safe. Make room for {}; \
             writes go on by themselves then",
            free >> 20,
            wanted >> 20,
            self.path.display()
        )))
    }
}

/// Fails if a disk has not room for so many bytes beside what is kept in reserve: for what can wait.
pub fn check_room(path: &Path, bytes: u64, reserve: u64) -> io::Result<()> {
    let disk = rustix::fs::statvfs(path)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let wanted = bytes.saturating_add(reserve);
    if free >= wanted {
        return Ok(());
    }
    let text = format!(
        "there is not enough room: {} MB are free for {}, and {} MB are needed",
        free >> 20,
        path.display(),
        wanted.div_ceil(1 << 20)
    );
    Err(io::Error::new(io::ErrorKind::StorageFull, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_and_writes_go_on_a_little_above_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut space = Space::new(folder.path().to_owned(), 8 << 20);
        let disk = rustix::fs::statvfs(folder.path()).expect("a disk");
        let free = disk.f_bavail * disk.f_frsize;
        assert!(space.check_disk().is_ok() && free > 1 << 30, "the tests need a gigabyte");
        space.reserve = free * 2;
        let refused = space.check_disk().expect_err("too little").to_string();
        assert!(refused.contains("the disk is full") && refused.contains("Make room"), "{refused}");
        // Just enough for a write, but not to begin again.
        space.reserve = free / 10 * 9;
        assert!(space.check_disk().is_err());
        space.reserve = free / 2;
        assert!(space.check_disk().is_ok());
        space.reserve = free / 10 * 9;
        assert!(space.check_disk().is_ok());
    }

    #[test]
    fn room_is_for_what_can_wait_when_the_reserve_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(check_room(folder.path(), 1 << 20, 1 << 20).is_ok());
        for (bytes, reserve) in [(1, u64::MAX), (1 << 60, 0)] {
            let refused = check_room(folder.path(), bytes, reserve).expect_err("too little").to_string();
            assert!(refused.contains("not enough room"), "{refused}");
        }
    }
}
