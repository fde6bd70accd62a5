//! The file of the key that signs events: one line, `ed25519 <version> <seed in base64>`, the form other homeservers use.

use std::{
    fmt,
    fs::{self, File},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::failure::Failure;

/// Matrix writes base64 without padding; keys made elsewhere may have it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A signing key.
#[derive(Clone, Eq, PartialEq)]
pub struct SigningKey {
    /// Tells the server's keys apart: `ed25519:<version>` is the key's id.
    pub version: String,
    /// The secret.
    pub seed: [u8; 32],
}

// The seed is a secret: it does not belong into a log or a panic message.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(ed25519:{})", self.version)
    }
}

impl SigningKey {
    /// A new key.
    pub fn generate() -> Self {
        Self { version: format!("a_{:04x}", rand::random::<u16>()), seed: rand::random() }
    }

    /// Reads the file.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::failed(format_args!("cannot read the signing key {}", path.display()), error))?;
        Self::parse(&text).ok_or_else(|| {
            Failure::Failed(format!(
                "{} does not hold a signing key: a line \"ed25519 <version> <seed in base64>\" is wanted",
                path.display()
            ))
        })
    }

    /// Writes the file, which must not be there yet, and makes sure that the disk has it.
    pub fn create(&self, path: &Path) -> Result<(), Failure> {
        let write = || {
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
            writeln!(file, "ed25519 {} {}", self.version, BASE64.encode(self.seed))?;
            file.sync_all()?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        write().map_err(|error: std::io::Error| {
            Failure::failed(format_args!("cannot write the signing key {}", path.display()), error)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let mut words = lines.next()?.split_whitespace();
        let ("ed25519", version, seed) = (words.next()?, words.next()?, words.next()?) else { return None };
        let valid = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let seed = BASE64.decode(seed).ok()?.try_into().ok()?;
        let ends = words.next().is_none() && lines.next().is_none();
        (valid && ends).then(|| Self { version: version.to_owned(), seed })
    }
}

/// Whether others than the owner may read this file. Secrets must not be.
pub fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{SigningKey, readable_by_others};

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("signing.key");
        let key = SigningKey::generate();
        key.create(&path).expect("written");
        assert_eq!(SigningKey::read(&path), Ok(key.clone()));
        assert!(!readable_by_others(&path));
        assert!(key.create(&path).is_err(), "a key is never overwritten");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("mode");
        assert!(readable_by_others(&path));
    }

    #[test]
    fn keys_of_other_servers_are_read_and_other_text_is_not() {
        let seed = "3VlfKZqPIqmiTbrrSkpMLzTW7OQPIGbnYFjXbzoUwbk";
        for line in [format!("ed25519 a_test {seed}\n"), format!("ed25519 1 {seed}=\n")] {
            assert!(SigningKey::parse(&line).is_some(), "{line}");
        }
        for line in [
            "",
            "ed25519 a",
            "ed25519 a AAAA",
            "rsa a b",
            &format!("ed25519 a:b {seed}"),
            &format!("ed25519 a {seed} x"),
        ] {
            assert_eq!(SigningKey::parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_seed_is_not_shown() {
        assert_eq!(format!("{:?}", SigningKey { version: "1".to_owned(), seed: [7; 32] }), "SigningKey(ed25519:1)");
    }
}
