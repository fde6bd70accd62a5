//! `depesche report`

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::{entries, print_json, print_table, text, time};
use crate::{admin::Admin, cli::ReportCommand, failure::Failure};

/// Carries the command out.
pub fn run(config: &Path, command: ReportCommand) -> Result<(), Failure> {
    Admin::reach(config)?.during(|admin| carry_out(admin, command))
}

fn carry_out(admin: &Admin, command: ReportCommand) -> Result<(), Failure> {
    match command {
        ReportCommand::List { all, after, limit, output } => {
            let query = format!("limit={limit}&after={after}&all={all}");
            let list = admin.ask_with(Method::GET, &["reports"], &query, None)?;
            if output.json { print_json(&list) } else { print_reports(&list, all, limit) }
        }
        ReportCommand::Show { number, output } => {
            let shown = admin.ask(Method::GET, &["reports", &number.to_string()], None)?;
            if output.json { print_json(&shown) } else { print_report(&shown) }
        }
        ReportCommand::Close { number, note } => {
            let body = json!({ "note": note.unwrap_or_default() });
            admin.ask(Method::POST, &["reports", &number.to_string(), "close"], Some(&body))?;
            println!("Report {number} is closed.");
        }
    }
    Ok(())
}

fn print_reports(list: &Value, all: bool, limit: u32) {
    let rows: Vec<[String; 5]> = entries(list, "reports")
        .iter()
        .map(|report| {
            let about = ["event_id", "room_id", "user_id"].map(|key| text(&report[key]));
            let about = about.into_iter().find(|id| !id.is_empty()).unwrap_or_default();
            let kind = text(&report["kind"]);
            [text(&report["number"]), kind, about, text(&report["reporter"]), time(&report["reported_ms"])]
        })
        .collect();
    if rows.is_empty() {
        println!("{}", if all { "There are no reports." } else { "No report waits." });
        return;
    }
    print_table(["NUMBER", "KIND", "ABOUT", "BY", "WHEN"], &rows);
    if let Some(next) = list["next"].as_u64() {
        println!("More: {}", command(all, next, limit));
    }
}

/// What lists the next reports in the same way.
fn command(all: bool, after: u64, limit: u32) -> String {
    format!("depesche report list{} --limit {limit} --after {after}", if all { " --all" } else { "" })
}

fn print_report(report: &Value) {
    println!("Report {}", text(&report["number"]));
    for (label, value) in [
        ("room", text(&report["room_id"])),
        ("event", text(&report["event_id"])),
        (if report["kind"] == "user" { "user" } else { "sent by" }, text(&report["user_id"])),
        ("reported by", text(&report["reporter"])),
        ("reported", time(&report["reported_ms"])),
        ("reason", text(&report["reason"])),
        ("closed", time(&report["closed_ms"])),
        ("note", text(&report["note"])),
        ("event as sent", text(&report["event"])),
    ] {
        if !value.is_empty() {
            println!("  {label}: {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::command;
    use crate::cli::{Cli, Command, ReportCommand};

    #[test]
    fn the_next_page_is_asked_for_as_this_one_was() {
        for all in [false, true] {
            let line = command(all, 7, 3);
            let cli = Cli::try_parse_from(line.split(' ')).expect("a command line");
            let Command::Report(ReportCommand::List { all: told, after, limit, .. }) = cli.command else {
                panic!("{line} is another command")
            };
            assert_eq!((told, after, limit), (all, 7, 3));
        }
    }
}
