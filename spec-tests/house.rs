//! What the house promises and Cargo does not see by itself: who depends on whom, what is absent, and what must never
//! come into the lock file. Reads manifests and sources as text.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// What a crate's manifest lists under `[dependencies]`.
fn dependencies(crate_: &str) -> BTreeSet<String> {
    let manifest = read(&format!("src/{crate_}/Cargo.toml"));
    let (_, section) = manifest.split_once("[dependencies]\n").expect("every crate depends on something");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| line.contains('='))
        // What only a feature for tests brings is not part of the crate.
        .filter(|line| !line.contains("optional = true"))
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .map(str::to_owned)
        .collect()
}

/// Our own crates that a crate may list, and others that it must not.
const LAYERS: &[(&str, &[&str], &[&str])] = &[
    ("store", &[], &["ruma", "rocksdb"]),
    ("store-rocksdb", &["depesche-store"], &["ruma"]),
    ("rules", &[], &["tokio", "futures", "rand", "tracing"]),
    ("config", &[], &["tokio"]),
    (
        "server",
        &["depesche-store", "depesche-rules", "depesche-config"],
        &["axum", "hyper", "http", "tower", "rocksdb"],
    ),
    ("net", &["depesche-server", "depesche-rules", "depesche-config"], &["depesche-store", "axum", "rocksdb"]),
    ("blobs-files", &["depesche-server"], &["depesche-store", "ruma", "axum"]),
    ("blobs-s3", &["depesche-server", "depesche-config", "depesche-blobs-files"], &["depesche-store", "ruma", "axum"]),
    ("thumbnails", &["depesche-server", "depesche-rules"], &["depesche-store", "ruma", "axum"]),
    ("api", &["depesche-server", "depesche-rules", "depesche-config"], &["rocksdb"]),
];

#[test]
fn the_layers_are_those_of_the_house() {
    for (crate_, ours, never) in LAYERS {
        let listed = dependencies(crate_);
        assert!(!listed.is_empty(), "src/{crate_}/Cargo.toml is not read");
        for dependency in &listed {
            let allowed = !dependency.starts_with("depesche") || ours.contains(&dependency.as_str());
            assert!(allowed && !never.contains(&dependency.as_str()), "{crate_} must not depend on {dependency}");
        }
    }
}

/// The names that a manifest or the workspace lists in a section.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let (_, section) = manifest.split_once(&format!("\n[{name}]\n")).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let entries = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    entries.filter_map(|line| line.split(['.', ' ', '=']).next()).map(str::to_owned).collect()
}

#[test]
fn what_is_listed_is_used() {
    let crates = fs::read_dir(root().join("src")).expect("the crates").map(|entry| entry.expect("an entry").path());
    let crates: Vec<PathBuf> = crates.filter(|path| path.is_dir()).chain([root().join("spec-tests")]).collect();
    let (mut listed, mut unused) = (BTreeSet::new(), Vec::new());
    for folder in crates {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("every crate has one");
        // Another workspace lies in this one's folder of tests.
        let code = sources_in(&folder).into_iter().filter(|(path, _)| !path.starts_with(folder.join("rust-sdk")));
        let code: String = code.map(|(_, text)| text).collect();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = words(&code.join("\n"));
        for dependency in ["dependencies", "dev-dependencies"].iter().flat_map(|name| section(&manifest, name)) {
            if !code.contains(&dependency.replace('-', "_")) {
                unused.push(format!("{}: {dependency}", folder.display()));
            }
            listed.insert(dependency);
        }
    }
    let all = section(&read("Cargo.toml"), "workspace.dependencies");
    assert!(all.len() > 50, "the workspace's table is not read");
    unused.extend(all.into_iter().filter(|name| !listed.contains(name)));
    assert_eq!(unused, [""; 0], "a dependency that nothing uses is built, looked at and updated for nothing");
}

