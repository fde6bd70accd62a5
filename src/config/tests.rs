//! What the reader makes of files, right and wrong.

use std::time::Duration;

use ruma::server_name;

use crate::{Config, LogFormat, RegistrationMode};

/// The problems of a file that sets the name and then says this, one a line.
fn problems(text: &str) -> String {
    let text = format!("[server]\nname = \"example.org\"\n{text}");
    let problems = Config::parse(&text).expect_err("the text is meant to be wrong");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn parse(text: &str) -> Config {
    Config::parse(&format!("[server]\nname = \"example.org\"\n{text}")).expect("the text is meant to be right")
}

#[test]
fn defaults_are_safe() {
    let config = Config::named(server_name!("example.org"));
    assert!(config.server.listen.iter().all(|address| address.ip().is_loopback()));
    assert_eq!(config.registration.mode, RegistrationMode::Closed);
    assert_eq!(config.metrics.listen, None);
    assert!(config.server.trusted_proxies.is_empty());
    assert!(!config.federation.enabled);
    assert_eq!(config.rooms.default_version.as_str(), "12");
    assert_eq!(config.server.admin_socket(), config.server.data_dir.join("admin.sock"));
}

#[test]
fn values_are_read() {
    let config = parse(
        "listen = [\"127.0.0.1:1\", \"[::1]:2\"]\nshutdown_timeout = \"5m\"\n\
         [log]\nformat = \"json\"\n[limits]\nconnections = 1_024\n\
         [[registration.terms]]\nid = \"a\"\nversion = \"1\"\nname = \"A\"\nurl = \"https://a.org/\"\n",
    );
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.server.shutdown_timeout, Duration::from_mins(5));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.limits.connections, 1024);
    assert_eq!(config.registration.terms[0].language, "en");
    assert_eq!(parse("listen = \"[::1]:2\"").server.listen.len(), 1, "a list of one needs no brackets");
}

#[test]
fn the_name_must_be_set() {
    let problems = Config::parse("[server]\n").expect_err("no name");
    assert_eq!(problems[0].to_string(), "line 1: server.name: must be set, for example: name = \"example.org\"");
    let problems = Config::parse("").expect_err("no section");
    assert_eq!(problems[0].to_string(), "server.name: must be set, for example: name = \"example.org\"");
}

#[test]
fn unknown_keys_name_line_and_nearest() {
    assert_eq!(problems("listne = []"), "line 3: server.listne: there is no such key; did you mean \"listen\"?");
    assert_eq!(problems("[limit]\n"), "line 3: limit: there is no such section; did you mean \"limits\"?");
    assert!(
        problems("[log]\nwhatever = 1").starts_with("line 4: log.whatever: there is no such key; valid are: format")
    );
    assert_eq!(
        problems("\n[[registration.terms]]\nid = \"a\"\nversion = \"1\"\nname = \"A\"\nuri = \"https://a.org/\"\n"),
        "line 4: registration.terms.url: must be set, for example: url = \"https://example.org/privacy\"\n\
         line 8: registration.terms.uri: there is no such key; did you mean \"url\"?"
    );
}

#[test]
fn wrong_types_and_values_name_line_and_what_is_right() {
    for (text, wanted) in [
        ("listen = 8008", "line 3: server.listen: must be an address and port such as"),
        (
            "listen = [\n  \"127.0.0.1:1\",\n  \"localhost\"]",
            "line 5: server.listen: must be an address and port such as \"127.0.0.1:8008\"",
        ),
        (
            "shutdown_timeout = \"5 minutes\"",
            "shutdown_timeout: must be a time such as \"30s\", \"5m\", \"12h\" or \"7d\", not \"5 minutes\"",
        ),
        (
            "shutdown_timeout = 5",
            "shutdown_timeout: must be a time such as \"30s\", \"5m\", \"12h\" or \"7d\", not a whole number",
        ),
        ("[store]\ncache_mb = \"big\"", "line 4: store.cache_mb: must be a whole number, not text in quotes"),
        ("[store]\ncache_mb = 1", "line 4: store.cache_mb: must be from 8 to 1048576, not 1"),
        ("[store]\nread_threads = -1", "must be a whole number from 0 to 18446744073709551615, not -1"),
        ("[accounts]\ndeactivate = \"yes\"", "line 4: accounts.deactivate: must be true or false, not text in quotes"),
        (
            "[registration]\nmode = \"opem\"",
            "line 4: registration.mode: must be one of \"closed\", \"token\", \"open\"; did you mean \"open\"?",
        ),
        ("[rooms]\ndefault_version = \"2\"", "line 4: rooms.default_version: room version 2 is not supported"),
        ("log = 1", "server.log: there is no such key"),
    ] {
        let found = problems(text);
        assert!(found.contains(wanted), "{text}\nwanted: {wanted}\nfound: {found}");
    }
}

