//! Holds `oracle.tsv` against the sources of the cases; with `DEPESCHE_WRITE_ORACLE=1` writes it from a real run.
//!
//! `DEPESCHE_WRITE_ORACLE=1 DEPESCHE_SYNAPSE=<venv> cargo test -p depesche-spec-tests --test oracle` runs every case
//! on Synapse and keeps a row for each that passed. A filter in `DEPESCHE_ORACLE_CASES` runs a part of them only.

use std::process::Command;

use depesche_spec_tests::oracle::{self, Case, Row};

#[test]
fn every_case_was_proved_on_synapse_as_it_stands() {
    let cases = oracle::cases();
    assert!(!cases.is_empty(), "no case found in the sources");
    if std::env::var_os("DEPESCHE_WRITE_ORACLE").is_some() {
        write(&cases);
    }
    let complaints = oracle::complaints(&cases, &oracle::rows());
    assert!(complaints.is_empty(), "run the cases on Synapse and write the oracle again:\n{}", complaints.join("\n"));
}

/// Runs the cases on Synapse, and writes the rows of those that passed beside the rows of those that did not run.
fn write(cases: &[Case]) {
    let mut run = Command::new(env!("CARGO"));
    run.args(["test", "--package", env!("CARGO_PKG_NAME"), "--no-fail-fast", "--test", "cases", "--"])
        .args(std::env::var("DEPESCHE_ORACLE_CASES").ok().iter().flat_map(|list| list.split_whitespace()))
        .env("DEPESCHE_TARGET", "synapse")
        .env_remove("DEPESCHE_WRITE_ORACLE");
    let output = run.output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let results = oracle::results(&text);
    assert!(!results.is_empty(), "the run on Synapse had no result");
    let before = oracle::rows();
    let rows: Vec<Row> = cases
        .iter()
        .filter_map(|case| match results.get(&case.name) {
            Some(true) => Some(Row::of(case)),
            Some(false) => None,
            None => before.iter().find(|row| row.case == case.name).cloned(),
        })
        .collect();
    oracle::save(&rows);
}

#[test]
fn a_changed_case_and_a_row_without_a_case_are_found() {
    let source = "#[tokio::test]\nasync fn a_case() {\n    one();\n}\n";
    let case = &oracle::scan("area", source)[0];
    assert_eq!((case.name.as_str(), case.differs.as_deref()), ("area::a_case", None));
    let row = Row::of(case);
    assert!(oracle::complaints(std::slice::from_ref(case), std::slice::from_ref(&row)).is_empty());

    let changed = &oracle::scan("area", &source.replace("one", "two"))[0];
    assert_eq!(oracle::complaints(std::slice::from_ref(changed), std::slice::from_ref(&row)).len(), 1);
    assert_eq!(oracle::complaints(&[], std::slice::from_ref(&row)).len(), 1);
    assert_eq!(oracle::complaints(std::slice::from_ref(case), &[]).len(), 1);
}

#[test]
fn what_a_case_uses_of_its_file_is_a_part_of_it() {
    let source = "const PATH: &str = \"/one\";\n\nfn helper() {\n    get(PATH);\n}\n\nfn other() {\n    two();\n}\n\n\
                  #[tokio::test]\nasync fn a_case() {\n    helper();\n}\n";
    let case = |source: &str| oracle::scan("area", source).remove(0);
    let row = Row::of(&case(source));
    let is_stale = |source: &str| !oracle::complaints(&[case(source)], std::slice::from_ref(&row)).is_empty();
    assert!(!is_stale(source) && !is_stale(&source.replace("two", "three")));
    assert!(is_stale(&source.replace("/one", "/two")), "a constant");
    assert!(is_stale(&source.replace("get", "put")), "a function");
    let helper = "helper() {\n    differs(\"page#section\", || 1, || 2);";
    let differs = case(&source.replace("helper() {", helper)).differs;
    assert_eq!(differs.as_deref(), Some("page#section"));
}

#[test]
fn a_case_that_names_a_section_differs() {
    let source = "#[tokio::test]\nasync fn a_case() {\n    differs(\"page#section\", || 1, || 2);\n}\n";
    assert_eq!(oracle::scan("area", source)[0].differs.as_deref(), Some("page#section"));
}
