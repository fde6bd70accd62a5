//! `[turn]`: servers that carry calls.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::section::{optional, preset, section};

section! {
    /// Servers that carry the sound and picture of calls between people who cannot reach each other directly (TURN, for
    /// example coturn). Without any, such calls stay silent.
    [turn]
    pub struct Turn {
        /// Where they are reached, by "turn:" or "turns:".
        uris: Vec<String> = preset(Vec::new()).shown_as(
            "[\"turns:turn.example.org?transport=tcp\", \"turn:turn.example.org?transport=udp\"]",
        ),
        /// A file that holds the secret which this server shares with them: its first line. In coturn it is
        /// static-auth-secret. Each user gets a name and a password of their own from it, for a while.
        shared_secret_file: Option<PathBuf> = optional("\"/etc/depesche/turn-secret\""),
        /// How long these are good for.
        lifetime: Duration = preset(Duration::from_hours(1))
            .within(Duration::from_mins(5)..=Duration::from_hours(24 * 7)),
        /// For servers without such a secret: one name for all users, who can then go on using it.
        username: Option<String> = optional("\"depesche\""),
        /// A file that holds the password to it: its first line.
        password_file: Option<PathBuf> = optional("\"/etc/depesche/turn-password\""),
    }
}

impl Turn {
    /// Takes relative paths from this folder.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.shared_secret_file, &mut self.password_file].into_iter().flatten() {
            *path = folder.join(&*path).components().collect();
        }
    }
}
