//! The file of the key that signs events: its mode, and that it is written once. What stands in it is
//! [`depesche_rules::signing`]'s.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use depesche_rules::signing::SigningKey;

use crate::failure::Failure;

/// Reads the file.
pub fn read(path: &Path) -> Result<SigningKey, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::failed(format_args!("cannot read the signing key {}", path.display()), error))?;
    SigningKey::parse(&text)
        .map_err(|error| Failure::failed(format_args!("{} does not hold a signing key", path.display()), error))
}

/// Writes a new key into a file that must not be there yet, and makes sure that the disk has it.
pub fn create(path: &Path) -> Result<SigningKey, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format_args!("cannot write the signing key {}", path.display()), error)
    };
    // The version tells this server's keys apart, should it ever have another one.
    let version = format!("a_{:04x}", rand::random::<u16>());
    let key = SigningKey::from_seed(rand::random(), &version).map_err(|error| failed(&error))?;
    let write = || {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(key.to_text().as_bytes())?;
        file.sync_all()?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|error: std::io::Error| failed(&error))?;
    Ok(key)
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
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("mode");
        assert!(readable_by_others(&path));
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_not_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signing.key");
        std::fs::write(&path, "ed25519 a secret-but-broken\n").expect("written");
        let refused = read(&path).expect_err("no key").to_string();
        assert!(refused.contains("does not hold a signing key") && !refused.contains("secret"), "{refused}");
    }
}
