//! `depesche doctor`: looks at the machine the server runs on, and says what is wrong and what to do about it.
//!
//! Each check is a function that gives findings; none changes anything, except that the disk, and an object store, are
//! written to and read from in a file that is removed again.

mod disk;
mod media;
mod network;

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, process::ExitCode, time::SystemTime};

use depesche_config::Config;
use http::Method;
use serde_json::json;

use crate::{
    admin::Admin,
    cli::Output,
    commands::config::warnings,
    data_dir::{self, refuse_foreign_root},
    failure::Failure,
    log, node, signing_key, turn,
};

/// Files that the server needs besides one for each connection.
const FILES_FOR_THE_DATABASE: u64 = 2048;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Level {
    Ok,
    Warning,
    Wrong,
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    level: Level,
    text: String,
}

impl Finding {
    fn ok(text: impl Into<String>) -> Self {
        Self { level: Level::Ok, text: text.into() }
    }

    fn warning(text: impl Into<String>) -> Self {
        Self { level: Level::Warning, text: text.into() }
    }

    fn wrong(text: impl Into<String>) -> Self {
        Self { level: Level::Wrong, text: text.into() }
    }
}

/// Looks at everything. The exit code is 1 if something is wrong.
pub fn run(path: &Path, output: Output) -> ExitCode {
    let findings = match Config::load(path) {
        Ok(config) => examine(path, &config),
        Err(error) => vec![Finding::wrong(Failure::from(error).to_string())],
    };
    if output.json {
        let list: Vec<_> =
            findings.iter().map(|finding| json!({ "level": word(finding), "text": finding.text })).collect();
        println!("{:#}", json!({ "findings": list }));
    } else {
        for finding in &findings {
            println!("{:<8} {}", word(finding), finding.text);
        }
    }
    let wrong = findings.iter().any(|finding| finding.level == Level::Wrong);
    if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn word(finding: &Finding) -> &'static str {
    match finding.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Wrong => "WRONG",
    }
}

fn examine(path: &Path, config: &Config) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(format!("the configuration {} is valid", path.display()))];
    findings.extend(log::filter(config).err().map(|failure| Finding::wrong(failure.to_string())));
    findings.extend(warnings(config).into_iter().map(Finding::warning));
    match closed(&config.server.data_dir, fs::read_dir(&config.server.data_dir).err()) {
        Some(closed) => findings.push(closed),
        None => findings.extend(examine_data(path, config)),
    }
    findings.extend(config.server.listen.iter().map(|address| network::listener(*address)));
    findings.extend(config.metrics.listen.map(network::figures));
    findings.extend(network::well_known(config));
    findings.extend(network::certificates(config));
    findings
}

/// Who may not look into the data folder finds nothing there, and would be told that everything is missing.
fn closed(data_dir: &Path, error: Option<io::Error>) -> Option<Finding> {
    let error = error.filter(|error| error.kind() == io::ErrorKind::PermissionDenied)?;
    let shown = data_dir.display();
    Some(Finding::wrong(format!(
        "cannot look into the data folder {shown}: {error}. Run this as the user of the server: sudo -u depesche depesche \
         doctor. (If you are that user, the folder is not yours: chown -R it)"
    )))
}

/// What only the user of the server sees: the data, and the secrets.
fn examine_data(path: &Path, config: &Config) -> Vec<Finding> {
    let data_dir = &config.server.data_dir;
    let mut findings = Vec::new();
    findings.extend(turn::secret(config).err().map(|failure| Finding::wrong(failure.to_string())));
    findings.push(clock(data_dir));
    findings.push(open_files(config));
    findings.extend(folder(data_dir));
    findings.extend(key(config));
    if data_dir.is_dir() {
        let reserve = node::rocksdb_options(config).reserve_bytes();
        findings.extend(disk::space(data_dir, reserve, "writes"));
        findings.extend(disk::space_for_media(config));
        findings.push(disk::sync_time(data_dir));
        findings.push(database(path, config));
    }
    findings.extend(media::object_store(config));
    findings
}

/// A clock that stands before the newest file of the database has been set back.
fn clock(data_dir: &Path) -> Finding {
    let files = fs::read_dir(data_dir.join("db")).into_iter().flatten().flatten();
    let newest = files.filter_map(|file| file.metadata().ok()?.modified().ok()).max();
    match newest.map(|newest| newest.duration_since(SystemTime::now())) {
        Some(Ok(ahead)) if ahead.as_secs() > 60 => Finding::wrong(format!(
            "the clock is {} minutes behind the newest file of the database; set it (timedatectl set-ntp true)",
            ahead.as_secs() / 60
        )),
        _ => Finding::ok("the clock is not behind the database"),
    }
}

fn open_files(config: &Config) -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    let wanted = FILES_FOR_THE_DATABASE + u64::try_from(config.limits.connections).unwrap_or(u64::MAX);
    match limit {
        Some(limit) if limit < wanted => Finding::warning(format!(
            "this user may open {limit} files, and limits.connections wants {wanted}; raise it (LimitNOFILE= in the unit)"
        )),
        _ => Finding::ok(format!("at least {wanted} files may be open")),
    }
}

