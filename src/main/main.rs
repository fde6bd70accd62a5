//! The binary `depesche`: the place where time, randomness, network and disk enter.
//!
//! [`cli`] is the command line; [`commands`] carries the commands out, each as a request to the admin router; [`serve`]
//! runs the server; [`node`] joins the engine, the server and its routers. Nothing here knows Matrix.

#[macro_use]
mod print;

mod admin;
mod backup;
mod cli;
mod commands;
mod data_dir;
mod doctor;
mod failure;
mod log;
mod media;
mod metrics;
mod node;
mod secret;
mod serve;
mod signing_key;
mod turn;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    cli::{Cli, Command},
    failure::Failure,
};

/// For Rust and, since it takes the place of `malloc`, for RocksDB too. The system's keeps what a flood of logins took.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Whatever is created from here on is readable by its owner only: database, keys, sockets.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    match run(Cli::parse()).and_then(|code| all_printed().map(|()| code)) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("depesche: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Whoever sent the output into a file is told if it is not all there.
fn all_printed() -> Result<(), Failure> {
    print::lost().map_or(Ok(()), |error| Err(Failure::failed("cannot write the output", error)))
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let config = cli.config;
    match cli.command {
        Command::Serve(options) => serve::serve(&config, &options),
        Command::Config(command) => commands::config::run(&config, command),
        Command::User(command) => commands::user::run(&config, command),
        Command::Token(command) => commands::token::run(&config, command),
        Command::Report(command) => commands::report::run(&config, command),
        Command::Media(command) => commands::media::run(&config, command),
        Command::Db(command) => commands::db::run(&config, command),
        Command::ThumbnailWorker { arguments } => return Ok(depesche_thumbnails::work(&arguments)),
        Command::Backup { into, output } => commands::backup::run(&config, &into, output),
        Command::Restore { backup } => backup::restore::run(&config, &backup),
        Command::Doctor(output) => return Ok(doctor::run(&config, output)),
        Command::Version(options) => commands::version::run(&config, options),
    }
    .map(|()| ExitCode::SUCCESS)
}
