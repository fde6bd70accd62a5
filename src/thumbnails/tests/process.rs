//! The process on its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    depesche_thumbnails::work(&arguments)
}
