//! `depesche version`

use serde_json::json;

use crate::cli::Output;

/// Prints it.
pub fn run(output: Output) {
    let version = env!("CARGO_PKG_VERSION");
    if output.json {
        super::print_json(&json!({ "name": "depesche", "version": version }));
    } else {
        println!("depesche {version}");
    }
}
