//! `depesche db`

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::{entries, place::place, print_json, print_table, text};
use crate::{admin::Admin, cli::DbCommand, failure::Failure};

/// Carries the command out.
pub fn run(config: &Path, command: DbCommand) -> Result<(), Failure> {
    Admin::reach(config)?.during(|admin| carry_out(admin, command))
}

fn carry_out(admin: &Admin, command: DbCommand) -> Result<(), Failure> {
    match command {
        DbCommand::Verify(output) => {
            let found = admin.ask_long(Method::POST, &["db", "verify"], None)?;
            if output.json {
                print_json(&found);
            } else if found["rows"].is_u64() {
                let [rows, rooms, events] = ["row", "room", "event"].map(|what| {
                    let count = text(&found[format!("{what}s")]);
                    if count == "1" { format!("1 {what}") } else { format!("{count} {what}s") }
                });
                println!("{rows} read, {rooms} with {events} checked.");
            }
            verdict(&found)
        }
        DbCommand::Stats(output) => {
            let stats = admin.ask(Method::GET, &["db", "stats"], None)?;
            if output.json {
                print_json(&stats);
            } else {
                let figures = stats.as_object().into_iter().flatten();
                let rows: Vec<[String; 2]> = figures.map(|(name, value)| [name.clone(), text(value)]).collect();
                print_table(["FIGURE", "VALUE"], &rows);
            }
            Ok(())
        }
        DbCommand::Compact => {
            admin.ask(Method::POST, &["db", "compact"], None)?;
            println!("Compacted.");
            Ok(())
        }
        DbCommand::Checkpoint { into } => {
            let into = std::path::absolute(&into).map_err(|error| Failure::failed(into.display(), error))?;
            let copied = place(&into, "CURRENT")?;
            admin.ask(Method::POST, &["db", "checkpoint"], Some(&json!({ "into": into })))?;
            copied.is_there()?;
            println!("Copied to {}.", into.display());
            Ok(())
        }
    }
}

fn verdict(found: &Value) -> Result<(), Failure> {
    let problems: Vec<String> = entries(found, "problems").iter().map(text).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let more = found["more"].as_u64().filter(|more| *more > 0).map(|more| format!("\n  and {more} more"));
    let more = more.unwrap_or_default();
    Err(Failure::Failed(format!("the database is damaged:\n  {}{more}", problems.join("\n  "))))
}
