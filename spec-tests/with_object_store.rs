//! Runs a command beside an object store of its own: `with_object_store cargo test --test cases -- media::`.
//!
//! The command finds the store's URL in `DEPESCHE_OBJECT_STORE`; the exit code is the command's. Servers that the command
//! starts keep their files there.

use std::process::{Command, ExitCode};

use depesche_spec_tests::object_store::ObjectStore;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let Some(program) = words.next() else {
        eprintln!("usage: with_object_store <command> [argument...]");
        return ExitCode::from(2);
    };
    let store = ObjectStore::start();
    match Command::new(program).args(words).env("DEPESCHE_OBJECT_STORE", store.url()).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
