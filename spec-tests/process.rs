//! A server process and its end.
//!
//! Invariant: no server outlives the test process, also not when that one is killed. A watchdog shell reads a pipe whose
//! other end only we hold; when it closes, whatever the cause, the shell kills the server and removes its directory.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a target may take from its start to its first answer; a debug build on a busy machine needs some seconds.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Pause between two looks at a server that is starting.
const POLL: Duration = Duration::from_millis(2);

/// What a Matrix server answers first.
const VERSIONS: &str = "/_matrix/client/versions";

/// A running server.
#[derive(Debug)]
pub struct Process {
    child: Child,
    watchdog: Child,
    started_in: Duration,
}

/// The same command as the argument of another one.
pub fn under(program: &str, arguments: &[String], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    outer
}

impl Process {
    /// Starts `command` with its output in `log`, and waits until it answers `/_matrix/client/versions` at `address`.
    pub fn start(command: Command, address: SocketAddr, log: &Path) -> Result<Self, String> {
        Self::start_and_ask(command, address, VERSIONS, log)
    }

    /// As [`Self::start`], for a server of another kind, which answers at this path.
    pub fn start_and_ask(mut command: Command, address: SocketAddr, path: &str, log: &Path) -> Result<Self, String> {
        let out = File::options().create(true).append(true).open(log).map_err(|e| format!("{}: {e}", log.display()))?;
        let err = out.try_clone().map_err(|e| e.to_string())?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let start = Instant::now();
        let child = command.spawn().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
        let watchdog = Command::new("sh")
            .args(["-c", "cat >/dev/null; kill -9 \"$1\" 2>/dev/null", "watchdog", &child.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        let mut process = Self { child, watchdog, started_in: Duration::ZERO };
        process.wait_until_it_answers(address, path)?;
        process.started_in = start.elapsed();
        Ok(process)
    }

    /// The process id of the server.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The time from the start of the process to its first answer.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// `kill -9`, and the wait for its end.
    pub fn kill(&mut self) {
        // Either has ended already or ends now; there is nothing else to do about an error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks for a graceful end (SIGTERM) and gives the exit code, or none if `limit` passed.
    pub fn terminate(&mut self, limit: Duration) -> Option<i32> {
        self.end_by("TERM", limit)
    }

    /// As [`Self::terminate`], by another signal.
    pub fn end_by(&mut self, signal: &str, limit: Duration) -> Option<i32> {
        // The shell's own: a Debian as small as can be has no program of that name.
        let words = ["-c", "kill -s \"$1\" \"$2\"", "signal", signal, &self.id().to_string()];
        let told = Command::new("sh").args(words).status();
        assert!(told.is_ok_and(|status| status.success()), "the server does not take the signal {signal}");
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            std::thread::sleep(POLL);
        }
        None
    }

    fn wait_until_it_answers(&mut self, address: SocketAddr, path: &str) -> Result<(), String> {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("the server ended at its start: {status}"));
            }
            match ask(address, "GET", path).as_deref().and_then(|answer| answer.lines().next()) {
                Some(line) if line.starts_with("HTTP/1.1 200") => return Ok(()),
                Some(line) => return Err(format!("the server answered {line:?} to {path}")),
                None => {}
            }
            // The one place that waits for wall time: a foreign process gives no other sign.
            std::thread::sleep(POLL);
        }
        Err(format!("the server did not answer within {} s", START_LIMIT.as_secs()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

/// The answer to a request without a body, if there is one.
pub fn ask(address: SocketAddr, method: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    (!answer.is_empty()).then(|| String::from_utf8_lossy(&answer).into_owned())
}
