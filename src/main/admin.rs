//! The operator's requests: over the socket when the server runs, else in this process, by the same router.

use std::{
    io::ErrorKind,
    path::Path,
    sync::{Arc, LazyLock},
};

use axum::body::Body;
use depesche_config::Config;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::UnixStream, runtime::Runtime};
use tower::ServiceExt;

use crate::{
    data_dir::{self, DataDir},
    failure::{Failure, hint},
    node::{Node, Purpose},
};

/// Before the path of every request.
const PREFIX: &str = "/_depesche/admin";
/// The largest answer read.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// One who answers the operator.
pub struct Admin {
    runtime: Runtime,
    reached: Reached,
}

enum Reached {
    Server(std::path::PathBuf),
    Here(Box<Node>),
}

impl Admin {
    /// Finds the running server, or else opens the database, which must be there.
    pub fn reach(config: &Path) -> Result<Self, Failure> {
        Self::find(config, DataDir::open_used)
    }

    /// As [`Self::reach`]; where there is no database, one is begun. For what may come before the first start.
    pub fn reach_or_begin(config: &Path) -> Result<Self, Failure> {
        Self::find(config, DataDir::open)
    }

    fn find(config: &Path, open: fn(&Path) -> Result<DataDir, Failure>) -> Result<Self, Failure> {
        let config = Arc::new(Config::load(config)?);
        let runtime = runtime()?;
        let (socket, data_dir) = (config.server.admin_socket(), &config.server.data_dir);
        // A server that starts has the database before it has the socket.
        let reached = runtime.block_on(async {
            let tell = |why: &str| eprintln!("depesche: {why}");
            let look = async || if connects(&socket).await? { Ok(None) } else { open(data_dir).map(Some) };
            match data_dir::patiently(tell, look).await? {
                None => Ok::<_, Failure>(Reached::Server(socket.clone())),
                Some(data) => Ok(Reached::Here(Box::new(Node::open(&config, data, Purpose::Command).await?))),
            }
        })?;
        Ok(Self { runtime, reached })
    }

    /// Finds the running server, and nothing else.
    pub fn running(config: &Path) -> Result<Self, Failure> {
        let socket = Config::load(config)?.server.admin_socket();
        let runtime = runtime()?;
        if runtime.block_on(connects(&socket))? {
            Ok(Self { runtime, reached: Reached::Server(socket) })
        } else {
            Err(Failure::Failed(format!("no server answers at {}", socket.display())))
        }
    }

    /// Whether a running server answers.
    pub fn is_running(&self) -> bool {
        matches!(self.reached, Reached::Server(_))
    }

    /// Sends a request and gives the JSON of the answer, or the words of its refusal.
    pub fn ask(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Value, Failure> {
        self.ask_with(method, path, "", body)
    }

    /// As [`Self::ask`], with a query.
    pub fn ask_with(&self, method: Method, path: &[&str], query: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let request = request(method, &uri(path, query), body)?;
        let (status, text) = self.runtime.block_on(async {
            match &self.reached {
                Reached::Server(socket) => over_socket(socket, request).await,
                Reached::Here(node) => in_process(node, request).await,
            }
        })?;
        read_answer(status, &text)
    }

    /// As [`Self::ask`], for what takes long: prints how far it is to standard error, and gives the outcome.
    pub fn ask_long(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Value, Failure> {
        let request = request(method, &uri(path, ""), body)?;
        self.runtime.block_on(async {
            let response = match &self.reached {
                Reached::Server(socket) => answer_over_socket(socket, request).await?,
                Reached::Here(node) => answer_in_process(node, request).await,
            };
            if response.status().is_success() {
                return follow(response.into_body()).await;
            }
            let (status, text) = collect(response).await?;
            read_answer(status, &text)
        })
    }

    /// Asks what is to be asked, and lets go of the database, if it was opened here.
    pub fn during<T>(self, work: impl FnOnce(&Self) -> T) -> T {
        let done = work(&self);
        if let Reached::Here(node) = &self.reached {
            self.runtime.block_on(node.stop());
        }
        done
    }
}

fn runtime() -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().map_err(|error| Failure::failed("cannot start threads", error))
}

/// Whether a server is behind the socket.
async fn connects(socket: &Path) -> Result<bool, Failure> {
    match UnixStream::connect(socket).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(false),
        Err(error) => Err(unreachable(socket, &error)),
    }
}

/// The path with its segments escaped, and the query.
fn uri(path: &[&str], query: &str) -> String {
    let mut uri = PREFIX.to_owned();
    for segment in path {
        uri.push('/');
        uri.push_str(&escape(segment));
    }
    if !query.is_empty() {
        uri.push('?');
        uri.push_str(query);
    }
    uri
}

