//! The oracle's table: which case, as it stands, was run on Synapse and what that proved.
//!
//! A case is a `#[tokio::test]` at the top level of a file in `cases/`. Its row holds a hash of its source and of all that
//! it uses of its file, so that an edited case must be proved again. `pass` means that Synapse does what the case asks; `differs` that the case asserts
//! what Synapse does instead, and names the section of the specification that Synapse does not follow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::source::{Item, items, with_all_it_uses};

/// The release of Synapse that is the oracle; `dev/test` installs this one.
pub const SYNAPSE_VERSION: &str = "1.163.2";

/// Written above the rows.
const HEAD: &str = "case\tsource\tsynapse\tresult\tsection\n";

/// A case as its source has it.
#[derive(Clone, Debug)]
pub struct Case {
    /// `file::function`, as the test runner names it.
    pub name: String,
    /// The hash of its source text, and of the functions and constants of its file that it uses.
    pub hash: String,
    /// The sections that it, or such a function, names as the first argument of `differs`, if any.
    pub differs: Option<String>,
}

/// A line of `oracle.tsv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The case's name.
    pub case: String,
    /// The hash of the source that was run.
    pub hash: String,
    /// The release of Synapse it was run on.
    pub synapse: String,
    /// The sections in which Synapse differs; empty where it passes.
    pub sections: String,
}

impl Row {
    /// The row of a case that has passed on [`SYNAPSE_VERSION`].
    pub fn of(case: &Case) -> Self {
        Self {
            case: case.name.clone(),
            hash: case.hash.clone(),
            synapse: SYNAPSE_VERSION.to_owned(),
            sections: case.differs.clone().unwrap_or_default(),
        }
    }
}

/// All cases, in the order of their names.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(home().join("cases")).expect("the cases are beside this file") {
        let path = entry.expect("a readable directory").path();
        let area = path.file_stem().and_then(|stem| stem.to_str()).expect("a UTF-8 file name").to_owned();
        cases.extend(scan(&area, &fs::read_to_string(&path).expect("a readable source")));
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

/// The cases of one file.
pub fn scan(area: &str, source: &str) -> Vec<Case> {
    let items = items(source);
    let cases = (0..items.len()).filter(|at| items[*at].is_case);
    let cases = cases.map(|at| {
        let used = with_all_it_uses(at, &items);
        Case { name: format!("{area}::{}", items[at].name), hash: hash(&used), differs: sections(&used) }
    });
    cases.collect()
}

/// What is wrong between the cases and the rows: a line for each.
pub fn complaints(cases: &[Case], rows: &[Row]) -> Vec<String> {
    let by_name: BTreeMap<&str, &Row> = rows.iter().map(|row| (row.case.as_str(), row)).collect();
    let mut lines = Vec::new();
    for case in cases {
        match by_name.get(case.name.as_str()) {
            None => lines.push(format!("{}: has no row", case.name)),
            Some(row) if **row != Row::of(case) => lines.push(format!("{}: its row is stale", case.name)),
            Some(_) => {}
        }
    }
    let known = |row: &&Row| cases.iter().any(|case| case.name == row.case);
    lines.extend(rows.iter().filter(|row| !known(row)).map(|row| format!("{}: a row without a case", row.case)));
    lines
}

/// The results in the output of the test runner: whether each case passed.
pub fn results(output: &str) -> BTreeMap<String, bool> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("test "));
    let pairs = lines.filter_map(|line| line.rsplit_once(" ... "));
    pairs.map(|(name, result)| (name.trim().to_owned(), result == "ok")).collect()
}

/// The rows of `oracle.tsv`.
pub fn rows() -> Vec<Row> {
    let text = fs::read_to_string(home().join("oracle.tsv")).unwrap_or_default();
    text.lines().skip(1).map(row).collect()
}

fn row(line: &str) -> Row {
    let fields: Vec<&str> = line.split('\t').collect();
    let [case, hash, synapse, result, sections] = fields[..] else { panic!("not a row of oracle.tsv: {line:?}") };
    assert_eq!(result, if sections.is_empty() { "pass" } else { "differs" }, "{line}");
    Row { case: case.into(), hash: hash.into(), synapse: synapse.into(), sections: sections.into() }
}

/// Writes `oracle.tsv`.
pub fn save(rows: &[Row]) {
    let mut text = HEAD.to_owned();
    for row in rows {
        let result = if row.sections.is_empty() { "pass" } else { "differs" };
        let _ = writeln!(text, "{}\t{}\t{}\t{result}\t{}", row.case, row.hash, row.synapse, row.sections);
    }
    fs::write(home().join("oracle.tsv"), text).expect("oracle.tsv can be written");
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// A hash of the texts without their indentation, so that moving code to another depth proves nothing anew.
fn hash(items: &[Item<'_>]) -> String {
    let mut hasher = Sha256::new();
    for line in items.iter().flat_map(|item| item.text.lines()) {
        hasher.update(line.trim());
        hasher.update("\n");
    }
    hasher.finalize().iter().take(8).fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn sections(items: &[Item<'_>]) -> Option<String> {
    let calls = items.iter().flat_map(|item| item.text.split("differs(").skip(1));
    let names: Vec<&str> = calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}
