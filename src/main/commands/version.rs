//! `depesche version`

use std::path::Path;

use http::Method;
use serde_json::json;

use super::{print_json, text};
use crate::{admin::Admin, cli::VersionOptions, failure::Failure};

/// Prints it.
pub fn run(config: &Path, options: VersionOptions) -> Result<(), Failure> {
    let version = if options.server {
        Admin::running(config)?.ask(Method::GET, &["version"], None)?
    } else {
        json!({ "name": "depesche", "version": env!("CARGO_PKG_VERSION") })
    };
    if options.output.json {
        print_json(&version);
    } else {
        println!("{} {}", text(&version["name"]), text(&version["version"]));
    }
    Ok(())
}