#[test]
fn the_black_box_knows_the_server_only_over_http() {
    let manifest = read("spec-tests/Cargo.toml");
    let inside = section(&manifest, "dependencies").into_iter().filter(|name| name.starts_with("depesche"));
    let inside: Vec<String> = inside.map(|name| name.replace('-', "_")).collect();
    let (mut looking, mut cases) = (0, 0);
    for (path, text) in sources("spec-tests") {
        let words = words(&text);
        let used: Vec<_> = inside.iter().filter(|name| words.contains(*name)).collect();
        let fills = path.starts_with(root().join("spec-tests/bench"));
        assert!(fills || used.is_empty(), "{} uses {used:?}: only the benchmark's filling may", path.display());
        looking += used.len();
        cases += usize::from(path.starts_with(root().join("spec-tests/cases")));
    }
    assert!(looking >= inside.len() && cases > 20, "the sources are not read");
}

#[test]
fn the_map_has_the_arrows_of_the_manifests() {
    let map = read("docs/ARCHITECTURE.md");
    let (_, chart) = map.split_once("flowchart TD\n").expect("the map of crates");
    let chart = chart.split("```").next().unwrap_or_default();
    let mut crates = Vec::new();
    let mut drawn = BTreeSet::new();
    for line in chart.lines().map(str::trim) {
        if let Some((id, label)) = line.split_once("[\"") {
            let name = label.split(['<', ' ']).next().unwrap_or_default();
            crates.push((id, name, name.strip_prefix("depesche-").unwrap_or("main")));
        } else if let Some((from, to)) = line.split_once(" --> ") {
            drawn.insert((from, to));
        }
    }
    let mut listed = BTreeSet::new();
    for (id, _, folder) in &crates {
        let dependencies = dependencies(folder);
        listed.extend(crates.iter().filter(|(_, name, _)| dependencies.contains(*name)).map(|(to, ..)| (*id, *to)));
    }
    assert!(crates.len() > 10 && drawn.len() > 10, "the map is not read");
    assert_eq!(drawn, listed, "docs/ARCHITECTURE.md, \"Crates\"");
}

#[test]
fn the_unit_allows_what_the_program_asks_of_the_system() {
    let unit = read("docs/operate/depesche.service");
    let allowed = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let allowed: BTreeSet<&str> =
        allowed.filter(|calls| !calls.contains('@')).flat_map(|calls| calls.split(' ')).collect();
    let used: BTreeSet<String> =
        sources("src").iter().filter(|(path, _)| !is_test(path)).flat_map(|(_, text)| words(text)).collect();
    // rustix's names for the calls of the group @resources, which the unit forbids otherwise.
    for (name, call) in [
        ("setrlimit", "prlimit64"),
        ("nice", "setpriority"),
        ("setpriority_process", "setpriority"),
        ("sched_setaffinity", "sched_setaffinity"),
    ] {
        assert!(!used.contains(name) || allowed.contains(call), "{name} is used, and {call} is not allowed");
    }
    assert!(used.contains("setrlimit") && used.contains("nice"), "the sources are not read");
}

#[test]
fn the_unit_has_what_the_server_counts_on() {
    let (unit, example) = (read("docs/operate/depesche.service"), read("config.example.toml"));
    let has = |line: &str| unit.lines().any(|found| found == line);
    assert!(example.contains("\n# admin_socket = \"/run/depesche/") && has("RuntimeDirectory=depesche"));
    assert!(read("src/thumbnails/worker.rs").contains("oom_score_adj") && has("OOMPolicy=continue"));
    assert!(!example.contains("signing_key_file = \"/etc/"), "/etc cannot be written to");
}

/// The sources below a folder, tests included.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let found = sources_in(&root().join(folder));
    assert!(found.len() > 10, "the sources of {folder} are not where they were");
    found
}

fn sources_in(folder: &Path) -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder can be read").map(|entry| entry.expect("an entry").path())
        {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).expect("a source is text");
                found.push((entry, text));
            }
        }
    }
    found
}

#[test]
fn what_the_layers_do_not_have() {
    let absent = [
        (
            "src/server",
            ["StatusCode", "ErrorKind", "errcode"].as_slice(),
            "a status or an errcode is the API's to choose",
        ),
        (
            "src/rules",
            &["async fn", "async move", ".await", "SystemTime", "Instant::now"],
            "a rule neither waits nor looks at a clock",
        ),
        ("src/store", &["ruma", "OwnedUserId", "OwnedRoomId"], "the store knows nothing of Matrix"),
    ];
    for (folder, words, why) in absent {
        for (file, text) in sources(folder) {
            for word in words {
                // Errors of the system have kinds too.
                let has_word = |line: &str| line.replace("io::ErrorKind", "").contains(word);
                let found = text.lines().find(|line| !line.trim_start().starts_with("//") && has_word(line));
                assert!(found.is_none(), "{}: {why}: {}", file.display(), found.unwrap_or_default());
            }
        }
    }
}

