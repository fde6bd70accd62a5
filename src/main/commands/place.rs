//! Whether what the server wrote is where the command can see it. A server in a container, or under systemd with
//! `PrivateTmp=`, has folders of its own under the names that others have: what it writes there vanishes with it.

use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// A place that the server is asked to fill.
pub struct Place {
    folder: PathBuf,
    /// The file in it that is there when it is whole.
    mark: PathBuf,
}

/// A place that is not filled yet, as the command sees it.
pub fn place(folder: &Path, mark: &str) -> Result<Place, Failure> {
    let place = Place { folder: folder.to_owned(), mark: folder.join(mark) };
    if place.mark.exists() {
        return Err(Failure::Failed(format!("{} is there already: name another folder", folder.display())));
    }
    if let Some(above) = folder.parent().filter(|above| above.try_exists().is_ok_and(|is_there| !is_there)) {
        return Err(Failure::Failed(format!(
            "there is no folder {}: make it first. The server must be allowed to write there",
            above.display()
        )));
    }
    Ok(place)
}

impl Place {
    /// Fails if the server says that it is filled and it is not.
    pub fn is_there(&self) -> Result<(), Failure> {
        // What cannot be looked at is not missing.
        if self.mark.try_exists().unwrap_or(true) {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "it was written to {}, but where only the server sees it (in a container, or in a folder that systemd makes for \
             the service alone, as for all below /tmp), and may vanish with it. Name a folder that both see; the service \
             must be allowed to write there (ReadWritePaths= in its unit, a volume of the container)",
            self.folder.display()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn what_only_the_server_sees_is_not_taken_for_done() {
        let folder = tempfile::tempdir().expect("a folder");
        let into = folder.path().join("backup");
        let filled = place(&into, "manifest.json").expect("not there yet");
        let failure = filled.is_there().expect_err("the server wrote elsewhere").to_string();
        assert!(failure.contains("only the server sees it"), "{failure}");
        std::fs::create_dir(&into).expect("a folder");
        std::fs::write(into.join("manifest.json"), "{}").expect("written");
        assert_eq!(filled.is_there(), Ok(()));
        assert!(place(&into, "manifest.json").is_err(), "an older one would be taken for the new one");
        let failure = place(&folder.path().join("none/backup"), "manifest.json").err().expect("no folder").to_string();
        assert!(failure.contains("there is no folder") && failure.contains("none: make it first"), "{failure}");
    }
}
