//! `depesche user`

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::{entries, flag, password, print_json, print_table, text, time};
use crate::{
    admin::{Admin, escape},
    cli::UserCommand,
    failure::Failure,
};

/// Carries the command out.
pub fn run(config: &Path, command: UserCommand) -> Result<(), Failure> {
    // Asked before the database is opened: nothing waits for the person.
    let password = match &command {
        UserCommand::Create { user, password, .. } | UserCommand::ResetPassword { user, password, .. } => {
            Some(password::read(password, user)?)
        }
        UserCommand::Deactivate { user, yes: false, .. } => {
            confirm(user)?;
            None
        }
        _ => None,
    };
    // Before the first start, too.
    let begins = matches!(command, UserCommand::Create { .. });
    let admin = if begins { Admin::reach_or_begin(config) } else { Admin::reach(config) }?;
    admin.during(|admin| carry_out(admin, command, password.as_deref()))
}

fn carry_out(admin: &Admin, command: UserCommand, password: Option<&str>) -> Result<(), Failure> {
    match command {
        UserCommand::Create { user, admin: is_admin, display_name, output, .. } => {
            let body = json!({ "user": user, "password": password, "admin": is_admin, "display_name": display_name });
            let made = admin.ask(Method::POST, &["users"], Some(&body))?;
            if output.json { print_json(&made) } else { println!("Made {}.", text(&made["user_id"])) }
        }
        UserCommand::List { after, limit, output } => {
            let after = after.map(|after| format!("&after={}", escape(&after))).unwrap_or_default();
            let list = admin.ask_with(Method::GET, &["users"], &format!("limit={limit}{after}"), None)?;
            if output.json { print_json(&list) } else { print_users(&list, limit) }
        }
        UserCommand::Show { user, output } => {
            let shown = admin.ask(Method::GET, &["users", &user], None)?;
            if output.json { print_json(&shown) } else { print_user(&shown) }
        }
        UserCommand::ResetPassword { user, keep_devices, .. } => {
            let body = json!({ "password": password, "logout_devices": !keep_devices });
            admin.ask(Method::PUT, &["users", &user, "password"], Some(&body))?;
            println!("{user} has a new password.");
        }
        UserCommand::Deactivate { user, erase, .. } => {
            admin.ask(Method::POST, &["users", &user, "deactivate"], Some(&json!({ "erase": erase })))?;
            println!("{user} is deactivated.");
        }
        UserCommand::Suspend { user } => set(admin, &user, "suspended", true, "is suspended")?,
        UserCommand::Unsuspend { user } => set(admin, &user, "suspended", false, "is no longer suspended")?,
        UserCommand::Lock { user } => set(admin, &user, "locked", true, "is locked")?,
        UserCommand::Unlock { user } => set(admin, &user, "locked", false, "is no longer locked")?,
        UserCommand::MakeAdmin { user, revoke } => {
            admin.ask(Method::PUT, &["users", &user, "admin"], Some(&json!({ "admin": !revoke })))?;
            println!("{user} is {}.", if revoke { "an ordinary user" } else { "an administrator" });
        }
    }
    Ok(())
}

/// Sets a flag of an account and says what that means.
fn set(admin: &Admin, user: &str, flag: &str, value: bool, meaning: &str) -> Result<(), Failure> {
    admin.ask(Method::PUT, &["users", user, flag], Some(&json!({ flag: value })))?;
    println!("{user} {meaning}.");
    Ok(())
}

fn confirm(user: &str) -> Result<(), Failure> {
    use std::io::IsTerminal;
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage("deactivating cannot be undone; say --yes if it is meant".to_owned()));
    }
    eprint!("Deactivate {user}? This cannot be undone. Type the name again to go on: ");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| Failure::failed("cannot read the answer", error))?;
    if line.trim() == user { Ok(()) } else { Err(Failure::Usage("not deactivated".to_owned())) }
}

fn print_users(list: &Value, limit: u32) {
    let rows: Vec<[String; 4]> = entries(list, "users")
        .iter()
        .map(|user| {
            let state = ["admin", "deactivated", "locked", "suspended"].map(|word| flag(&user[word], word));
            let state = state.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
            [text(&user["user_id"]), text(&user["display_name"]), time(&user["created_ms"]), state]
        })
        .collect();
    print_table(["USER", "NAME", "CREATED", ""], &rows);
    if let Some(next) = list["next"].as_str() {
        println!("More: depesche user list --limit {limit} --after {next}");
    }
}

fn print_user(user: &Value) {
    println!("{}", text(&user["user_id"]));
    for (label, value) in [
        ("name", text(&user["display_name"])),
        ("created", time(&user["created_ms"])),
        ("administrator", flag(&user["admin"], "yes")),
        ("deactivated", flag(&user["deactivated"], "yes")),
        ("locked", flag(&user["locked"], "yes")),
        ("suspended", flag(&user["suspended"], "yes")),
    ] {
        if !value.is_empty() {
            println!("  {label}: {value}");
        }
    }
    let rows: Vec<[String; 4]> = entries(user, "devices")
        .iter()
        .map(|device| {
            let (id, name) = (text(&device["device_id"]), text(&device["display_name"]));
            [id, name, time(&device["last_seen_ms"]), text(&device["last_seen_ip"])]
        })
        .collect();
    if rows.is_empty() {
        println!("  no devices");
    } else {
        println!();
        print_table(["DEVICE", "NAME", "LAST SEEN", "FROM"], &rows);
    }
}
