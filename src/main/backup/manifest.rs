//! The manifest of a backup: what it is of, and every file with its size and hash.

use std::fmt::Write as _;
use std::path::{Component, Path};

use serde_json::{Value, json};

/// The version of the layout. A backup of a higher one is refused.
const FORMAT: u64 = 1;

/// What a backup says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// The version of the program that made it.
    pub version: String,
    /// Whose it is.
    pub server_name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The files that the configuration names and that the backup does not have, by their keys: secrets.
    pub secrets: Vec<(String, String)>,
    /// Where the files of media lie, if that is an object store: then the backup does not have them.
    pub media_elsewhere: Option<String>,
    /// Every file but the manifest.
    pub files: Vec<Entry>,
}

/// One file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its path in the backup, with `/` between the parts.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

impl Manifest {
    /// As it is written.
    pub fn to_text(&self) -> String {
        let files = self.files.iter();
        let files: Vec<_> =
            files.map(|file| json!({ "name": file.name, "size": file.size, "sha256": hex(&file.sha256) })).collect();
        let secrets = self.secrets.iter().map(|(key, file)| json!({ "key": key, "file": file })).collect::<Vec<_>>();
        let manifest = json!({
            "format": FORMAT, "version": self.version, "server_name": self.server_name, "created_ms": self.created_ms,
            "secrets": secrets, "media_elsewhere": self.media_elsewhere, "files": files,
        });
        format!("{manifest:#}\n")
    }

    /// Reads what [`Self::to_text`] wrote. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let format = value["format"].as_u64().ok_or("it names no format")?;
        if format > FORMAT {
            return Err(format!("it has format {format}, and this program knows {FORMAT}: a newer program made it"));
        }
        let text = |value: &Value, name: &str| {
            value[name].as_str().map(str::to_owned).ok_or_else(|| format!("\"{name}\" is missing"))
        };
        let list = |name: &str| value[name].as_array().ok_or_else(|| format!("\"{name}\" is missing"));
        let entry = |file: &Value| {
            let (name, hash) = (text(file, "name")?, text(file, "sha256")?);
            let sha256 = unhex(&hash).ok_or_else(|| format!("the hash of {name} is none"))?;
            let size = file["size"].as_u64().ok_or_else(|| format!("the size of {name} is missing"))?;
            if is_inside(&name) { Ok(Entry { name, size, sha256 }) } else { Err(format!("{name} lies outside")) }
        };
        Ok(Self {
            version: text(&value, "version")?,
            server_name: text(&value, "server_name")?,
            created_ms: value["created_ms"].as_u64().ok_or("\"created_ms\" is missing")?,
            secrets: list("secrets")?
                .iter()
                .map(|secret| Ok((text(secret, "key")?, text(secret, "file")?)))
                .collect::<Result<_, String>>()?,
            media_elsewhere: value["media_elsewhere"].as_str().map(str::to_owned),
            files: list("files")?.iter().map(entry).collect::<Result<_, String>>()?,
        })
    }
}

/// Whether a name leads into the backup and nowhere else.
fn is_inside(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let manifest = Manifest {
            version: "0.1.0".into(),
            server_name: "agency.test".into(),
            created_ms: 7,
            secrets: vec![("media.secret_file".into(), "/etc/secret".into())],
            media_elsewhere: Some("the bucket b".into()),
            files: vec![Entry { name: "db/CURRENT".into(), size: 3, sha256: [0xAB; 32] }],
        };
        let text = manifest.to_text();
        assert_eq!(Manifest::parse(&text).as_ref(), Ok(&manifest));
        let here = Manifest { media_elsewhere: None, ..manifest };
        assert_eq!(Manifest::parse(&here.to_text()).as_ref(), Ok(&here));
        assert!(
            Manifest::parse(&text.replace("\"format\": 1", "\"format\": 2")).is_err_and(|why| why.contains("newer"))
        );
        for outside in ["../CURRENT", "/etc/passwd", "db/../../x", ""] {
            let text = text.replace("db/CURRENT", outside);
            assert!(Manifest::parse(&text).is_err_and(|why| why.contains("outside")), "{outside}");
        }
        assert!(Manifest::parse(&text.replace("abab", "xyz0")).is_err());
        assert!(Manifest::parse("{}").is_err());
    }
}
