//! Which case calls which endpoint, read from the sources of the cases.
//!
//! A case names an endpoint by the specification's path template, as a literal right behind the method:
//! `alice.put("/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", ...)`, or as a constant of the file. A call in
//! a function of the same file counts for the cases that use the function.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

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

/// A function of a file.
struct Function<'a> {
    name: &'a str,
    is_case: bool,
    text: &'a str,
}

/// The calls of the cases in one file.
fn calls_of(file: &str, source: &str) -> Vec<Call> {
    let source = &with_constants(source);
    let functions = functions(source);
    let by_name: BTreeMap<&str, &Function<'_>> = functions.iter().map(|function| (function.name, function)).collect();
    let mut calls = Vec::new();
    for case in functions.iter().filter(|function| function.is_case) {
        for function in with_all_it_uses(case, &by_name) {
            let called = requests(by_name[function].text);
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

/// The functions at the top level: rustfmt begins their heads and ends their bodies in the first column.
fn functions(source: &str) -> Vec<Function<'_>> {
    let mut functions = Vec::new();
    let mut is_case = false;
    let mut from = 0;
    for line in source.split_inclusive('\n') {
        let to = from + line.len();
        if line.starts_with("#[tokio::test") || line.starts_with("#[test]") {
            is_case = true;
        } else if let Some(name) = function_name(line) {
            let body = &source[to..];
            let end = body.find("\n}").unwrap_or(body.len());
            functions.push(Function { name, is_case, text: &body[..end] });
            is_case = false;
        }
        from = to;
    }
    functions
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let name = line.strip_prefix("fn ")?;
    name.split(['(', '<']).next()
}

/// A function and those of its file that it calls, directly or not.
fn with_all_it_uses<'a>(case: &'a Function<'a>, all: &BTreeMap<&'a str, &'a Function<'a>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::from([case.name]);
    let mut open = vec![case.text];
    while let Some(text) = open.pop() {
        for (name, function) in all {
            if uses(text, name) && found.insert(name) {
                open.push(function.text);
            }
        }
    }
    found
}

/// Whether a text has this name as a whole word.
fn uses(text: &str, name: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].chars().next_back().is_some_and(is_part) && !text[at + name.len()..].starts_with(is_part)
    })
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
