//! `depesche backup`

use std::path::Path;

use http::Method;
use serde_json::json;

use super::{entries, place::place, print_json, text};
use crate::{admin::Admin, backup::MANIFEST, cli::Output, failure::Failure};

/// Carries the command out.
pub fn run(config: &Path, into: &Path, output: Output) -> Result<(), Failure> {
    let into = std::path::absolute(into).map_err(|error| Failure::failed(into.display(), error))?;
    let written = place(&into, MANIFEST)?;
    let asked = json!({ "into": into });
    let made = Admin::reach(config)?.during(|admin| admin.ask_long(Method::POST, &["backup"], Some(&asked)))?;
    written.is_there()?;
    if output.json {
        print_json(&made);
        return Ok(());
    }
    let megabytes = made["bytes"].as_u64().unwrap_or_default() >> 20;
    println!("Backed up to {}: {} files, {megabytes} MB.", into.display(), text(&made["files"]));
    if let Some(place) = made["media_elsewhere"].as_str() {
        println!("Not part of it: the files that users uploaded, which lie in {place}. Keep what is deleted there.");
    }
    for secret in entries(&made, "secrets") {
        println!("Not part of it: {} ({}). Keep it elsewhere.", text(&secret["file"]), text(&secret["key"]));
    }
    Ok(())
}
