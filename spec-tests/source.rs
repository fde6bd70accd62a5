//! What a function of a source file uses of the same file, read from the text as rustfmt leaves it: what stands at the
//! top level begins in the first column, and so does the brace that ends it.

use std::collections::BTreeSet;

/// Something at the top level of a file that has a name: a function, a constant, a type.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether the test runner runs it.
    pub is_case: bool,
    /// From its attributes on to its end; without the comments above it.
    pub text: &'a str,
}

/// All items of a file, in its order.
pub fn items(source: &str) -> Vec<Item<'_>> {
    let (mut items, mut at, mut attributes) = (Vec::new(), 0, None);
    while at < source.len() {
        let line = source[at..].split_inclusive('\n').next().unwrap_or_default();
        let mut next = at + line.len();
        if line.starts_with("#[") {
            attributes.get_or_insert(at);
        } else if let Some(name) = name_of(line) {
            let from = attributes.take().unwrap_or(at);
            next = at + length(&source[at..]);
            let is_case = ["#[tokio::test", "#[test]"].iter().any(|test| source[from..at].contains(test));
            items.push(Item { name, is_case, text: &source[from..next] });
        } else if line.trim().is_empty() {
            attributes = None;
        }
        at = next;
    }
    items
}

/// The item at this place, and behind it those of its file that it uses, directly or not, in the order of their names.
pub fn with_all_it_uses<'s>(at: usize, items: &[Item<'s>]) -> Vec<Item<'s>> {
    let (mut found, mut open) = (BTreeSet::from([at]), vec![at]);
    while let Some(from) = open.pop() {
        for (other, item) in items.iter().enumerate() {
            if uses(items[from].text, item.name) && found.insert(other) {
                open.push(other);
            }
        }
    }
    let mut all = vec![items[at]];
    found.remove(&at);
    let mut others: Vec<Item<'s>> = found.into_iter().map(|other| items[other]).collect();
    others.sort_by_key(|item| (item.name, item.text));
    all.append(&mut others);
    all
}

/// The name of the item whose head begins in this line.
fn name_of(line: &str) -> Option<&str> {
    let mut head = line;
    for word in ["pub ", "async ", "macro_rules! "] {
        head = head.strip_prefix(word).unwrap_or(head);
    }
    if let Some(of) = head.strip_prefix("impl ") {
        // Belongs to its type.
        return identifier(of.split_once(" for ").map_or(of, |(_, of)| of));
    }
    if line.starts_with("macro_rules! ") {
        return identifier(head);
    }
    let kinds = ["fn ", "const fn ", "const ", "static ", "struct ", "enum ", "type ", "trait "];
    identifier(kinds.iter().find_map(|kind| head.strip_prefix(kind))?)
}

fn identifier(text: &str) -> Option<&str> {
    let name = text.split(|character: char| !is_part(character)).next()?;
    (!name.is_empty()).then_some(name)
}

/// How long the item is that begins here.
fn length(text: &str) -> usize {
    let is_value = ["const ", "pub const ", "static ", "pub static ", "type ", "pub type "];
    let is_value = is_value.iter().any(|head| text.starts_with(head)) && !text.starts_with("const fn ");
    let mut length = 0;
    for line in text.split_inclusive('\n') {
        let is_first = length == 0;
        length += line.len();
        let line = line.trim_end();
        let ends = if is_value { line.ends_with(';') } else { line.starts_with('}') };
        if ends || (is_first && line.ends_with(['}', ';'])) {
            break;
        }
    }
    length
}

/// Whether a text has this name as a whole word.
fn uses(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(is_part) && !text[at + name.len()..].starts_with(is_part)
    })
}

fn is_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::{items, with_all_it_uses};

    const SOURCE: &str = r#"//! Cases.

use depesche_spec_tests::prelude::*;

const PATH: &str = "/path";

/// Two lines.
const LIST: [&str; 2] =
    ["fn not_one()", "b"];

type Pair = (u8, u8);

struct Kept;

impl Default for Kept {
    fn default() -> Self {
        Self
    }
}

/// Uses a constant.
async fn first(
    kept: &Kept,
) -> Pair {
    second(PATH)
}

fn second(path: &str) -> Pair {
    (0, 0)
}

fn unused() {}

#[tokio::test(flavor = "multi_thread")]
async fn a_case() {
    first(&Kept::default()).await;
}

#[tokio::test]
async fn unlike() {
    LIST; seconds();
}
"#;

    #[test]
    fn items_begin_and_end_in_the_first_column() {
        let items = items(SOURCE);
        let names: Vec<_> = items.iter().map(|item| item.name).collect();
        let named = ["PATH", "LIST", "Pair", "Kept", "Kept", "first", "second", "unused", "a_case", "unlike"];
        assert_eq!(names, named);
        assert_eq!(items[0].text, "const PATH: &str = \"/path\";\n");
        assert!(items[1].text.ends_with("\"b\"];\n") && items[2].text == "type Pair = (u8, u8);\n");
        assert!(items[5].text.starts_with("async fn first(") && items[5].text.ends_with("PATH)\n}\n"));
        assert!(items[8].text.starts_with("#[tokio::test(flavor") && items[8].text.ends_with("await;\n}\n"));
        assert!(items.iter().all(|item| item.is_case == ["a_case", "unlike"].contains(&item.name)));
    }

    #[test]
    fn what_is_used_is_found_through_what_uses_it() {
        let items = items(SOURCE);
        let used = |at| with_all_it_uses(at, &items).iter().map(|item| item.name).collect::<Vec<_>>();
        assert_eq!(used(8), ["a_case", "Kept", "Kept", "PATH", "Pair", "first", "second"]);
        assert_eq!(used(9), ["unlike", "LIST"], "a part of a word is another one");
    }
}
