//! The server under test: which one, how it is configured, and the one that most cases share.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::{self, Process};
use crate::{Client, User, targets};

/// The server name of every target: the part of the user ids behind the colon.
pub const SERVER_NAME: &str = "depesche.test";

/// The messages at once of a user where [`Options::limited`] is set.
pub const LIMITED_MESSAGES: u32 = 5;
/// The logins at once from an address where [`Options::limited`] is set.
pub const LIMITED_LOGINS: u32 = 5;
/// The requests of each kind at once where [`Options::scarce`] is set.
pub const SCARCE: u32 = 5;
/// What one user may upload in all where [`Options::small_quota`] is set: a megabyte.
pub const SMALL_QUOTA: usize = 1 << 20;

/// Where the servers that carry calls are said to be.
pub const TURN_URIS: [&str; 2] = ["turns:turn.depesche.test?transport=tcp", "turn:turn.depesche.test"];
/// What they share with the server, or the password there.
pub const TURN_SECRET: &str = "a secret of turn";

/// How the servers that carry calls know users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// By what is made from [`TURN_SECRET`].
    SharedSecret,
    /// All by the name `everyone`.
    Fixed,
}

/// What the cases run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The binary of this workspace (`DEPESCHE_BIN`, else the one beside the tests).
    Depesche,
    /// The oracle: a Synapse in the virtual environment `DEPESCHE_SYNAPSE`.
    Synapse,
}

/// The target that `DEPESCHE_TARGET` chooses: `depesche` (the default) or `synapse`.
pub fn target() -> Target {
    match std::env::var("DEPESCHE_TARGET").as_deref() {
        Err(_) | Ok("" | "depesche") => Target::Depesche,
        Ok("synapse") => Target::Synapse,
        Ok(other) => panic!("DEPESCHE_TARGET is {other:?}; it may be \"depesche\" or \"synapse\""),
    }
}

/// Asserts what each of the two does where Synapse does not follow `section` of the specification.
///
/// The row of the case in `oracle.tsv` then says `differs` and names the section, which is why it is a literal.
pub fn differs<T>(section: &'static str, ours: impl FnOnce() -> T, synapse: impl FnOnce() -> T) -> T {
    assert!(section.contains('#'), "name page and section, such as \"client-server-api#login\": {section:?}");
    match target() {
        Target::Depesche => ours(),
        Target::Synapse => synapse(),
    }
}

/// How people may register on a server of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Anyone, with `m.login.dummy`.
    #[default]
    Open,
    /// With a registration token.
    Token,
    /// Anyone who accepts the terms.
    Terms,
    /// Nobody.
    Closed,
}

/// What a case may choose about a server of its own.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Who may register.
    pub registration: Registration,
    /// A few messages and logins at once, then one a second, as [`LIMITED_MESSAGES`] and [`LIMITED_LOGINS`] say; and
    /// loopback is a proxy whose `X-Forwarded-For` is believed. Otherwise nothing is limited.
    pub limited: bool,
    /// Of every kind of request that is limited a few at once, as [`SCARCE`] says, then one a minute.
    pub scarce: bool,
    /// The smallest memtables that the store allows, so that a kill finds flushes and compactions under way.
    pub tiny_store: bool,
    /// How many uploads a user may have announced; 5 if not given.
    pub pending_uploads: Option<usize>,
    /// A user may upload [`SMALL_QUOTA`] and no more.
    pub small_quota: bool,
    /// Files are given also to who shows no access token, as it was once.
    pub legacy_media: bool,
    /// Presence is kept and told. Where it is not, nobody is woken by others who come and go.
    pub presence: bool,
    /// Users may ask what links lead to, also on 127.0.0.1.
    pub previews: bool,
    /// There are servers that carry calls.
    pub turn: Option<Turn>,
    /// Where the data lies; a temporary directory if not given.
    pub data_dir: Option<PathBuf>,
    /// Which server; the one that `DEPESCHE_TARGET` chooses if not given.
    pub target: Option<Target>,
    /// The URL of an object store that keeps the files. Without it, the one that `DEPESCHE_OBJECT_STORE` names, if any.
    pub object_store: Option<String>,
    /// Sections for the end of our own configuration, which no other option sets: `[log]`, `[metrics]`.
    pub more: String,
    /// Registration files of application services. Synapse's alone: ours has no services yet.
    pub app_services: Vec<PathBuf>,
    /// Words before the server's own command line, such as those of `taskset` or `valgrind`, which become the server.
    pub under: Vec<String>,
}

