//! Runs a command beside a server of its own that comes to harm: `with_disaster node spec-tests/js/restore.mjs`.
//!
//! The command finds the server's URL in `DEPESCHE_URL`. What it prints is printed, but for lines that begin with `>> `:
//! they ask for something, and are answered by a line on its standard input, `done` or what went wrong.
//!
//! - `>> backup` makes a backup of the running server.
//! - `>> disaster` kills the server, takes its data away, restores the backup, and starts it again at the same address.

use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use depesche_spec_tests::Server;
use depesche_spec_tests::server::Options;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [program, arguments @ ..] = words.as_slice() else {
        eprintln!("usage: with_disaster <command> [argument...]");
        return ExitCode::from(2);
    };
    match House::build().and_then(|mut house| house.run(program, arguments)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A server, with a place for its backup.
struct House {
    server: Server,
    folder: tempfile::TempDir,
}

impl House {
    fn build() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let home = folder.path().join("home");
        fs::create_dir(&home).map_err(|error| error.to_string())?;
        let server = Server::try_start(Options { data_dir: Some(home), ..Options::default() })?;
        Ok(Self { server, folder })
    }

    /// Runs the command to its end; whether that was a success.
    fn run(&mut self, program: &str, arguments: &[String]) -> Result<bool, String> {
        let url = format!("http://{}", self.server.address());
        let mut command = Command::new(program);
        command.args(arguments).env("DEPESCHE_URL", url).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
        let mut answers = child.stdin.take().ok_or("no standard input")?;
        let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        for line in lines.map_while(Result::ok) {
            let Some(wish) = line.strip_prefix(">> ") else {
                println!("{line}");
                continue;
            };
            let answer = self.carry_out(wish).err().unwrap_or_else(|| "done".to_owned());
            // One that has ended wants no answer.
            let _ = writeln!(answers, "{}", answer.replace('\n', " "));
        }
        let status = child.wait().map_err(|error| error.to_string())?;
        if !status.success() {
            let log = self.server.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(30)..].join("\n");
            eprintln!("the command ended with {status}; the end of the server's log:\n{end}");
        }
        Ok(status.success())
    }

    fn carry_out(&mut self, wish: &str) -> Result<(), String> {
        match wish {
            "backup" => self.depesche("backup"),
            "disaster" => {
                self.server.kill();
                let data = self.server.directory().join("data");
                fs::rename(&data, data.with_file_name("broken")).map_err(|error| error.to_string())?;
                self.depesche("restore")?;
                self.server.restart_here();
                Ok(())
            }
            other => Err(format!("nobody knows what {other} is")),
        }
    }

    fn depesche(&self, verb: &str) -> Result<(), String> {
        let output = self.server.command(&[verb, text(&self.backup())?]);
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    fn backup(&self) -> PathBuf {
        self.folder.path().join("backup")
    }
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| "the temporary directory is not UTF-8".to_owned())
}