#[test]
fn broken_toml_names_its_line() {
    assert!(problems("listen = [").starts_with("line 3: "), "{}", problems("listen = ["));
    assert!(problems("listen = []\nlisten = []").starts_with("line 4: "));
}

#[test]
fn impossible_combinations_are_refused() {
    for (text, wanted) in [
        ("listen = []", "line 3: server.listen: must name at least one address"),
        ("[metrics]\nlisten = \"127.0.0.1:8008\"", "line 4: metrics.listen: 127.0.0.1:8008 is taken by server.listen"),
        (
            "listen = [\"[::1]:1\", \"[::]:1\"]",
            "line 3: server.listen: names [::1]:1 and [::]:1, of which one covers the other",
        ),
        (
            "listen = [\"0.0.0.0:1\", \"127.0.0.1:1\"]",
            "line 3: server.listen: names 0.0.0.0:1 and 127.0.0.1:1, of which one covers the other",
        ),
        ("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]", "line 3: server.listen: names 127.0.0.1:1 twice"),
        (
            "listen = \"127.0.0.1:1\"\n[metrics]\nlisten = \"0.0.0.0:1\"",
            "line 5: metrics.listen: 0.0.0.0:1 is taken by server.listen",
        ),
        ("[federation]\nenabled = true", "line 4: federation.enabled: federation is not part of this version"),
        ("base_url = \"ftp://example.org\"", "line 3: server.base_url: must begin with https://"),
        ("base_url = \"https://u:p@example.org\"", "line 3: server.base_url: must not hold a password"),
        ("[accounts]\npassword_login = false", "line 4: accounts.password_login: without token_login"),
        (
            "[[registration.terms]]\nid = \"a b\"\nversion = \"1\"\nname = \"A\"\nurl = \"https://a.org/\"\n",
            "line 3: registration.terms: \"a b\" is no id",
        ),
        ("[[support.contacts]]\nrole = \"m.role.dpo\"", "line 3: support.contacts: needs an email or a matrix_id"),
        (
            "[[support.contacts]]\nmatrix_id = \"admin\"",
            "support.contacts.matrix_id: must be an address in Matrix such as",
        ),
    ] {
        let found = problems(text);
        assert!(found.contains(wanted), "{text}\nwanted: {wanted}\nfound: {found}");
    }
}

#[test]
fn families_and_ports_are_apart() {
    let listen = |listen: &str| parse(&format!("listen = [{listen}]\n")).server.listen.len();
    assert_eq!(listen("\"0.0.0.0:1\", \"[::]:1\", \"127.0.0.1:2\""), 3);
    assert_eq!(listen("\"127.0.0.1:1\", \"127.0.0.2:1\", \"[::]:1\""), 3);
    assert_eq!(listen("\"127.0.0.1:0\", \"127.0.0.1:0\""), 2, "the system chooses two");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let found = problems("bogus = 1\n[federation]\nenabled = 1\n[store]\ncache_mb = 1\nx = 2\n");
    let lines: Vec<&str> = found.lines().map(|line| line.split(':').next().unwrap_or_default()).collect();
    assert_eq!(lines, ["line 3", "line 5", "line 7", "line 8"]);
}

