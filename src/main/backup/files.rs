//! Copying files and folders so that the disk has them, with the hash of each.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use depesche_blobs_files::folders as folders_of_media;
use sha2::{Digest, Sha256};

use super::manifest::Entry;

/// Bytes read at a time.
const PIECE: usize = 256 << 10;
/// Folders below a folder, at most: what we write is flat.
const DEPTH: usize = 8;

/// What lies beside the database and belongs to a backup: the files of media, wherever they are kept.
pub trait Blobs {
    /// The names and sizes of all there are, with `/` between the parts of a name.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;

    /// Writes one to a file that is not there yet, and says what was written. `within` is its name in the backup.
    fn copy(&self, name: &str, to: &Path, within: &str) -> io::Result<Entry>;
}

/// The files of media in a folder. It need not be there.
pub struct MediaFolder(pub PathBuf);

impl Blobs for MediaFolder {
    /// Only what lies where the server puts files: the folder may be a disk of its own, with what others have on it.
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for name in folders_of_media() {
            let folder = self.0.join(&name);
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(about(&folder))?,
            };
            for entry in entries {
                let file = entry.map_err(about(&folder))?.file_name();
                let Some(file) = file.to_str().filter(|file| is_blob(&name, file)) else { continue };
                match fs::symlink_metadata(folder.join(file)) {
                    Ok(metadata) if metadata.is_file() => found.push((format!("{name}/{file}"), metadata.len())),
                    // Deleted since it was listed.
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(about(&folder.join(file))(error));
                    }
                    _ => {}
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn copy(&self, name: &str, to: &Path, within: &str) -> io::Result<Entry> {
        copy_hashed(&self.0.join(name), to, within)
    }
}

/// Whether a file of this name is a blob: it begins with the name of its folder, and is a SHA-256.
fn is_blob(folder: &str, file: &str) -> bool {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    file.len() == 64 && file.starts_with(folder) && file.bytes().all(digit)
}

/// A folder of files. It need not be there.
pub struct Folder(pub PathBuf);

impl Folder {
    /// The names and sizes of its files, sorted.
    pub fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for folder in folders(&self.0)? {
            for entry in fs::read_dir(&folder).map_err(about(&folder))? {
                let path = entry.map_err(about(&folder))?.path();
                let metadata = fs::symlink_metadata(&path).map_err(about(&path))?;
                let name = path.strip_prefix(&self.0).map_err(io::Error::other)?;
                let name = name.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))?;
                if metadata.is_file() {
                    found.push((name.to_owned(), metadata.len()));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

/// A folder and all below it; none if it is not there.
pub fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if !root.exists() {
        return Ok(found);
    }
    let mut waiting = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        if depth > DEPTH {
            return Err(io::Error::other(format!("{} lies too deep", folder.display())));
        }
        for entry in fs::read_dir(&folder).map_err(about(&folder))? {
            let path = entry.map_err(about(&folder))?.path();
            if fs::symlink_metadata(&path).map_err(about(&path))?.is_dir() {
                waiting.push((path, depth + 1));
            }
        }
        found.push(folder);
    }
    Ok(found)
}

/// The name under which something is written until it is whole.
pub fn partial(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(path.with_file_name(format!("{name}.partial")))
}

/// An error with the file it is about.
pub fn about(path: &Path) -> impl Fn(io::Error) -> io::Error + '_ {
    |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Removes a folder, if it is there.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(about(path)(error)),
        _ => Ok(()),
    }
}

/// Gives a file or a folder its name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).map_err(about(to))
}

/// Makes the folders above a file.
pub fn create_parents(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| fs::create_dir_all(folder).map_err(about(folder)))
}

/// Makes sure that the disk has the names in a folder.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(about(path))
}

/// Reads a file to its end, and makes sure that the disk has it; its entry under this name.
pub fn hash(path: &Path, within: &str) -> io::Result<Entry> {
    let mut file = File::open(path).map_err(about(path))?;
    let entry = pass(&mut file, path, &mut io::sink(), path, within)?;
    file.sync_all().map_err(about(path))?;
    Ok(entry)
}

/// Copies a file to one that is not there yet, and makes sure that the disk has it. If there is nothing to copy, nothing
/// is made.
pub fn copy_hashed(from: &Path, to: &Path, within: &str) -> io::Result<Entry> {
    let mut source = File::open(from).map_err(about(from))?;
    let mut copy = File::options().write(true).create_new(true).open(to).map_err(about(to))?;
    let entry = pass(&mut source, from, &mut copy, to, within)?;
    copy.sync_all().map_err(about(to))?;
    Ok(entry)
}

/// Writes a new file into a folder.
pub fn write(folder: &Path, name: &str, mut bytes: &[u8]) -> io::Result<Entry> {
    let path = folder.join(name);
    let mut file = File::options().write(true).create_new(true).open(&path).map_err(about(&path))?;
    let entry = pass(&mut bytes, &path, &mut file, &path, name)?;
    file.sync_all().map_err(about(&path))?;
    Ok(entry)
}

/// Reads one to its end and writes it to the other; the paths are for errors.
fn pass(
    from: &mut impl Read,
    from_path: &Path,
    to: &mut impl Write,
    to_path: &Path,
    within: &str,
) -> io::Result<Entry> {
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let read = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(about(from_path))?,
        };
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        to.write_all(bytes).map_err(about(to_path))?;
        size += bytes.len() as u64;
    }
    Ok(Entry { name: within.to_owned(), size, sha256: hash.finalize().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_users_are_media() {
        let folder = tempfile::tempdir().expect("a folder");
        let media = MediaFolder(folder.path().join("media"));
        assert_eq!(media.list().expect("not there"), []);
        let name = format!("ab/{}", "ab".repeat(32));
        for file in [&name, "ab/notes.txt", "tmp/depesche-upload-x", "lost+found/x", "media.lock", "ab/deep/x"] {
            let path = media.0.join(file);
            create_parents(&path).expect("folders");
            fs::write(path, "xyz").expect("written");
        }
        assert_eq!(media.list().expect("read"), [(name.clone(), 3)]);
        let copy = folder.path().join("copy");
        assert_eq!(media.copy(&name, &copy, "media/x").expect("copied").size, 3);
        // One that was deleted since it was listed leaves no empty file.
        let gone = folder.path().join("gone");
        let error = media.copy("ab/none", &gone, "media/y").expect_err("deleted");
        assert!(error.kind() == io::ErrorKind::NotFound && error.to_string().contains("ab/none"), "{error}");
        assert!(!gone.exists());
    }

    #[test]
    fn errors_name_their_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = folder.path().join("missing");
        for error in [
            hash(&missing, "x").expect_err("missing"),
            copy_hashed(&missing, &folder.path().join("to"), "x").expect_err("missing"),
            write(&missing, "x", b"x").expect_err("missing"),
            sync_folder(&missing).expect_err("missing"),
            rename(&missing, &missing.join("to")).expect_err("missing"),
        ] {
            assert!(error.to_string().contains("missing"), "{error}");
        }
    }
}