fn folder(data_dir: &Path) -> Option<Finding> {
    let shown = data_dir.display();
    Some(match fs::metadata(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::warning(format!("the data folder {shown} is not there yet; the first start creates it"))
        }
        Err(error) => Finding::wrong(format!("the data folder {shown}: {error}")),
        Ok(metadata) if !metadata.is_dir() => Finding::wrong(format!("{shown} is no folder")),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            Finding::warning(format!("the data folder {shown} is open to others: chmod 700 {shown}"))
        }
        // Where there is a database, whoever opens it says so.
        Ok(_) if !data_dir.join("db").exists() => Finding::warning(refuse_foreign_root(data_dir).err()?.to_string()),
        Ok(_) => return None,
    })
}

fn key(config: &Config) -> Option<Finding> {
    let path = config.server.signing_key_file();
    // Where it cannot be looked at, reading it says why.
    if matches!(path.try_exists(), Ok(false)) {
        return config.server.data_dir.join("db").exists().then(|| {
            Finding::wrong(format!("the signing key {} is missing; restore it from your backup", path.display()))
        });
    }
    Some(match signing_key::read(&path) {
        Err(failure) => Finding::wrong(failure.to_string()),
        // That others can read it stands among the warnings of the configuration.
        Ok(_) if signing_key::readable_by_others(&path) => return None,
        Ok(_) => Finding::ok(format!("the signing key {} is private", path.display())),
    })
}

/// Through the running server, or by opening the database here. Where there is none, none is made.
fn database(path: &Path, config: &Config) -> Finding {
    match data_dir::is_there(&config.server.data_dir, "db") {
        Ok(true) => {}
        Ok(false) => return Finding::warning("there is no database yet; the first start makes it"),
        Err(failure) => return Finding::wrong(failure.to_string()),
    }
    let asked = Admin::reach(path).and_then(|admin| {
        let running = admin.is_running();
        let answer = admin.during(|admin| admin.ask(Method::GET, &["db", "stats"], None));
        answer.map(|_| running)
    });
    match asked {
        Ok(true) => Finding::ok("the server runs, and its database answers"),
        Ok(false) => Finding::ok("no server runs; the database opens and answers"),
        Err(failure) => Finding::wrong(failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use depesche_config::Config;

    use super::{Level, clock, closed, database, folder, key};

    fn config(data_dir: &std::path::Path) -> Config {
        let text = format!("[server]\nname = \"example.org\"\ndata_dir = {data_dir:?}\n");
        Config::parse(&text).expect("valid")
    }

    #[test]
    fn a_clock_set_back_is_seen() {
        let data = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(data.path().join("db")).expect("a folder");
        let file = std::fs::File::create(data.path().join("db/CURRENT")).expect("a file");
        assert_eq!(clock(data.path()).level, Level::Ok);
        let tomorrow = std::time::SystemTime::now() + std::time::Duration::from_hours(24);
        file.set_modified(tomorrow).expect("set");
        assert_eq!(clock(data.path()).level, Level::Wrong);
    }

    #[test]
    fn a_lost_key_is_seen() {
        let data = tempfile::tempdir().expect("a folder");
        let config = config(data.path());
        assert!(key(&config).is_none(), "the first start makes it");
        std::fs::create_dir(data.path().join("db")).expect("a folder");
        assert_eq!(key(&config).map(|finding| finding.level), Some(Level::Wrong));
        crate::signing_key::create(&config.server.signing_key_file()).expect("made");
        assert_eq!(key(&config).map(|finding| finding.level), Some(Level::Ok));
    }

    #[test]
    fn who_may_not_look_is_told_who_may() {
        let data = tempfile::tempdir().expect("a folder");
        let found = |kind: std::io::ErrorKind| closed(data.path(), Some(kind.into()));
        let denied = found(std::io::ErrorKind::PermissionDenied).expect("a finding");
        assert!(denied.level == Level::Wrong && denied.text.contains("sudo -u depesche depesche doctor"), "{denied:?}");
        assert!(found(std::io::ErrorKind::NotFound).is_none(), "before the first start");
        assert!(closed(data.path(), None).is_none());
        // A key of which nobody knows whether it is there is not passed over.
        std::fs::write(data.path().join("file"), "").expect("written");
        let text = "[server]\nname = \"example.org\"\ndata_dir = \".\"\nsigning_key_file = ";
        let config = Config::parse(&format!("{text}{:?}\n", data.path().join("file/key"))).expect("valid");
        assert_eq!(key(&config).map(|finding| finding.level), Some(Level::Wrong));
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_said_to_be_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = |data: &std::path::Path| database(&folder.path().join("config.toml"), &config(data));
        assert_eq!(seen(&folder.path().join("none")).level, Level::Warning);
        let file = folder.path().join("data");
        std::fs::write(&file, "no folder").expect("written");
        assert_eq!(seen(&file).level, Level::Wrong);
        assert_eq!(key(&config(&file)).map(|finding| finding.level), Some(Level::Wrong));
    }

    #[test]
    fn an_open_folder_is_seen() {
        let data = tempfile::tempdir().expect("a folder");
        let mode = |mode| std::fs::set_permissions(data.path(), std::os::unix::fs::PermissionsExt::from_mode(mode));
        mode(0o700).expect("set");
        assert!(folder(data.path()).is_none());
        mode(0o755).expect("set");
        assert_eq!(folder(data.path()).map(|finding| finding.level), Some(Level::Warning));
        assert_eq!(folder(&data.path().join("none")).map(|finding| finding.level), Some(Level::Warning));
    }
}
