//! Which case calls which endpoint, read from the sources of the cases.
//!
//! A case names an endpoint by the specification's path template, as a literal right behind the method:
//! `alice.put("/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", ...)`, or as a constant of the file. A call in
//! a function of the same file counts for the cases that use the function.

use std::{collections::BTreeMap, fs, path::Path};

use depesche_spec_tests::source::{items, with_all_it_uses};

/// A case that calls an endpoint.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Call {
    /// `file::function`.
    pub case: String,
    pub method: String,
    pub path: String,
}

/// The calls of all cases in a folder.
pub fn calls_of_all_cases(folder: &Path) -> Vec<Call> {
    let mut calls = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of the cases can be read") {
        let path = entry.expect("an entry of the folder can be read").path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".rs")) else { continue };
        calls.extend(calls_of(name, &fs::read_to_string(&path).expect("a case can be read")));
    }
    calls.sort();
    calls
}

/// The calls of the cases in one file.
fn calls_of(file: &str, source: &str) -> Vec<Call> {
    let source = &with_constants(source);
    let items = items(source);
    let mut calls = Vec::new();
    for (at, case) in items.iter().enumerate().filter(|(_, item)| item.is_case) {
        for item in with_all_it_uses(at, &items) {
            let called = requests(item.text);
            calls.extend(called.map(|(method, path)| Call { case: format!("{file}::{}", case.name), method, path }));
        }
    }
    calls.sort();
    calls.dedup();
    calls
}

/// The source with each constant and variable that holds a path written out where it is an argument. A name means what
/// was last said above the line.
fn with_constants(source: &str) -> String {
    let mut paths: BTreeMap<&str, &str> = BTreeMap::new();
    let mut written = String::with_capacity(source.len() * 2);
    for statement in source.split_inclusive(';') {
        let line = statement.rsplit("\n\n").next().unwrap_or(statement).trim();
        let line = line.rsplit("{\n").next().unwrap_or(line).trim();
        if let Some((name, literal)) = path_of(line) {
            paths.insert(name, literal);
        }
        let argument =
            |text: String, (name, literal): (&&str, &&str)| text.replace(&format!("({name},"), &format!("({literal},"));
        written.push_str(&paths.iter().fold(statement.to_owned(), argument));
    }
    written
}

/// The name and the path of `const NAME: &str = "/...";` or `let name = "/...";`.
fn path_of(statement: &str) -> Option<(&str, &str)> {
    let (head, value) = statement.strip_suffix(';')?.split_once('=')?;
    let head = head.trim();
    let name = match head.strip_prefix("const ") {
        Some(constant) => constant.split_once(':')?.0,
        None => head.strip_prefix("let ")?,
    };
    let literal = value.trim();
    (literal.starts_with("\"/") && literal.ends_with('"')).then_some((name, literal))
}

/// Methods and path templates in a text: `.get("/..."`, and `.request(Method::GET, "/..."`.
fn requests(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.match_indices("\"/").filter_map(|(at, _)| {
        let method = method_before(text[..at].trim_end())?;
        let path = text[at + 1..].split('"').next()?;
        Some((method.to_owned(), path.to_owned()))
    })
}

/// The method of the call whose first arguments end here.
fn method_before(text: &str) -> Option<&str> {
    for (call, method) in [(".get(", "GET"), (".put(", "PUT"), (".post(", "POST"), (".delete(", "DELETE")] {
        if text.ends_with(call) {
            return Some(method);
        }
    }
    let (_, argument) = text.strip_suffix(',')?.rsplit_once(".request(")?;
    let method = argument.trim().strip_prefix("Method::")?;
    method.chars().all(|letter| letter.is_ascii_uppercase()).then_some(method)
}

#[test]
fn calls_are_found_across_lines_and_in_what_a_case_uses() {
    let source = r#"
/// Not a case.
async fn helper(alice: &User) {
    alice
        .post(
            "/_matrix/client/v3/createRoom",
            &[],
        )
        .await;
}

async fn unused(alice: &User) {
    alice.get("/_matrix/client/v3/joined_rooms", &[]).await;
}

#[tokio::test]
async fn one() {
    helper(&alice).await;
    alice.put("/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", &[&room, "a", "b"]).await;
    alice.request(Method::DELETE, "/_matrix/client/v3/devices/{deviceId}", &["A"]).await;
    assert_eq!(answer, "/_matrix/not/a/call");
}

#[tokio::test]
async fn two() {}
"#;
    let calls = calls_of("rooms", source);
    let told: Vec<_> = calls.iter().map(|call| (&*call.case, &*call.method, &*call.path)).collect();
    assert_eq!(
        told,
        [
            ("rooms::one", "DELETE", "/_matrix/client/v3/devices/{deviceId}"),
            ("rooms::one", "POST", "/_matrix/client/v3/createRoom"),
            ("rooms::one", "PUT", "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}"),
        ]
    );
}
