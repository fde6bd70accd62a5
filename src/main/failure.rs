//! Why a command ends without success, and the exit code that says so.

use std::{fmt, io};

use depesche_config::ConfigError;

/// The end of a command that did not do what it was asked. The text is for the person at the terminal: what happened,
/// and what to do about it.
#[derive(Debug, Eq, PartialEq)]
pub enum Failure {
    /// It was tried and did not work. Exit code 1.
    Failed(String),
    /// The command line, the configuration, the signing key or the database is not such that this program can go on: only
    /// a person mends that, and trying again does not. Exit code 2.
    Usage(String),
    /// A server runs but cannot be reached. Exit code 3.
    Unreachable(String),
    /// Another process has the data folder, and may let go of it. Exit code 3.
    Taken(String),
}

impl Failure {
    /// The exit code, as `depesche --help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) | Self::Taken(_) => 3,
        }
    }

    /// Something was tried and this is why it did not work.
    pub fn failed(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {why}"))
    }
}

/// What to do about an error of the system, where that is known: most who may not are the wrong user, and most file
/// systems that only this server finds read-only were made so for it.
pub fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ". Run this as the user that the server runs as: sudo -u depesche depesche ..."
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            ". A service may write only where ReadWritePaths= in its unit allows it, a container only to its volumes"
        }
        _ => "",
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::Unreachable(text) | Self::Taken(text) => f.write_str(text),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let hint = match &error {
            ConfigError::Unreadable { .. } => {
                "\nName another with --config, or write a first one: depesche config example --name example.org"
            }
            ConfigError::Invalid { .. } => "\nAll keys with their meaning: depesche config example",
        };
        Self::Usage(format!("{error}{hint}"))
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::hint;

    #[test]
    fn what_a_person_can_mend_is_said() {
        let said = |kind: ErrorKind| hint(&kind.into());
        assert!(said(ErrorKind::PermissionDenied).contains("sudo -u depesche"));
        assert!(said(ErrorKind::ReadOnlyFilesystem).contains("ReadWritePaths="));
        assert_eq!(said(ErrorKind::NotADirectory), "");
    }
}
