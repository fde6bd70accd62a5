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
    ("blobs-s3", &["depesche-server", "depesche-config"], &["depesche-store", "ruma", "axum"]),
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

/// The sources below a folder, tests included.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
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
    assert!(found.len() > 10, "the sources of {folder} are not where they were");
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
        // Tests of the API run it on the memory engine.
        for (file, text) in sources(folder).into_iter().filter(|(file, _)| !file.ends_with("tests/fixture.rs")) {
            for word in words {
                let found = text.lines().find(|line| !line.trim_start().starts_with("//") && line.contains(word));
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
        .filter(|(path, _)| !path.ends_with("rules/bounds.rs"))
        .flat_map(|(_, text)| words(&text))
        .collect();
    let unused: Vec<_> = names.into_iter().filter(|name| !used.contains(*name)).collect();
    assert_eq!(unused, [""; 0], "a bound that nothing keeps promises what is not there");
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