#[test]
fn the_example_is_valid_complete_and_fresh() {
    let example = Config::example();
    assert_eq!(Config::parse(&example), Ok(Config::named(server_name!("example.org"))), "it shows the defaults");
    for key in Config::keys() {
        let (_, name) = key.split_once('.').expect("section.key");
        assert!(
            [format!("{name} = "), format!("# [[{key}]]"), format!("# [{key}]")]
                .iter()
                .any(|text| example.contains(text)),
            "{key} is missing"
        );
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config.example.toml");
    if std::env::var_os("UPDATE_EXAMPLE").is_some() {
        std::fs::write(path, &example).expect("the example is written");
    }
    let file = std::fs::read_to_string(path).expect("the example is there");
    assert!(file == example, "config.example.toml is stale: UPDATE_EXAMPLE=1 cargo test -p depesche-config");
}

#[test]
fn the_example_uncommented_is_valid() {
    let text: String = Config::example()
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            (line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '#'])))
                .then(|| format!("{line}\n"))
        })
        .collect();
    let config = Config::parse(&text).unwrap_or_else(|problems| panic!("{problems:?}\n{text}"));
    assert_eq!(config.registration.terms.len(), 1);
    assert_eq!(config.support.contacts.len(), 1);
    assert!(config.server.base_url.is_some());
    assert_eq!(config.media.store.map(|store| store.bucket).as_deref(), Some("depesche"));
}

#[test]
fn what_the_example_says_to_be_a_default_is_one() {
    let example = Config::example();
    let (mut text, mut examples, mut above, mut in_example) = (String::new(), Vec::new(), "", false);
    for line in example.lines() {
        let key = line.strip_prefix("# ").unwrap_or(line);
        let is_key = key.starts_with('[') || key.split_once(" = ").is_some_and(|(key, _)| !key.contains([' ', '#']));
        let is_one = above.ends_with("for example:");
        // A whole table may be an example, up to the next line without anything.
        in_example = !line.is_empty() && (in_example || (is_one && key.starts_with('[')));
        above = line;
        if is_key && (is_one || in_example) {
            examples.push(key);
        } else if is_key {
            text = text + key + "\n";
        }
    }
    assert_eq!(Config::parse(&text), Ok(Config::named(server_name!("example.org"))));
    for key in ["listen = [", "cache_mb = ", "[media.previews]", "any_port = ", "legacy = "] {
        assert!(text.contains(key), "{key} shows its default:\n{text}");
    }
    for key in ["trusted_proxies = ", "base_url = ", "max_mb_per_user = ", "[media.store]", "[[support.contacts]]"] {
        assert!(examples.iter().any(|line| line.starts_with(key)), "{key} is not set by default: {examples:?}");
    }
}

#[test]
fn what_is_in_force_reads_back_the_same() {
    let config = parse(
        "base_url = \"https://example.org\"\n[store]\ncache_mb = 99\n[[support.contacts]]\nemail = \"\\\"a@b.org\"\n\
         [[registration.terms]]\nid = \"a\"\nversion = \"1\"\nname = \"A\"\nurl = \"https://a.org/\"\n",
    );
    let text = config.in_force();
    assert!(text.contains("cache_mb = 99\n") && text.contains("read_threads = 4 # default\n"), "{text}");
    // Tables have lines of their own, and say as well what is a default.
    for table in [
        "# store is not set\n\n[media.previews]\nenabled = false # default\n",
        "[[registration.terms]]\nid = \"a\"\nversion = \"1\"\nlanguage = \"en\" # default\n",
        "[[support.contacts]]\n",
    ] {
        assert!(text.contains(table), "{table}\n{text}");
    }
    assert_eq!(Config::parse(&text), Ok(config));
}

#[test]
fn a_bare_address_is_a_network_of_one() {
    let proxies = |text: &str| parse(&format!("trusted_proxies = {text}\n")).server.trusted_proxies;
    assert_eq!(proxies("[\"127.0.0.1\", \"::1\"]"), proxies("[\"127.0.0.1/32\", \"::1/128\"]"));
    let found = problems("trusted_proxies = \"localhost\"");
    assert!(found.contains("must be an address such as \"10.0.0.1\", or a network such as"), "{found}");
}

