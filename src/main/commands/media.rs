//! `depesche media`

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::{entries, print_json, print_table, text, time};
use crate::{
    admin::{Admin, escape},
    cli::MediaCommand,
    failure::Failure,
};

/// Carries the command out.
pub fn run(config: &Path, command: MediaCommand) -> Result<(), Failure> {
    Admin::reach(config)?.during(|admin| carry_out(admin, command))
}

fn carry_out(admin: &Admin, command: MediaCommand) -> Result<(), Failure> {
    match command {
        MediaCommand::List { user, output } => {
            let files = list(admin, &user)?;
            if output.json { print_json(&json!({ "media": files })) } else { print_files(&files) }
        }
        MediaCommand::Delete { file } => {
            admin.ask(Method::DELETE, &["media", &file], None)?;
            println!("Deleted.");
        }
    }
    Ok(())
}

/// All files of a user, page by page.
fn list(admin: &Admin, user: &str) -> Result<Vec<Value>, Failure> {
    let (mut files, mut query) = (Vec::new(), String::new());
    loop {
        let page = admin.ask_with(Method::GET, &["users", user, "media"], &query, None)?;
        files.extend_from_slice(entries(&page, "media"));
        let Some(after_id) = page["next"]["after_id"].as_str() else { return Ok(files) };
        query = format!("after_ms={}&after_id={}", text(&page["next"]["after_ms"]), escape(after_id));
    }
}

fn print_files(files: &[Value]) {
    let row = |file: &Value| {
        let size = file["size"].as_u64().unwrap_or_default();
        let what = [text(&file["content_type"]), text(&file["filename"])];
        [text(&file["uri"]), time(&file["created_ms"]), shown_size(size), what.join(" ").trim().to_owned()]
    };
    let rows: Vec<[String; 4]> = files.iter().map(row).collect();
    print_table(["ADDRESS", "UPLOADED", "SIZE", "WHAT"], &rows);
}

/// In whole kilobytes, rounded up.
fn shown_size(bytes: u64) -> String {
    format!("{} kB", bytes.div_ceil(1024))
}