#[test]
fn every_bound_is_kept() {
    let bounds = read("src/rules/bounds.rs");
    let names: Vec<&str> =
        bounds.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next()).collect();
    assert!(names.len() > 50, "bounds.rs is not read");
    let used: BTreeSet<String> = sources("src")
        .into_iter()
        // A test that names a bound does not keep it.
        .filter(|(path, _)| !path.ends_with("rules/bounds.rs") && !is_test(path))
        .flat_map(|(_, text)| words(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()))
        .collect();
    let unused: Vec<_> = names.into_iter().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, [""; 0], "a bound that nothing keeps promises what is not there");
}

/// Bounds that no test names, and why. A new one comes with a test at it and one beyond, so nothing is added here.
const WITHOUT_A_TEST: &[(&str, &str)] = &[
    ("MAX_MENTIONED_MEMBERS", "one event has no room for as many names of usual length"),
    ("MAX_TOKEN_BYTES", "tokens of a hundred thousand bytes are asked for, but none of that length can exist"),
    ("MAX_PAGE_BYTES", "the tests of large pages say how many events they expect, from which it follows"),
    ("MAX_AGGREGATED_BYTES", "likewise: rooms/tests/related.rs has eighty large edits"),
    ("MAX_BECAUSE_BYTES", "likewise: rooms/tests/related.rs has a reason below it and one beyond"),
    ("MAX_STRIPPED_CONTENT_BYTES", "none yet"),
    ("MAX_SEARCH_STATE_BYTES", "rooms whose states have sixteen megabytes"),
    ("MAX_IGNORED_USERS", "none yet"),
    ("MAX_MOVED_RECEIPTS_PER_SYNC", "five thousand users who read"),
    ("MAX_PRESENCE_ROOMS", "none yet"),
    ("MAX_PRESENCE_PER_SYNC", "none yet"),
    ("MAX_PUSHER_DATA_BYTES", "pushers/tests.rs has data beyond it"),
    ("MAX_HIERARCHY_CHILDREN", "tests/directories.rs walks with less, by the same argument"),
    ("MAX_THUMBNAIL_DIMENSION", "media/tests/sizes.rs has a table of sizes around it"),
    ("MAX_PREVIEW_NAME_BYTES", "none yet"),
    ("MAX_PREVIEW_REDIRECTS", "none yet"),
];

#[test]
fn every_bound_has_a_test() {
    let bounds = read("src/rules/bounds.rs");
    let names = bounds.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let names: BTreeSet<&str> = names.filter(|name| name.starts_with("MAX_")).collect();
    assert!(names.len() > 50, "bounds.rs is not read");
    let tests = sources("src").into_iter().map(|(path, text)| {
        let beside = text.split_once("#[cfg(test)]\nmod tests {").map(|(_, tests)| tests.to_owned());
        if is_test(&path) { text } else { beside.unwrap_or_default() }
    });
    let named: BTreeSet<String> = tests.flat_map(|text| words(&text)).collect();
    let untested: BTreeSet<&str> = names.into_iter().filter(|name| !named.contains(*name)).collect();
    let listed: BTreeSet<&str> = WITHOUT_A_TEST.iter().map(|(name, _)| *name).collect();
    let new: Vec<_> = untested.difference(&listed).collect();
    assert!(new.is_empty(), "{new:?}: a test at the bound and one beyond");
    let tested: Vec<_> = listed.difference(&untested).collect();
    assert!(tested.is_empty(), "{tested:?}: these have tests, or are no more; take them out of the list");
}

/// Stored types beyond their first version: the version, and the schema that databases have from then on.
const NEWER_RECORDS: &[(&str, u32, u32)] = &[
    ("Backup", 2, 4),
    ("BackupHead", 2, 4),
    ("Head", 3, 2),
    ("LoginToken", 2, 4),
    ("Meta", 2, 4),
    ("Named", 2, 2),
    ("Session", 3, 4),
];