#[test]
fn every_file_that_holds_a_secret_is_known() {
    fn keys_of_files(path: &str, table: &crate::section::Description, found: &mut Vec<String>) {
        for key in &table.keys {
            let path = format!("{path}.{}", key.name);
            if path.ends_with("_file") {
                found.push(path.clone());
            }
            key.entries.iter().for_each(|entries| keys_of_files(&path, entries, found));
        }
    }
    let config = parse(
        "[turn]\nuris = \"turn:a.org\"\nshared_secret_file = \"/a\"\nusername = \"a\"\npassword_file = \"/b\"\n\
         [media.store]\nendpoint = \"https://a.org\"\nbucket = \"b\"\naccess_key_id_file = \"/c\"\n\
         secret_access_key_file = \"/d\"\n",
    );
    let mut wanted = Vec::new();
    for section in Config::describe() {
        keys_of_files(section.name, &section, &mut wanted);
    }
    let mut known: Vec<_> = config.secret_files().into_iter().map(|(key, _)| key).collect();
    known.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(known, wanted);
    let bare = Config::named(server_name!("example.org"));
    assert_eq!(bare.secret_files(), [(Config::SIGNING_KEY, bare.server.signing_key_file())]);
}

#[test]
fn keys_of_tables_have_their_bounds_in_the_example() {
    let example = Config::example();
    assert!(example.contains("# # From 16 to 16384.\n# page_kb = 1024\n"), "{example}");
}

#[test]
fn the_store_of_media_is_a_section_in_its_section() {
    let keys = "endpoint = \"http://127.0.0.1:9\"\nbucket = \"b\"\naccess_key_id_file = \"id\"\n";
    let found = problems(&format!("[media]\nlegacy = \"no\"\n[media.store]\n{keys}"));
    assert!(found.contains("line 4: media.legacy: must be one of \"off\", \"on\""), "{found}");
    assert!(found.contains("line 5: media.store.secret_access_key_file: must be set"), "{found}");
    let mut config =
        parse(&format!("[media]\ndir = \"files\"\n[media.store]\n{keys}secret_access_key_file = \"/s\"\n"));
    assert_eq!(Config::parse(&config.in_force()).as_ref(), Ok(&config));
    config.media.resolve("/srv".as_ref());
    assert_eq!(config.media.dir("/data".as_ref()).to_str(), Some("/srv/files"));
    let store = config.media.store.expect("a store");
    assert_eq!(
        (store.access_key_id_file.to_str(), store.secret_access_key_file.to_str()),
        (Some("/srv/id"), Some("/s"))
    );
}

#[test]
fn a_store_of_media_that_cannot_work_is_refused() {
    let found = |text: &str| {
        let keys = "[media.store]\naccess_key_id_file = \"/id\"\nsecret_access_key_file = \"/secret\"\n";
        problems(&format!("{keys}{text}"))
    };
    for (text, wanted) in [
        ("endpoint = \"ftp://a.org\"\nbucket = \"b\"", "media.store.endpoint: must begin with https://"),
        ("endpoint = \"https://u:p@a.org\"\nbucket = \"b\"", "media.store.endpoint: must not hold a password"),
        ("endpoint = \"https://a.org\"\nbucket = \"\"", "media.store.bucket: must not be empty"),
        ("endpoint = \"https://[::1]\"\nbucket = \"b\"\npath_style = false", "media.store.path_style: must be true"),
        ("endpoint = \"https://a.org\"\nbucket = \"b\"\nprefix = \"a/../b\"", "media.store.prefix: may have"),
        ("endpoint = \"https://a.org\"\nbucket = \"b\"\nprefix = \"a b\"", "media.store.prefix: may have"),
    ] {
        assert!(found(text).contains(wanted), "{text}: {}", found(text));
    }
    let keys = "access_key_id_file = \"/id\"\nsecret_access_key_file = \"/s\"\nprefix = \"/of/agency-1/\"\n";
    let right = format!("[media.store]\nendpoint = \"https://a.org\"\nbucket = \"b\"\npath_style = false\n{keys}");
    assert!(parse(&right).media.store.is_some());
}

#[test]
fn paths_start_at_the_folder_of_the_file() {
    let mut config = parse("data_dir = \".\"\nsigning_key_file = \"/keys/k\"\n");
    config.server.resolve("/srv/depesche".as_ref());
    assert_eq!(config.server.data_dir.to_str(), Some("/srv/depesche"));
    assert_eq!(config.server.signing_key_file().to_str(), Some("/keys/k"));
    assert_eq!(config.server.admin_socket().to_str(), Some("/srv/depesche/admin.sock"));
}

