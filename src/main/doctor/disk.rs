//! The disk under the data folder: room on it, and how long it takes to make a write safe.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use super::Finding;

/// Less than this and it is time to think about it: the database needs room to rewrite itself.
const LITTLE: u64 = 2 << 30;
/// How many writes are timed.
const WRITES: usize = 15;
/// A write that takes longer is felt by those who chat: each message waits for one.
const SLOW: Duration = Duration::from_millis(20);

/// Room on the disk. With less than `reserve` bytes the server refuses writes.
pub fn space(data_dir: &Path, reserve: u64) -> Option<Finding> {
    let disk = rustix::fs::statvfs(data_dir).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let shown = format!("{} MB are free for {}", free >> 20, data_dir.display());
    Some(match free {
        free if free < (reserve / 4).saturating_mul(5) => {
            Finding::wrong(format!("only {shown}; make room, or writes are refused"))
        }
        free if free < LITTLE => Finding::warning(format!("only {shown}")),
        _ => Finding::ok(shown),
    })
}

pub fn sync_time(data_dir: &Path) -> Finding {
    match median_sync(&data_dir.join("doctor.tmp")) {
        Err(error) => Finding::wrong(format!("cannot write to {}: {error}", data_dir.display())),
        Ok(median) => {
            let text = format!("the disk makes a write safe in {:.1} ms (median)", median.as_secs_f64() * 1000.0);
            if median > SLOW { Finding::warning(format!("{text}; that is slow")) } else { Finding::ok(text) }
        }
    }
}

fn median_sync(path: &Path) -> std::io::Result<Duration> {
    let mut file = File::create(path)?;
    let mut times = Vec::with_capacity(WRITES);
    let outcome = (0..WRITES).try_for_each(|_| {
        let begun = Instant::now();
        file.write_all(&[0x5A; 4096])?;
        file.sync_data()?;
        times.push(begun.elapsed());
        Ok(())
    });
    fs::remove_file(path)?;
    outcome.map(|()| {
        times.sort();
        times[WRITES / 2]
    })
}

#[cfg(test)]
mod tests {
    use super::{Finding, space, sync_time};
    use crate::doctor::Level;

    #[test]
    fn the_disk_is_measured_and_left_as_it_was() {
        let data = tempfile::tempdir().expect("a folder");
        let Finding { level, text } = sync_time(data.path());
        assert_ne!(level, Level::Wrong, "{text}");
        assert_eq!(space(data.path(), 0).map(|found| found.level != Level::Wrong), Some(true));
        assert_eq!(space(data.path(), u64::MAX).map(|found| found.level), Some(Level::Wrong));
        assert_eq!(data.path().read_dir().expect("a folder").count(), 0);
        assert_eq!(sync_time(&data.path().join("none")).level, Level::Wrong);
    }
}
