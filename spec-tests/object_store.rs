//! A store that speaks the S3 protocol, for servers that keep their files in one: moto's server from the virtual
//! environment that `DEPESCHE_MOTO` names. It keeps all in memory and believes everybody.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::process::{Process, ask};
use crate::server::free_address;

/// The bucket of all servers; each has a prefix of its own.
pub const BUCKET: &str = "depesche";

/// What proves to it who asks. It must never be seen anywhere.
pub const SECRET: &str = "the-secret-of-the-store";

/// The release of moto that the tests run on; `dev/test` installs this one.
pub const MOTO_VERSION: &str = "5.2.5";

/// A running store.
#[derive(Debug)]
pub struct ObjectStore {
    process: Process,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl ObjectStore {
    /// Starts a store with an empty bucket.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("depesche-moto-").tempdir().expect("a temporary directory");
        let address = free_address();
        let process = launch(address, &folder).unwrap_or_else(|error| panic!("{error}"));
        Self { process, address, folder }
    }

    /// Ends it; all objects are gone.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it anew at the same address, with an empty bucket.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = launch(self.address, &self.folder).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Where it is reached.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The names of all objects that are files: a server that starts writes another one for a moment.
    pub fn objects(&self) -> Vec<String> {
        let answer = ask(self.address, "GET", &format!("/{BUCKET}?list-type=2")).expect("the store answers");
        let keys = answer.split("<Key>").skip(1);
        let keys = keys.filter_map(|rest| rest.split_once("</Key>").map(|(key, _)| key.to_owned()));
        keys.filter(|key| !key.contains("/probe-")).collect()
    }
}

fn launch(address: SocketAddr, folder: &tempfile::TempDir) -> Result<Process, String> {
    let home = std::env::var_os("DEPESCHE_MOTO")
        .ok_or("DEPESCHE_MOTO is not set: the virtual environment that holds moto's server")?;
    let mut command = Command::new(PathBuf::from(home).join("bin/moto_server"));
    command.args(["-H", "127.0.0.1", "-p", &address.port().to_string()]);
    let process = Process::start_and_ask(command, address, "/moto-api/", &folder.path().join("moto.log"))?;
    match ask(address, "PUT", &format!("/{BUCKET}")) {
        Some(answer) if answer.starts_with("HTTP/1.1 200") => Ok(process),
        answer => Err(format!("the store made no bucket: {answer:?}")),
    }
}
