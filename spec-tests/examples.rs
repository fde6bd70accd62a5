//! What the examples for operators (`docs/operate`, `docker`) count on: they name figures that the server keeps elsewhere,
//! and were tried with the server as it was then.

use std::{fs, path::Path};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository");
    fs::read_to_string(root.join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// What a file sets this key to, in words.
fn value<'a>(text: &'a str, key: &str) -> &'a str {
    let set =
        |line: &'a str| line.trim_start_matches(['#', ' ', '\t']).strip_prefix(key)?.strip_prefix([' ', ':', '=']);
    let found = text.lines().find_map(set).unwrap_or_else(|| panic!("{key} is not set"));
    found.trim_matches([' ', '=', '"', ';'])
}

fn seconds(text: &str, key: &str) -> u64 {
    let found = value(text, key);
    let (number, unit) = found.split_at(found.len() - 1);
    let number: u64 = number.parse().unwrap_or_else(|_| panic!("{key} is {found}"));
    match unit {
        "s" => number,
        "m" => number * 60,
        other => panic!("{key} is in {other}"),
    }
}

#[test]
fn proxies_wait_longer_than_the_server_and_close_earlier() {
    let (config, nginx) = (read("config.example.toml"), read("docs/operate/nginx.conf"));
    let caddy = read("docs/operate/Caddyfile");
    let (poll, head) = (seconds(&config, "sync_timeout"), seconds(&config, "head_timeout"));
    assert!(seconds(&nginx, "proxy_read_timeout") > poll && seconds(&caddy, "response_header_timeout") > poll);
    assert!(seconds(&nginx, "keepalive_timeout") < head && seconds(&caddy, "keepalive") < head);
}

#[test]
fn proxies_leave_it_to_the_server_what_is_too_large() {
    let (nginx, caddy) = (read("docs/operate/nginx.conf"), read("docs/operate/Caddyfile"));
    assert_eq!((value(&nginx, "client_max_body_size"), value(&nginx, "proxy_request_buffering")), ("0", "off"));
    assert!(!caddy.contains("max_size"), "Caddy answers with 502 then, or breaks off");
    // With a path it would decode what stands behind it.
    assert!(
        nginx.lines().filter_map(|line| line.trim().strip_prefix("proxy_pass ")).all(|to| to == "http://depesche;")
    );
}

#[test]
fn a_stop_has_time_to_end_what_is_under_way() {
    let (config, serve) = (read("config.example.toml"), read("src/main/serve.rs"));
    let closing = serve.split_once("const CLOSING: Duration = Duration::from_secs(").expect("it has a bound").1;
    let closing: u64 = closing.split(')').next().and_then(|number| number.parse().ok()).expect("a number");
    let needed = seconds(&config, "shutdown_timeout") + closing;
    assert!(seconds(&read("docs/operate/depesche.service"), "TimeoutStopSec") > needed);
    assert!(seconds(&read("docker/compose.yaml"), "stop_grace_period") > needed);
}

#[test]
fn the_nightly_backup_waits_for_the_server() {
    let manual = read("docs/operate/backup.md");
    let (_, unit) = manual.split_once("depesche-backup.service`:").expect("its unit");
    assert_eq!(value(unit, "After"), "depesche.service");
}