#[test]
fn the_path_of_the_socket_counts_from_the_root() {
    // As `dev/run` writes it; the folder it lies in decides.
    let load = |depth: usize| {
        let folder = tempfile::tempdir().expect("a folder");
        let deep = folder.path().join("a".repeat(depth));
        std::fs::create_dir(&deep).expect("a folder");
        let file = deep.join("depesche.toml");
        std::fs::write(&file, "[server]\nname = \"example.org\"\ndata_dir = \".\"\n").expect("written");
        Config::load(&file)
    };
    assert!(load(1).is_ok());
    let refused = load(120).expect_err("no socket has such a path").to_string();
    assert!(refused.contains("server.admin_socket: /") && refused.contains("is longer than 107 bytes"), "{refused}");
}

#[test]
fn previews_are_off_and_a_section_of_media() {
    let config = Config::named(server_name!("example.org"));
    assert!(!config.media.previews.enabled && !config.media.previews.any_port);
    assert!(config.media.previews.allow_networks.is_empty());
    let config = parse("[media]\nlegacy = \"on\"\n[media.previews]\nenabled = true\nkeep_for = \"2h\"\n");
    assert!(config.media.previews.enabled);
    assert_eq!(config.media.previews.keep_for, Duration::from_hours(2));
    assert_eq!(Config::parse(&config.in_force()).as_ref(), Ok(&config));
    for (text, wanted) in [
        ("enabled = 1", "line 4: media.previews.enabled: must be true or false"),
        ("page_kb = 1", "line 4: media.previews.page_kb: must be from 16 to 16384, not 1"),
        ("allowed_hosts = \"https://a.org\"", "line 4: media.previews.allowed_hosts: \"https://a.org\" is no name"),
        ("denied_hosts = \"A.org\"", "line 4: media.previews.denied_hosts: \"A.org\" is no name"),
        ("user_agent = \"a\\nb\"", "line 4: media.previews.user_agent: must be plain"),
        ("enable = true", "line 4: media.previews.enable: there is no such key; did you mean \"enabled\"?"),
    ] {
        let found = problems(&format!("[media.previews]\n{text}"));
        assert!(found.contains(wanted), "{text}\nwanted: {wanted}\nfound: {found}");
    }
}

#[test]
fn servers_for_calls_need_what_users_show_them() {
    assert!(Config::named(server_name!("example.org")).turn.uris.is_empty());
    let uri = "[turn]\nuris = \"turn:a.org\"\n";
    let mut config = parse(&format!("{uri}shared_secret_file = \"secret\"\n"));
    assert_eq!(config.secret_files().pop(), Some(("turn.shared_secret_file", "secret".into())));
    config.turn.resolve("/srv".as_ref());
    assert_eq!(
        config.turn.shared_secret_file.and_then(|path| path.to_str().map(str::to_owned)).as_deref(),
        Some("/srv/secret")
    );
    assert!(parse(&format!("{uri}username = \"a\"\npassword_file = \"/b\"\n")).turn.username.is_some());
    for (text, wanted) in [
        (uri.to_owned(), "line 4: turn.uris: needs a shared_secret_file"),
        (format!("{uri}username = \"a\"\n"), "line 5: turn.username: needs a password_file"),
        (format!("{uri}password_file = \"/b\"\n"), "line 5: turn.password_file: needs a username"),
        ("[turn]\nshared_secret_file = \"/a\"\n".to_owned(), "turn.uris: must name at least one server"),
        (
            "[turn]\nuris = \"stun:a.org\"\nshared_secret_file = \"/a\"\n".to_owned(),
            "line 4: turn.uris: must begin with turn: or turns:",
        ),
        (
            format!("{uri}shared_secret_file = \"/a\"\nlifetime = \"1s\"\n"),
            "turn.lifetime: must be from \"5m\" to \"7d\"",
        ),
    ] {
        let found = problems(&text);
        assert!(found.contains(wanted), "{text}\nwanted: {wanted}\nfound: {found}");
    }
}