/// Percent-encodes all but what never needs it.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.extend([byte >> 4, byte & 0xF].map(|digit| char::from(HEX[usize::from(digit)])));
        }
    }
    escaped
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn request(method: Method, uri: &str, body: Option<&Value>) -> Result<Request<Body>, Failure> {
    let builder = Request::builder().method(method).uri(uri).header(header::HOST, "localhost");
    match body {
        Some(body) => builder.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
        None => builder.body(Body::empty()),
    }
    .map_err(|error| Failure::failed("cannot form the request", error))
}

async fn over_socket(socket: &Path, request: Request<Body>) -> Result<(StatusCode, Vec<u8>), Failure> {
    collect(answer_over_socket(socket, request).await?).await
}

async fn answer_over_socket(socket: &Path, request: Request<Body>) -> Result<http::Response<Body>, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, &error))?;
    let broken = |error: hyper::Error| Failure::Unreachable(format!("the server broke the connection off: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    tokio::spawn(connection);
    Ok(sender.send_request(request).await.map_err(broken)?.map(Body::new))
}

async fn in_process(node: &Node, request: Request<Body>) -> Result<(StatusCode, Vec<u8>), Failure> {
    collect(answer_in_process(node, request).await).await
}

async fn answer_in_process(node: &Node, request: Request<Body>) -> http::Response<Body> {
    node.admin_router().oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// Reads an answer in lines (see `node/long.rs`), printing all but the last.
async fn follow(mut body: Body) -> Result<Value, Failure> {
    let broken = || Failure::Failed("the server broke the answer off; see its log".to_owned());
    let mut text = Vec::new();
    loop {
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let mut line: Value = serde_json::from_slice(&line).map_err(|_| broken())?;
            if let Some(error) = line["error"].as_str() {
                return Err(Failure::Failed(error.to_owned()));
            }
            if !line["done"].is_null() {
                return Ok(line["done"].take());
            }
            eprintln!("{}", how_far(&line["progress"]));
        }
        let frame = body.frame().await.ok_or_else(broken)?.map_err(|_| broken())?;
        text.extend_from_slice(&frame.into_data().map_err(|_| broken())?);
        if text.len() > ANSWER_BYTES {
            return Err(broken());
        }
    }
}

/// Progress for people: what, how much of how much.
fn how_far(progress: &Value) -> String {
    let what = progress["what"].as_str().unwrap_or("at work");
    let shown = |name: &str| match (progress[name].as_u64(), progress["unit"].as_str()) {
        (Some(bytes), Some("bytes")) => Some(format!("{} MB", bytes >> 20)),
        (Some(number), Some(unit)) => Some(format!("{number} {unit}")),
        (Some(number), None) => Some(number.to_string()),
        (None, _) => None,
    };
    match (shown("done"), shown("of")) {
        (Some(done), Some(of)) => format!("{what}: {done} of {of}"),
        (Some(done), None) => format!("{what}: {done}"),
        _ => what.to_owned(),
    }
}

async fn collect(response: http::Response<Body>) -> Result<(StatusCode, Vec<u8>), Failure> {
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES);
    let bytes = body.collect().await.map_err(|error| Failure::failed("the answer did not arrive whole", error))?;
    Ok((status, bytes.to_bytes().to_vec()))
}

fn read_answer(status: StatusCode, text: &[u8]) -> Result<Value, Failure> {
    static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::Object(serde_json::Map::new()));
    let value = if text.is_empty() { Ok(NOTHING.clone()) } else { serde_json::from_slice::<Value>(text) };
    match value {
        Ok(value) if status.is_success() => Ok(value),
        Ok(value) => {
            let why = value["error"].as_str().unwrap_or_default();
            Err(Failure::Failed(if why.is_empty() { format!("refused ({status})") } else { why.to_owned() }))
        }
        Err(_) => Err(Failure::Failed(format!("the answer is no JSON ({status}); is the server of another version?"))),
    }
}

fn unreachable(socket: &Path, error: &std::io::Error) -> Failure {
    Failure::Unreachable(format!("the server cannot be reached at {}: {error}{}", socket.display(), hint(error)))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::{Failure, read_answer, uri};

    #[test]
    fn segments_are_escaped() {
        assert_eq!(uri(&["users", "@a/b:c.org"], "limit=1"), "/_depesche/admin/users/%40a%2Fb%3Ac.org?limit=1");
    }

    #[test]
    fn answers_and_refusals() {
        assert_eq!(read_answer(StatusCode::OK, b"{\"a\":1}"), Ok(json!({"a": 1})));
        assert_eq!(read_answer(StatusCode::OK, b""), Ok(json!({})));
        let refused = read_answer(StatusCode::CONFLICT, b"{\"errcode\":\"M_USER_IN_USE\",\"error\":\"taken\"}");
        assert_eq!(refused, Err(Failure::Failed("taken".to_owned())));
        assert!(read_answer(StatusCode::NOT_FOUND, b"oops").is_err_and(|failure| failure.exit_code() == 1));
    }
}
