//! The file's format: tab-separated, one line of names above.

/// The names of the columns, in order.
const COLUMNS: [&str; 13] = [
    "api",
    "module",
    "method",
    "path",
    "spec_added",
    "deprecated",
    "auth",
    "rate_limited",
    "note",
    "scope",
    "status",
    "file",
    "tests",
];

/// One endpoint.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Row {
    /// Which API of the specification, and which part of it.
    pub api: String,
    pub module: String,
    pub method: String,
    /// The path, with the specification's names for its arguments.
    pub path: String,
    pub spec_added: String,
    pub deprecated: String,
    pub auth: String,
    pub rate_limited: String,
    pub note: String,
    /// The part of the work the endpoint belongs to; `role: ...` if another kind of server serves it.
    pub scope: String,
    /// Generated: `routed`, `later: <scope>` or `not served: <role>`.
    pub status: String,
    /// Generated: the handler's file.
    pub file: String,
    /// Generated: the cases that call it, separated by spaces.
    pub tests: String,
}

impl Row {
    fn fields(&self) -> [&String; COLUMNS.len()] {
        let Self { api, module, method, path, spec_added, deprecated, auth, rate_limited, note, scope, .. } = self;
        let Self { status, file, tests, .. } = self;
        [api, module, method, path, spec_added, deprecated, auth, rate_limited, note, scope, status, file, tests]
    }

    fn from_fields(fields: [String; COLUMNS.len()]) -> Self {
        let [api, module, method, path, spec_added, deprecated, auth, rate_limited, note, scope, status, file, tests] =
            fields;
        Self { api, module, method, path, spec_added, deprecated, auth, rate_limited, note, scope, status, file, tests }
    }
}

/// Reads the file.
pub fn parse(text: &str) -> Vec<Row> {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(COLUMNS.join("\t").as_str()), "the columns of docs/endpoints.tsv");
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
    let count = fields.len();
    let fields = fields.try_into().unwrap_or_else(|_| panic!("{count} instead of {} fields: {line}", COLUMNS.len()));
    Row::from_fields(fields)
}

/// Writes the file.
pub fn write(rows: &[Row]) -> String {
    let mut text = COLUMNS.join("\t") + "\n";
    for row in rows {
        text += &row.fields().map(String::as_str).join("\t");
        text.push('\n');
    }
    text
}

#[test]
fn what_is_written_is_read_again() {
    let row =
        Row { method: "GET".to_owned(), path: "/a/{b}".to_owned(), tests: "one two".to_owned(), ..Row::default() };
    assert_eq!(parse(&write(std::slice::from_ref(&row))), [row]);
}