/// A running target.
#[derive(Debug)]
pub struct Server {
    process: Process,
    address: SocketAddr,
    options: Options,
    pub(crate) directory: PathBuf,
    // Removed when dropped; `None` where the case brought its own.
    _temporary: Option<tempfile::TempDir>,
}

/// The server that all cases of a test binary share: many users, open registration.
pub fn shared() -> &'static Server {
    // A failure is remembered too: the cases would otherwise wait for it one after the other.
    static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
    let server = SHARED.get_or_init(|| Server::try_start(Options::default()));
    server.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

impl Server {
    /// Starts a server of its own.
    pub fn start(options: Options) -> Self {
        Self::try_start(options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Self::start`]; the error holds the end of the server's log.
    pub fn try_start(options: Options) -> Result<Self, String> {
        let (directory, temporary) = if let Some(directory) = &options.data_dir {
            (directory.clone(), None)
        } else {
            let temporary = tempfile::Builder::new().prefix("depesche-spec-").tempdir().map_err(|e| e.to_string())?;
            (temporary.path().to_path_buf(), Some(temporary))
        };
        let address = free_address();
        let process = launch(&directory, address, &options)?;
        Ok(Self { process, address, options, directory, _temporary: temporary })
    }

    /// `kill -9`, without a chance to write anything.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks the server to end (SIGTERM) and gives its exit code.
    pub fn terminate(&mut self, limit: Duration) -> Option<i32> {
        self.process.terminate(limit)
    }

    /// As [`Self::terminate`], by another signal: `HUP`.
    pub fn end_by(&mut self, signal: &str, limit: Duration) -> Option<i32> {
        self.process.end_by(signal, limit)
    }

    /// Starts the server again on the same data, after a kill.
    pub fn restart(&mut self) {
        self.process.kill();
        self.address = free_address();
        self.restart_here();
    }

    /// As [`Self::restart`], at the same address, so that clients find it again.
    pub fn restart_here(&mut self) {
        self.process.kill();
        self.process =
            launch(&self.directory, self.address, &self.options).unwrap_or_else(|error| panic!("restart: {error}"));
    }

    /// Runs `depesche` with the server's configuration and these words, to its end. On our binary only.
    pub fn command(&self, words: &[&str]) -> Output {
        let binary = targets::binary().unwrap_or_else(|error| panic!("{error}"));
        let mut command = Command::new(binary);
        command.arg("--config").arg(self.directory.join("depesche.toml")).args(words).stdin(Stdio::null());
        command.output().unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The process id of the server.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The time from the start of the process to its first answer.
    pub fn started_in(&self) -> Duration {
        self.process.started_in()
    }

    /// Where the server's configuration, data and log lie.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("server.log")).unwrap_or_default()
    }

    /// A client without an access token.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// A new user whose id begins with `name`; every call gives another user.
    pub async fn user(&self, name: &str) -> User {
        User::register(&self.client(), &unique(name)).await
    }
}

/// A localpart that no other case uses.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn launch(directory: &Path, address: SocketAddr, options: &Options) -> Result<Process, String> {
    let mut command = match options.target.unwrap_or_else(target) {
        Target::Depesche => targets::depesche(directory, address, options)?,
        Target::Synapse => targets::synapse(directory, address, options)?,
    };
    if let [program, arguments @ ..] = options.under.as_slice() {
        command = process::under(program, arguments, &command);
    }
    let log = directory.join("server.log");
    Process::start(command, address, &log).map_err(|error| {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("{error}; the end of its log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    })
}

/// A port of loopback that was free a moment ago. The kernel does not give it out again at once, so that two test
/// binaries do not get the same one.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}
