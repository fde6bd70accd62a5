//! The configuration: one TOML file, one module per section.
//!
//! A section is declared once, by the macro in `section.rs`: the declaration gives the struct, the reader, the defaults
//! and the text of `config.example.toml`. Reading reports every problem at once, each with its line, its key and, for a
//! misspelt name, the nearest valid one. Whoever holds a [`Config`] may rely on it: values are in their ranges and
//! combinations that cannot work have been refused.
//!
//! What this crate does not do: it opens no file but the configuration itself (paths of secrets are only resolved), and
//! it holds no secret, so that a `Config` may be printed.

mod accounts;
mod check;
mod example;
mod federation;
mod limits;
mod log;
mod media;
mod metrics;
mod outgoing;
mod presence;
mod previews;
mod problem;
mod push;
mod rate_limits;
mod registration;
mod rooms;
mod search;
mod section;
mod server;
mod store;
mod support;
#[cfg(test)]
mod tests;
mod turn;
mod value;

use std::path::{Path, PathBuf};

pub use accounts::{Accounts, DisplayName, PasswordPart};
pub use federation::Federation;
pub use limits::Limits;
pub use log::{Log, LogFormat};
pub use media::{LegacyMedia, Media, ObjectStore};
pub use metrics::Metrics;
pub use outgoing::Outgoing;
pub use presence::Presence;
pub use previews::Previews;
pub use problem::{ConfigError, Problem};
pub use push::{Badge, Push};
pub use rate_limits::RateLimits;
pub use registration::{Registration, RegistrationMode, Term};
pub use rooms::Rooms;
pub use search::Search;
use section::{Section, Shown, Source};
pub use server::Server;
pub use store::Store;
pub use support::{Contact, Support};
pub use turn::Turn;

/// Where the configuration is looked for when neither `--config` nor `DEPESCHE_CONFIG` names a file.
pub const DEFAULT_PATH: &str = "/etc/depesche/config.toml";

/// Calls the macro named with all sections, in the order in which they stand in the file.
macro_rules! with_sections {
    ($call:ident) => {
        $call! {
            /// What this server is called and where it listens.
            server: Server,
            /// What it writes about itself.
            log: Log,
            /// Figures for monitoring.
            metrics: Metrics,
            /// The embedded database.
            store: Store,
            /// Who may make an account.
            registration: Registration,
            /// Passwords, sessions and what users may change.
            accounts: Accounts,
            /// New rooms.
            rooms: Rooms,
            /// Files that users upload.
            media: Media,
            /// Who is there.
            presence: Presence,
            /// Finding messages.
            search: Search,
            /// Whom users ask for help.
            support: Support,
            /// Bounds on what clients may ask for.
            limits: Limits,
            /// Telling phones of events.
            push: Push,
            /// Requests to others.
            outgoing: Outgoing,
            /// Servers that carry calls.
            turn: Turn,
            /// How often clients may ask.
            rate_limits: RateLimits,
            /// Other servers.
            federation: Federation,
        }
    };
}

macro_rules! declare_config {
    ($($(#[$doc:meta])* $name:ident: $Section:ty,)*) => {
        /// The configuration in force.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[$doc])* pub $name: $Section,)*
        }

        impl Config {
            fn read(source: &mut Source<'_>) -> Option<Self> {
                $(let $name = source.section::<$Section>();)*
                source.no_other_sections(&[$(<$Section>::NAME),*]);
                Some(Self { $($name: $name?,)* })
            }

            fn describe() -> Vec<section::Description> {
                vec![$(<$Section>::describe()),*]
            }

            fn values(&self) -> Vec<Vec<Shown>> {
                vec![$(self.$name.values()),*]
            }
        }
    };
}
with_sections!(declare_config);

impl Config {
    /// The key of the signing key's file, as [`Self::secret_files`] names it.
    pub const SIGNING_KEY: &str = "server.signing_key_file";

    /// Reads a configuration file. Relative paths in it are taken from the folder it lies in.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error: error.to_string() })?;
        let folder = std::path::absolute(path)
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned))
            .unwrap_or_else(|| PathBuf::from("/"));
        Self::parse_in(Some(&folder), &text)
            .map_err(|problems| ConfigError::Invalid { path: path.to_owned(), problems })
    }

    /// Reads the text of a configuration file; paths stay as they are written.
    pub fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        Self::parse_in(None, text)
    }

    fn parse_in(folder: Option<&Path>, text: &str) -> Result<Self, Vec<Problem>> {
        let mut source = Source::new(text)?;
        let mut config = Self::read(&mut source);
        if let Some(config) = &mut config {
            // Before the checks: how long a path is counts as it is in force.
            if let Some(folder) = folder {
                config.server.resolve(folder);
                config.media.resolve(folder);
                config.turn.resolve(folder);
            }
            check::combinations(config, &mut source);
        }
        match (config, source.into_problems()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(problems),
        }
    }

    /// The defaults under a server name. For tests and tools.
    pub fn named(name: &ruma::ServerName) -> Self {
        Self::parse(&format!("[server]\nname = \"{name}\"\n"))
            .expect("a configuration that sets only what has no default is valid, which a test holds")
    }

    /// The text of `config.example.toml`: every key with its meaning and its default.
    pub fn example() -> String {
        example::example(&Self::describe(), &[])
    }

    /// The example with some keys set, given as `section.key` and a value in TOML: a first configuration.
    pub fn example_with(set: &[(&str, String)]) -> String {
        example::example(&Self::describe(), set)
    }

    /// What is in force, as TOML: every key, marked where it is the default.
    pub fn in_force(&self) -> String {
        example::in_force(&Self::describe(), &self.values())
    }

    /// The files that are for the server's eyes alone, by their keys: the signing key, always; and those that the
    /// configuration names for secrets, which it does not hold itself.
    pub fn secret_files(&self) -> Vec<(&'static str, PathBuf)> {
        let (turn, store) = (&self.turn, self.media.store.as_ref());
        let named = [
            ("turn.shared_secret_file", turn.shared_secret_file.as_ref()),
            ("turn.password_file", turn.password_file.as_ref()),
            ("media.store.access_key_id_file", store.map(|store| &store.access_key_id_file)),
            ("media.store.secret_access_key_file", store.map(|store| &store.secret_access_key_file)),
        ];
        let named = named.into_iter().filter_map(|(key, path)| Some((key, path?.clone())));
        std::iter::once((Self::SIGNING_KEY, self.server.signing_key_file())).chain(named).collect()
    }

    /// Every key there is, as `section.key`.
    pub fn keys() -> Vec<String> {
        Self::describe()
            .iter()
            .flat_map(|section| section.keys.iter().map(|key| format!("{}.{}", section.name, key.name)))
            .collect()
    }
}
