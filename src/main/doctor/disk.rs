//! The disk under the data folder: room on it, and how long it takes to make a write safe.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use depesche_config::Config;

use super::Finding;
use crate::{failure::hint, media};

/// Less than this and it is time to think about it: the database needs room to rewrite itself.
const LITTLE: u64 = 2 << 30;
/// How many writes are timed.
const WRITES: usize = 15;
/// A write that takes longer is felt by those who chat: each message waits for one.
const SLOW: Duration = Duration::from_millis(20);

/// Room on the disk of a folder. With less than `reserve` bytes the server refuses what the last argument says.
pub fn space(folder: &Path, reserve: u64, refused: &str) -> Option<Finding> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let shown = format!("{} MB are free for {}", free >> 20, folder.display());
    Some(match free {
        free if free < (reserve / 4).saturating_mul(5) => {
            Finding::wrong(format!("only {shown}; make room, or {refused} are refused"))
        }
        free if free < LITTLE => Finding::warning(format!("only {shown}")),
        _ => Finding::ok(shown),
    })
}

/// Room for the files of users, where they have a disk of their own.
pub fn space_for_media(config: &Config) -> Option<Finding> {
    let data_dir = &config.server.data_dir;
    let folder = config.media.dir(data_dir);
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let apart = device(&folder)? != device(data_dir)?;
    apart.then(|| space(&folder, media::reserve(config), "uploads")).flatten()
}

pub fn sync_time(data_dir: &Path) -> Finding {
    match median_sync(&data_dir.join("doctor.tmp")) {
        Err(error) => Finding::wrong(format!("cannot write to {}: {error}{}", data_dir.display(), hint(&error))),
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
    use depesche_config::Config;

    use super::{Finding, space, space_for_media, sync_time};
    use crate::doctor::Level;

    #[test]
    fn a_disk_of_its_own_for_media_is_looked_at() {
        let data = tempfile::tempdir().expect("a folder");
        let config = |media: &str| {
            let text = format!("[server]\nname = \"example.org\"\ndata_dir = {:?}\n[media]\n{media}\n", data.path());
            Config::parse(&text).expect("valid")
        };
        std::fs::create_dir(data.path().join("media")).expect("a folder");
        assert!(space_for_media(&config("")).is_none(), "it shares the disk of the database");
        // On Linux a file system of its own everywhere, and with no room on it.
        let found = space_for_media(&config("dir = \"/proc\"")).expect("a finding");
        assert!(found.level == Level::Wrong && found.text.contains("uploads are refused"), "{found:?}");
    }

    #[test]
    fn the_disk_is_measured_and_left_as_it_was() {
        let data = tempfile::tempdir().expect("a folder");
        let Finding { level, text } = sync_time(data.path());
        assert_ne!(level, Level::Wrong, "{text}");
        assert_eq!(space(data.path(), 0, "writes").map(|found| found.level != Level::Wrong), Some(true));
        assert_eq!(space(data.path(), u64::MAX, "writes").map(|found| found.level), Some(Level::Wrong));
        assert_eq!(data.path().read_dir().expect("a folder").count(), 0);
        assert_eq!(sync_time(&data.path().join("none")).level, Level::Wrong);
    }
}
