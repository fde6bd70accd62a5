//! Copying files and folders so that the disk has them, with the hash of each.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

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

/// A folder of files. It need not be there.
pub struct Folder(pub PathBuf);

impl Folder {
    /// The names and sizes of its files, sorted. What is being written (`tmp/`) is not among them.
    pub fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for folder in folders(&self.0)? {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let metadata = fs::symlink_metadata(&path)?;
                let name = path.strip_prefix(&self.0).map_err(io::Error::other)?;
                let name = name.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))?;
                if metadata.is_file() && !name.starts_with("tmp/") {
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
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if fs::symlink_metadata(&path)?.is_dir() {
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

/// Removes a folder, if it is there.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the folders above a file.
pub fn create_parents(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Makes sure that the disk has the names in a folder.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Reads a file to its end; its entry under this name.
pub fn hash(path: &Path, within: &str) -> io::Result<Entry> {
    pass(&mut File::open(path)?, &mut io::sink(), within)
}

/// Copies a file to one that is not there yet, and makes sure that the disk has it.
pub fn copy_hashed(from: &Path, to: &Path, within: &str) -> io::Result<Entry> {
    let mut copy = File::options().write(true).create_new(true).open(to)?;
    let entry = pass(&mut File::open(from)?, &mut copy, within)?;
    copy.sync_all()?;
    Ok(entry)
}

/// Writes a new file into a folder.
pub fn write(folder: &Path, name: &str, mut bytes: &[u8]) -> io::Result<Entry> {
    let mut file = File::options().write(true).create_new(true).open(folder.join(name))?;
    let entry = pass(&mut bytes, &mut file, name)?;
    file.sync_all()?;
    Ok(entry)
}

fn pass(from: &mut impl Read, to: &mut impl Write, within: &str) -> io::Result<Entry> {
    let (mut hash, mut size, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        let read = match from.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(bytes) = piece.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hash.update(bytes);
        to.write_all(bytes)?;
        size += bytes.len() as u64;
    }
    Ok(Entry { name: within.to_owned(), size, sha256: hash.finalize().into() })
}
