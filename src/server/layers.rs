//! The order of modules, kept by reading the sources: a module uses only what stands above it.
//!
//! Comments and tests may look anywhere.

use std::{fs, path::Path};

/// From the ground up. Modules in one line belong together and may use each other; each line uses those above it.
const ORDER: &[&[&str]] = &[
    &["clock"],
    &["codec"],
    &["table"],
    &["records", "keyspace"],
    &["topic"],
    &["event_cache"],
    &["tx"],
    &["stripes"],
    &["base"],
    &["tasks"],
    &["identity", "expiry", "migrations"],
    &["turns"],
    &["profiles"],
    &["filters"],
    &["turn"],
    &["account_data"],
    &["push_rules"],
    &["accounts", "devices"],
    &["keys", "backup", "to_device"],
    &["pushers"],
    &["media"],
    &["previews"],
    &["typing", "presence"],
    &["rooms"],
    &["directory", "user_directory", "spaces"],
    &["reports"],
    &["verify", "restored", "schemas"],
    &["sync"],
    &["notifications", "search"],
    &["outbox"],
    // Workflows are methods of the joined server, which resumes them when it starts.
    &["server", "workflows"],
];

/// What `lib.rs` hands out under its own name, or a macro puts there.
const SHORT: &[(&str, &str)] = &[
    ("Base", "base"),
    ("Fault", "tx"),
    ("Clock", "clock"),
    ("Random", "clock"),
    ("Server", "server"),
    ("record", "table"),
];

#[test]
fn a_module_uses_only_what_stands_above_it() {
    let mut upward = Vec::new();
    for (file, text) in sources(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        let own = module(&file);
        let above = level(&own);
        upward.extend(used(&text).iter().filter(|used| level(used) > above).map(|used| format!("{file} uses {used}")));
    }
    assert!(upward.is_empty(), "upward uses:\n{}", upward.join("\n"));
}

/// The line of a module; a new one has to be given its place.
fn level(module: &str) -> usize {
    ORDER.iter().position(|line| line.contains(&module)).unwrap_or_else(|| panic!("`{module}` has no place in ORDER"))
}

/// The files of the crate by their path in it, without tests and without what every crate has.
pub(crate) fn sources(root: &Path) -> Vec<(String, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            let path = entry.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let stem = entry.file_stem().unwrap().to_str().unwrap();
            if matches!(stem, "tests" | "testing" | "lib" | "fuzz" | "layers" | "writers") {
                continue;
            }
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                found.push((path, fs::read_to_string(&entry).unwrap()));
            }
        }
    }
    assert!(found.len() > ORDER.len(), "the sources are not where they were");
    found
}

/// The modules of this crate that a text names behind `crate::`, be it one or a group in braces.
fn used(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut names = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        let rest = &code[at + path.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(module(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, character) in group.char_indices() {
            match character {
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                '{' => depth += 1,
                ',' if depth == 0 => begins = true,
                _ if begins && depth == 0 && !character.is_whitespace() => {
                    names.push(module(&group[at..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// The module that a path begins with.
fn module(path: &str) -> String {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    let name = &path[..end];
    SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, module)| module).to_owned()
}

#[test]
fn the_map_has_the_same_order() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ARCHITECTURE.md")).unwrap();
    let (_, table) = map.split_once("| Modules | What |\n|---|---|\n").expect("the table of modules");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map_while(|row| row.strip_prefix("| ")?.split_once(" | "))
        .map(|(modules, _)| modules.split('`').skip(1).step_by(2).collect())
        .collect();
    assert_eq!(rows, ORDER, "docs/ARCHITECTURE.md, \"Inside `server`\"");
}

#[test]
fn what_a_text_uses() {
    let text = "use crate::{\n    Fault, base::{Base, Other},\n    tx::Tx,\n};\n// crate::no\nlet a = crate::rooms::b();\n\
                #[cfg(test)]\nmod tests {\n use crate::sync; }";
    assert_eq!(used(text), ["tx", "base", "tx", "rooms"]);
}
