//! `depesche token`

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::{entries, print_json, print_table, text, time};
use crate::{admin::Admin, cli::TokenCommand, failure::Failure};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Carries the command out.
pub fn run(config: &Path, command: TokenCommand) -> Result<(), Failure> {
    let admin = Admin::reach(config)?;
    let result = carry_out(&admin, command);
    admin.finish();
    result
}

fn carry_out(admin: &Admin, command: TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { token, uses, valid_for_days, output } => {
            let valid_for_ms = valid_for_days.map(|days| days.saturating_mul(DAY_MS));
            let body = json!({ "token": token, "uses_allowed": uses, "valid_for_ms": valid_for_ms });
            let made = admin.ask(Method::POST, &["registration_tokens"], Some(&body))?;
            if output.json { print_json(&made) } else { println!("{}", text(&made["token"])) }
        }
        TokenCommand::List(output) => {
            let list = admin.ask(Method::GET, &["registration_tokens"], None)?;
            if output.json { print_json(&list) } else { print_tokens(&list) }
        }
        TokenCommand::Delete { token } => {
            admin.ask(Method::DELETE, &["registration_tokens", &token], None)?;
            println!("Deleted.");
        }
    }
    Ok(())
}

fn print_tokens(list: &Value) {
    let rows: Vec<[String; 5]> = entries(list, "registration_tokens")
        .iter()
        .map(|token| {
            let allowed = token["uses_allowed"].as_u64().map_or_else(|| "any".to_owned(), |uses| uses.to_string());
            let (used, pending) = (text(&token["completed"]), text(&token["pending"]));
            [text(&token["token"]), used, pending, allowed, time(&token["expires_ms"])]
        })
        .collect();
    print_table(["TOKEN", "USED", "UNDER WAY", "ALLOWED", "VALID UNTIL"], &rows);
}
