//! Who writes which table, kept by reading the sources: `keyspace.rs` names every module that does, and no other.

use std::{collections::BTreeMap, fs, path::Path};

use crate::layers::sources;

/// What a batch is told to change rows with.
const VERBS: &[&str] = &["put", "put_stamped", "put_stamped_value", "delete", "delete_range"];

/// The tables with the modules that their documentation names, behind "written by".
fn named() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("keyspace.rs")).unwrap();
    let (mut tables, mut about) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        if let Some(more) = line.strip_prefix("///") {
            about += more;
        } else if let Some((name, _)) = line.strip_prefix("pub const ").and_then(|line| line.split_once(": Table<")) {
            let about = std::mem::take(&mut about);
            let (_, writers) = about.split_once("ritten by ").unwrap_or_default();
            // Every other piece stands between backticks.
            tables.insert(name.to_owned(), writers.split('`').skip(1).step_by(2).map(str::to_owned).collect());
        } else {
            about.clear();
        }
    }
    assert!(tables.len() > 80, "the tables are not where they were");
    tables
}

/// The tables that a text changes rows of.
fn written(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let calls = code.match_indices('(').filter_map(|(at, _)| {
        let verb = code[..at].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        let table = code[at + 1..].trim_start().trim_start_matches('&').trim_start_matches("keyspace::");
        let end = table.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(table.len());
        (VERBS.contains(&verb) && end > 1).then(|| table[..end].to_owned())
    });
    calls.collect()
}

#[test]
fn each_table_says_who_writes_it() {
    let mut tables = named();
    let mut wrong = Vec::new();
    let mut writes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in sources(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        let module = file.trim_end_matches(".rs").replace('/', "::");
        for table in written(&text) {
            writes.entry(table).or_default().push(module.trim_end_matches("::mod").to_owned());
        }
    }
    for (table, modules) in writes {
        let Some(named) = tables.remove(&table) else { continue };
        // A module answers for those below it.
        let is = |module: &str, name: &str| module == name || module.starts_with(&format!("{name}::"));
        let unnamed = modules.iter().filter(|module| !named.iter().any(|name| is(module, name)));
        wrong.extend(unnamed.map(|module| format!("{table} is written by {module}, which keyspace.rs does not say")));
        let idle = named.iter().filter(|name| !modules.iter().any(|module| is(module, name)));
        wrong.extend(idle.map(|name| format!("{table} is not written by {name}")));
    }
    wrong.extend(tables.into_keys().map(|table| format!("nobody writes {table}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_text_writes() {
    let text = "tx.put(&ROOM, &1);\nself.tx.delete_range(\n    POSTING.under(&2),\n);\n// tx.put(&NO, &1)\nget(&HEAD);\n\
                tx.put_stored(key);\n#[cfg(test)]\nmod tests {\n tx.put(&EVENT, &1) }";
    assert_eq!(written(text), ["ROOM", "POSTING"]);
}
