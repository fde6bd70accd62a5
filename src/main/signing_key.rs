//! The file of the key that signs events: its mode, and that it is written once. What stands in it is
//! [`depesche_rules::signing`]'s.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use depesche_rules::signing::SigningKey;

use crate::{
    backup::files,
    failure::{Failure, hint},
};

/// Reads the file.
pub fn read(path: &Path) -> Result<SigningKey, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::Usage(format!("cannot read the signing key {}: {error}{}", path.display(), hint(&error)))
    })?;
    SigningKey::parse(&text)
        .map_err(|error| Failure::Usage(format!("{} does not hold a signing key: {error}", path.display())))
}

/// Writes a new key into a file that must not be there yet, and makes sure that the disk has it. The file gets its name
/// when the key is in it: a full disk leaves none without a key, which the next start would refuse.
pub fn create(path: &Path) -> Result<SigningKey, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format_args!("cannot write the signing key {}", path.display()), error)
    };
    // The version tells this server's keys apart, should it ever have another one.
    let version = format!("a_{:04x}", rand::random::<u16>());
    let key = SigningKey::from_seed(rand::random(), &version).map_err(|error| failed(&error))?;
    let partial = files::partial(path).map_err(|error| failed(&error))?;
    let written = write(&partial, key.to_text().as_bytes()).and_then(|()| fs::hard_link(&partial, path));
    // It has its name, or is not whole.
    let _ = fs::remove_file(&partial);
    let synced = written.and_then(|()| path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()));
    synced.map_err(|error| failed(&error))?;
    Ok(key)
}

/// Writes a file of the owner's alone, in the place of what an earlier attempt left.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether others than the owner may read this file. Secrets must not be.
pub fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{create, read, readable_by_others};

    #[test]
    fn what_is_written_is_read_and_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signing.key");
        let key = create(&path).expect("written");
        assert_eq!(read(&path).expect("read").to_text(), key.to_text());
        assert!(!readable_by_others(&path));
        assert!(create(&path).is_err(), "a key is never overwritten");
        assert_eq!(read(&path).expect("read").to_text(), key.to_text());
        assert_eq!(folder.path().read_dir().expect("a folder").count(), 1, "nothing is left over");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("mode");
        assert!(readable_by_others(&path));
    }

    #[test]
    fn a_key_that_was_not_written_whole_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signing.key");
        // What a full disk left of an earlier attempt.
        std::fs::write(folder.path().join("signing.key.partial"), "").expect("written");
        let key = create(&path).expect("written");
        assert_eq!(read(&path).expect("read").to_text(), key.to_text());
        // The full disk itself: what is written to is not what gets the name.
        let other = folder.path().join("other.key");
        std::fs::create_dir(folder.path().join("other.key.partial")).expect("a folder");
        assert!(create(&other).is_err() && !other.exists());
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_not_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signing.key");
        std::fs::write(&path, "ed25519 a secret-but-broken\n").expect("written");
        let refused = read(&path).expect_err("no key");
        assert_eq!(refused.exit_code(), 2, "no restart mends it");
        let refused = refused.to_string();
        assert!(refused.contains("does not hold a signing key") && !refused.contains("secret"), "{refused}");
    }
}
