//! Runs a command beside a server of its own: `with_server node spec-tests/js/run.mjs`.
//!
//! The command finds the server's URL in `DEPESCHE_URL`; the exit code is the command's. `DEPESCHE_TARGET` chooses the
//! server, as for the cases.

use std::process::{Command, ExitCode};

use depesche_spec_tests::Server;
use depesche_spec_tests::server::Options;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("usage: with_server <command> [argument...]");
        return ExitCode::from(2);
    };
    let server = match Server::try_start(Options::default()) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let status = Command::new(program).args(words).env("DEPESCHE_URL", format!("http://{}", server.address())).status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            eprintln!("the command ended with {status}; the end of the server's log:");
            let log = server.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
