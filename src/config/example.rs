//! The configuration as text: the example file, and what is in force.

use crate::section::{Description, Key, Shown};

const HEAD: &str = "\
# The configuration of Depesche. `depesche config example` writes this file. A key that is commented out shows its
# default, unless the line above it says that it is an example. `depesche config check` says what is in force, and what
# is wrong with a file. Changes count from the next start (systemctl restart depesche).
#
# Times are written \"30s\", \"5m\", \"12h\" or \"7d\". Relative paths start at the folder this file lies in.
";

/// Every key with its meaning; the ones in `set` (as `section.key` and a value in TOML) with that value.
pub(crate) fn example(sections: &[Description], set: &[(&str, String)]) -> String {
    let mut lines = vec![HEAD.to_owned()];
    for section in sections {
        lines.extend(comment(&section.about));
        lines.push(format!("[{}]", section.name));
        for key in &section.keys {
            let path = format!("{}.{}", section.name, key.name);
            let value = set.iter().find(|(name, _)| *name == path).map(|(_, value)| value);
            lines.push(String::new());
            lines.extend(comment(&key.about));
            lines.extend(notes(key).map(|line| format!("# {line}")));
            lines.extend(key_lines(&path, key, value));
        }
        lines.push(String::new());
    }
    lines.pop();
    lines.join("\n") + "\n"
}

fn key_lines(path: &str, key: &Key, set: Option<&String>) -> Vec<String> {
    let Key { name, example, .. } = key;
    match (&key.entries, set, &key.default) {
        (Some(entries), ..) => entry_lines(path, key, entries),
        (None, Some(value), _) => vec![format!("{name} = {value}")],
        // What must be set is not commented out: the example is complete as it stands.
        (None, None, None) => vec![format!("{name} = {example}")],
        (None, None, Some(_)) => {
            let says = no_default(key).map(|says| format!("# {says}"));
            says.into_iter().chain([format!("# {name} = {example}")]).collect()
        }
    }
}

/// What is to be said where the example is not the default.
fn no_default(key: &Key) -> Option<String> {
    match key.default.as_deref() {
        None => Some("Must be set, for example:".to_owned()),
        Some(default) if default == key.example => None,
        Some("" | "[]") => Some("Not set by default; for example:".to_owned()),
        Some(default) => Some(format!("By default {default}; for example:")),
    }
}

fn entry_lines(path: &str, key: &Key, entries: &Description) -> Vec<String> {
    // A table that is there by default has its keys, each with its own default.
    let is_unset = matches!(key.default.as_deref(), Some("" | "[]"));
    let mut lines: Vec<String> =
        is_unset.then(|| "# Not set by default; for example:".to_owned()).into_iter().collect();
    lines.push(if key.is_list { format!("# [[{path}]]") } else { format!("# [{path}]") });
    for key in &entries.keys {
        lines.extend(key.about.iter().map(|line| format!("# #{line}")));
        lines.extend(notes(key).map(|line| format!("# # {line}")));
        lines.extend(no_default(key).map(|says| format!("# # {says}")));
        lines.push(format!("# {} = {}", key.name, key.example));
    }
    lines
}

fn notes(key: &Key) -> impl Iterator<Item = &str> {
    key.note.iter().flat_map(|note| note.lines())
}

fn comment(lines: &[&str]) -> impl Iterator<Item = String> {
    lines.iter().map(|line| format!("# {}", line.trim()).trim_end().to_owned())
}

/// Every key with its value, marked where that is the default.
pub(crate) fn in_force(sections: &[Description], values: &[Vec<Shown>]) -> String {
    let mut lines = Vec::new();
    for (section, values) in sections.iter().zip(values) {
        lines.push(format!("[{}]", section.name));
        keys_in_force(&mut lines, section.name, section, values);
    }
    lines.pop();
    lines.join("\n") + "\n"
}

/// The keys of a table, and behind them the tables in it, where TOML wants them.
fn keys_in_force(lines: &mut Vec<String>, path: &str, table: &Description, values: &[Shown]) {
    let mut inner = Vec::new();
    for (key, value) in table.keys.iter().zip(values) {
        match &key.entries {
            Some(entries) if !value.tables.is_empty() => inner.push((key, entries, &value.tables)),
            _ => lines.push(key_in_force(key, &value.text)),
        }
    }
    lines.push(String::new());
    for (key, entries, tables) in inner {
        let path = format!("{path}.{}", key.name);
        for values in tables {
            lines.push(if key.is_list { format!("[[{path}]]") } else { format!("[{path}]") });
            keys_in_force(lines, &path, entries, values);
        }
    }
}

fn key_in_force(key: &Key, value: &str) -> String {
    match (value, key.default.as_deref()) {
        ("", _) => format!("# {} is not set", key.name),
        (value, Some(default)) if value == default => format!("{} = {value} # default", key.name),
        (value, _) => format!("{} = {value}", key.name),
    }
}
