//! The ledger of endpoints, `docs/endpoints.tsv`: every endpoint there is, whether it is served, where, and which
//! black-box cases call it.
//!
//! The columns up to `scope` are data, edited by hand; the rest is written by
//! `DEPESCHE_WRITE_LEDGER=1 cargo test -p depesche-spec-tests --test ledger` from the table of routes and the sources of
//! the cases. These tests fail when the file is stale, when a route has no case, when a route has no row, and when one
//! is not limited that the specification limits.

mod cases;
mod table;

use std::{collections::BTreeSet, fs, path::Path};

use depesche_api::{Routed, listing};

use crate::{
    cases::{Call, calls_of_all_cases},
    table::Row,
};

/// What refreshes the file.
const REFRESH: &str = "DEPESCHE_WRITE_LEDGER=1 cargo test -p depesche-spec-tests --test ledger";

#[test]
fn the_ledger_is_up_to_date() {
    let path = root().join("docs/endpoints.tsv");
    let before = fs::read_to_string(&path).expect("docs/endpoints.tsv is part of the repository");
    let rows = generated(table::parse(&before), &listing(), &calls_of_all_cases(&root().join("spec-tests/cases")));
    let after = table::write(&rows);
    if std::env::var_os("DEPESCHE_WRITE_LEDGER").is_some() {
        fs::write(&path, after).expect("docs/endpoints.tsv can be written");
        return;
    }
    let stale: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    assert!(
        before == after,
        "docs/endpoints.tsv is stale; refresh it with\n  {REFRESH}\nIt misses:\n{}",
        stale.join("\n")
    );
}

#[test]
fn every_routed_endpoint_has_a_case() {
    let calls = calls_of_all_cases(&root().join("spec-tests/cases"));
    let untested: Vec<String> = listing()
        .iter()
        .filter(|routed| cases_for(routed, &calls).is_empty())
        .map(|routed| format!("{} {}", routed.method, routed.paths.last().expect("an endpoint has a path")))
        .collect();
    assert!(untested.is_empty(), "no black-box case in spec-tests/cases calls:\n{}", untested.join("\n"));
}

#[test]
fn every_routed_endpoint_has_a_row() {
    let text = fs::read_to_string(root().join("docs/endpoints.tsv")).expect("docs/endpoints.tsv can be read");
    let rows = table::parse(&text);
    let unknown: Vec<Routed> =
        listing().into_iter().filter(|routed| !rows.iter().any(|row| serves(routed, &row.method, &row.path))).collect();
    assert!(unknown.is_empty(), "docs/endpoints.tsv has no row for {unknown:#?}");
}

#[test]
fn what_the_specification_limits_is_limited() {
    let text = fs::read_to_string(root().join("docs/endpoints.tsv")).expect("docs/endpoints.tsv can be read");
    let limited: Vec<Row> = table::parse(&text).into_iter().filter(|row| row.rate_limited == "yes").collect();
    assert!(limited.len() > 50, "the specification limits {} endpoints", limited.len());
    let listing = listing();
    let free = |row: &&Row| listing.iter().any(|routed| serves_row(routed, row) && !routed.limited);
    let free: Vec<String> = limited.iter().filter(free).map(|row| format!("{} {}", row.method, row.path)).collect();
    assert!(free.is_empty(), "whoever asks these too often is not told to wait:\n{}", free.join("\n"));
}

/// The rows with status, file and cases as they are now.
fn generated(rows: Vec<Row>, listing: &[Routed], calls: &[Call]) -> Vec<Row> {
    let refreshed = rows.into_iter().map(|mut row| {
        let routed = listing.iter().find(|routed| serves_row(routed, &row));
        row.status = match (routed, row.scope.strip_prefix("role: ")) {
            (Some(_), _) => "routed".to_owned(),
            (None, Some(role)) => format!("not served: {role}"),
            (None, None) => format!("later: {}", row.scope),
        };
        row.file = routed.map_or_else(String::new, |routed| routed.file.clone());
        row.tests = routed.map_or_else(String::new, |routed| cases_for(routed, calls).join(" "));
        row
    });
    refreshed.collect()
}

/// The cases that call an endpoint by any of its paths.
fn cases_for(routed: &Routed, calls: &[Call]) -> Vec<String> {
    let called = calls.iter().filter(|call| serves(routed, &call.method, &call.path));
    called.map(|call| call.case.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether an endpoint is what a row is about. Behind the path there may be the field of the query that makes it what it is.
fn serves_row(routed: &Routed, row: &Row) -> bool {
    let (path, field) = row.path.split_once('?').map_or((&*row.path, None), |(path, field)| (path, Some(field)));
    serves(routed, &row.method, path) && (field.is_none() || field != routed.without)
}

fn serves(routed: &Routed, method: &str, path: &str) -> bool {
    routed.method == method && routed.paths.iter().any(|served| matches(served, path))
}

/// Whether a path is one that is served. The names of arguments differ between ruma and the specification, and the
/// specification may name what ruma has as an argument (`displayname`).
fn matches(served: &str, path: &str) -> bool {
    let (mut served, mut called) = (served.split('/'), path.split('/'));
    loop {
        match (served.next(), called.next()) {
            (None, None) => return true,
            (Some(served), Some(called)) if served.starts_with('{') || served == called => {}
            _ => return false,
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies in the repository")
}

#[test]
fn a_row_says_what_is_served_by_which_file_and_called_by_which_case() {
    let routed = Routed {
        method: "GET".to_owned(),
        paths: vec![
            "/_matrix/client/r0/rooms/{room_id}/x".to_owned(),
            "/_matrix/client/v3/rooms/{room_id}/x".to_owned(),
        ],
        file: "src/api/client/rooms/x.rs".to_owned(),
        without: Some("org.example.y"),
        limited: false,
    };
    let call = Call {
        case: "rooms::one".to_owned(),
        method: "GET".to_owned(),
        path: "/_matrix/client/v3/rooms/{roomId}/x".to_owned(),
    };
    let row = |method: &str, scope: &str| Row {
        method: method.to_owned(),
        path: "/_matrix/client/v3/rooms/{roomId}/x".to_owned(),
        scope: scope.to_owned(),
        ..Row::default()
    };
    let mut rows = vec![row("GET", "house"), row("PUT", "house"), row("POST", "role: push gateway")];
    rows.extend(["org.example.y", "org.example.z"].map(|field| {
        let row = row("GET", "calls");
        Row { path: format!("{}?{field}", row.path), ..row }
    }));
    let rows = generated(rows, &[routed], &[call]);
    let told: Vec<_> = rows.iter().map(|row| [&*row.status, &*row.file, &*row.tests]).collect();
    assert_eq!(told[0], ["routed", "src/api/client/rooms/x.rs", "rooms::one"]);
    assert_eq!(told[1], ["later: house", "", ""]);
    assert_eq!(told[2], ["not served: push gateway", "", ""]);
    assert_eq!(told[3], ["later: calls", "", ""], "it refuses this field of the query");
    assert_eq!(told[4][0], "routed");
}