#[test]
fn a_new_version_of_a_record_raises_the_schema() {
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).next().and_then(|text| text.parse().ok());
    let (mut found, mut record) = (BTreeSet::<(String, u32)>::new(), String::new());
    for (path, text) in sources("src/server").iter().filter(|(path, _)| !is_test(path)) {
        if !path.components().any(|part| part.as_os_str() == "records") {
            continue;
        }
        for line in text.lines().map(str::trim) {
            if let Some((name, version)) = line.strip_prefix("record!(").and_then(|line| line.split_once(", ")) {
                found.insert((name.to_owned(), number(version).expect("a version")));
            } else if let Some(name) = line.strip_prefix("impl Record for ") {
                name.trim_end_matches(" {").clone_into(&mut record);
            }
            // As postcard has it, or by hand: the first byte.
            for begins in ["table::encode(self, ", "let mut bytes = vec![", "bytes.push("] {
                let version = line.strip_prefix(begins).and_then(number);
                found.extend(version.map(|version| (record.clone(), version)));
            }
        }
    }
    assert!(found.len() > 40, "the records are not read");
    for (name, version) in found.iter().filter(|(_, version)| *version > 1) {
        let is_listed = NEWER_RECORDS.iter().any(|(listed, newest, _)| name == listed && version <= newest);
        assert!(
            is_listed,
            "{name} {version}: raise SCHEMA by `new_records` in src/server/schemas.rs, and list it with that"
        );
    }
    let is_found = |name: &str| found.iter().any(|(found, version)| found == name && *version > 1);
    assert!(NEWER_RECORDS.iter().all(|(name, ..)| is_found(name)), "the list names what is not there");
    let schema = read("src/server/identity.rs");
    let schema = schema.split_once("pub const SCHEMA: u32 = ").and_then(|(_, schema)| number(schema));
    let newest = NEWER_RECORDS.iter().map(|(_, _, schema)| *schema).max();
    assert!(schema.is_some() && newest <= schema, "{newest:?} is above {schema:?}");
}

/// Whether a source is for tests alone.
fn is_test(path: &Path) -> bool {
    path.iter().any(|part| matches!(part.to_str(), Some("tests" | "tests.rs" | "testing" | "testing.rs")))
}

/// The names in a source.
fn words(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter| !is_part(letter)).map(str::to_owned).collect()
}

/// Name, version and source of every package of the lock file.
fn locked() -> Vec<(String, String, Option<String>)> {
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""));
        line.map(|value| value.trim_end_matches('"').to_owned())
    };
    let lock = read("Cargo.lock");
    let packages = lock.split("[[package]]").skip(1);
    packages
        .map(|package| {
            let (name, version) = (field(package, "name"), field(package, "version"));
            (name.expect("a name"), version.expect("a version"), field(package, "source"))
        })
        .collect()
}

#[test]
fn the_lock_file_has_one_tls_and_one_ruma() {
    let locked = locked();
    let has = |name: &str| locked.iter().any(|(locked, ..)| locked == name);
    for banned in ["openssl", "openssl-sys", "native-tls"] {
        assert!(!has(banned), "{banned} is in Cargo.lock; see docs/decisions/0004-crates-and-build.md");
    }
    // The lock file names ring wherever rustls could have it; what counts is whether anything is built with it.
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--locked", "--offline", "--edges", "all", "--invert", "ring"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(tree.status.success() || !has("ring"), "{}", String::from_utf8_lossy(&tree.stderr));
    let users = String::from_utf8_lossy(&tree.stdout);
    assert!(users.trim().is_empty(), "ring is built; see docs/decisions/0004-crates-and-build.md:\n{users}");
    assert!(!has("rustls") || has("aws-lc-rs"), "rustls has no provider but aws-lc");
    assert_eq!(locked.iter().filter(|(name, ..)| name == "ruma").count(), 1);
    for (name, version, source) in &locked {
        match source {
            None => assert!(name.starts_with("depesche"), "{name} {version} comes from nowhere"),
            Some(source) => assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index", "{name}"),
        }
    }
}
