//! Files that hold a secret: its first line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Error, ErrorKind},
    path::Path,
};

use crate::failure::Failure;

/// The secret in the file that a key of the configuration names.
pub fn of(key: &str, path: &Path) -> Result<String, Failure> {
    first_line_of(path).map_err(|error| Failure::Usage(format!("{key}: {}: {error}", path.display())))
}

/// The first line of a file.
pub fn first_line_of(path: &Path) -> std::io::Result<String> {
    first_line(BufReader::new(File::open(path)?))
}

/// The first line, without its end. An empty one is most likely a mistake.
pub fn first_line(mut from: impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(Error::new(ErrorKind::InvalidData, "the first line is empty"));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn the_first_line_is_the_secret() {
        assert_eq!(first_line(&b" pass word \r\nmore\n"[..]).ok().as_deref(), Some(" pass word "));
        assert_eq!(first_line(&b"no newline"[..]).ok().as_deref(), Some("no newline"));
        assert!(first_line(&b"\nsecond"[..]).is_err());
    }
}
