//! `depesche token`

use std::path::Path;

use depesche_config::{Config, RegistrationMode};
use http::Method;
use serde_json::{Value, json};

use super::{entries, print_json, print_table, text, time};
use crate::{admin::Admin, cli::TokenCommand, failure::Failure};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Carries the command out.
pub fn run(config: &Path, command: TokenCommand) -> Result<(), Failure> {
    // Before the first start, too.
    let creates = matches!(command, TokenCommand::Create { .. });
    let admin = if creates { Admin::reach_or_begin(config) } else { Admin::reach(config) }?;
    admin.during(|admin| carry_out(admin, command))?;
    if let Some(why) = unwanted(&Config::load(config)?).filter(|_| creates) {
        eprintln!("depesche: {why}");
    }
    Ok(())
}

/// Why nobody needs a token, or nobody can use one.
fn unwanted(config: &Config) -> Option<&'static str> {
    match config.registration.mode {
        RegistrationMode::Token => None,
        RegistrationMode::Closed => Some(
            "nobody can use this token yet: registration.mode is \"closed\"; set it to \"token\" and restart the server",
        ),
        RegistrationMode::Open => Some("nobody needs this token: registration.mode is \"open\""),
    }
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

#[cfg(test)]
mod tests {
    use depesche_config::Config;

    use super::unwanted;

    #[test]
    fn who_makes_a_token_that_nobody_can_use_is_told() {
        let told = |mode: &str| {
            let text = format!("[server]\nname = \"example.org\"\n[registration]\n{mode}\n");
            unwanted(&Config::parse(&text).expect("valid"))
        };
        assert!(told("").is_some_and(|why| why.contains("nobody can use")), "closed is the default");
        assert!(told("mode = \"open\"").is_some_and(|why| why.contains("nobody needs")));
        assert_eq!(told("mode = \"token\""), None);
    }
}
