//! The configuration as text: the example file, and what is in force.

use crate::section::{Description, Key};

const HEAD: &str = "\
# The configuration of Depesche. `depesche config example` writes this file. A key that is commented out shows its
# default, unless the line above it says that it is an example. `depesche config check` says what is in force, and what
# is wrong with a file.
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
            lines.extend(key.note.iter().flat_map(|note| note.lines()).map(|line| format!("# {line}")));
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
        lines.extend(no_default(key).map(|says| format!("# # {says}")));
        lines.push(format!("# {} = {}", key.name, key.example));
    }
    lines
}

fn comment(lines: &[&str]) -> impl Iterator<Item = String> {
    lines.iter().map(|line| format!("# {}", line.trim()).trim_end().to_owned())
}

/// Every key with its value, marked where that is the default.
pub(crate) fn in_force(sections: &[Description], values: &[Vec<String>]) -> String {
    let mut lines = Vec::new();
    for (section, values) in sections.iter().zip(values) {
        lines.push(format!("[{}]", section.name));
        for (key, value) in section.keys.iter().zip(values) {
            lines.push(match (value.as_str(), key.default.as_deref()) {
                ("", _) => format!("# {} is not set", key.name),
                (value, Some(default)) if value == default => format!("{} = {value} # default", key.name),
                (value, _) => format!("{} = {value}", key.name),
            });
        }
        lines.push(String::new());
    }
    lines.pop();
    lines.join("\n") + "\n"
}
