//! One request and what came of it.
//!
//! A request is named by the path template of the specification, in one expression with its method, so that the ledger
//! of endpoints finds which cases use which endpoint by reading the sources:
//! `alice.get("/_matrix/client/v3/rooms/{roomId}/state", &[&room]).await.ok()`.

use std::fmt::Write as _;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

/// No answer of a server takes longer, long polls included.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A connection to a server, with or without an access token.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    token: Option<String>,
}

impl Client {
    /// A client without an access token. Not to be shared between cases: its connections belong to the case's runtime.
    pub fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().timeout(ANSWER_LIMIT).build().expect("a client without TLS can be built");
        Self { http, address, token: None }
    }

    /// The same connection with this access token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same connection without an access token.
    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The access token.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("a client with a token")
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `GET` on a path template, whose parameters are `args` in order.
    pub fn get(&self, template: &str, args: &[&str]) -> Request {
        self.request(Method::GET, template, args)
    }

    /// `PUT` on a path template.
    pub fn put(&self, template: &str, args: &[&str]) -> Request {
        self.request(Method::PUT, template, args)
    }

    /// `POST` on a path template.
    pub fn post(&self, template: &str, args: &[&str]) -> Request {
        self.request(Method::POST, template, args)
    }

    /// `DELETE` on a path template.
    pub fn delete(&self, template: &str, args: &[&str]) -> Request {
        self.request(Method::DELETE, template, args)
    }

    /// Any other method.
    pub fn request(&self, method: Method, template: &str, args: &[&str]) -> Request {
        let path = fill(template, args);
        let mut builder = self.http.request(method.clone(), format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            builder = builder.bearer_auth(token);
        }
        Request { builder, what: format!("{method} {path}") }
    }
}

/// A request that has not been sent; `.await` sends it.
#[derive(Debug)]
#[must_use = "a request is sent by `.await`"]
pub struct Request {
    builder: reqwest::RequestBuilder,
    what: String,
}

impl Request {
    /// Query parameters; a name may be given several times.
    pub fn query(mut self, pairs: &[(&str, &str)]) -> Self {
        // The client is built without its own encoder of forms: the few characters that matter are encoded here.
        let text: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
        let (client, request) = self.builder.build_split();
        let mut request = request.expect("the request so far is valid");
        let query = match request.url().query() {
            Some(before) => format!("{before}&{}", text.join("&")),
            None => text.join("&"),
        };
        request.url_mut().set_query(Some(&query));
        let _ = write!(self.what, "?{}", text.join("&"));
        Self { builder: reqwest::RequestBuilder::from_parts(client, request), what: self.what }
    }

    /// A JSON body.
    pub fn json(self, body: Value) -> Self {
        self.raw("application/json", body.to_string().into_bytes())
    }

    /// A body of any bytes.
    pub fn raw(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.builder = self.builder.header(CONTENT_TYPE, content_type).body(body);
        self
    }

    /// A header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }
}

impl IntoFuture for Request {
    type Output = Answer;
    type IntoFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { builder, what } = self;
            match builder.send().await {
                Ok(response) => Answer::read(what, response).await,
                // No answer is told by status 0, so that a case about a dying server can look at it.
                Err(error) => Answer::none(what, format!("{error:?}")),
            }
        })
    }
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, `null` if it is not JSON.
    pub body: Value,
    bytes: Vec<u8>,
    text: String,
    what: String,
}

impl Answer {
    async fn read(what: String, response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        match response.bytes().await {
            Ok(bytes) => {
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                Self { status, headers, body, bytes: bytes.to_vec(), text, what }
            }
            Err(error) => Self::none(what, format!("status {status}, then {error:?}")),
        }
    }

    fn none(what: String, text: String) -> Self {
        Self { status: 0, headers: HeaderMap::new(), body: Value::Null, bytes: Vec::new(), text, what }
    }

    /// The body of an answer with status 200.
    #[track_caller]
    pub fn ok(self) -> Value {
        self.status(200)
    }

    /// The body of an answer with this status.
    #[track_caller]
    pub fn status(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self}");
        self.body
    }

    /// The body of an error with this status and this code.
    #[track_caller]
    pub fn error(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.body["errcode"].as_str()), (status, Some(code)), "{self}");
        assert!(self.body["error"].is_string(), "an error has a message for people: {self}");
        self.body
    }

    /// The same for an error of which several codes are right.
    #[track_caller]
    pub fn error_in(self, status: u16, codes: &[&str]) -> Value {
        let code = self.body["errcode"].as_str().unwrap_or_default();
        assert!(self.status == status && codes.contains(&code), "expected {status} with one of {codes:?}: {self}");
        self.body
    }

    /// The body of an answer with status 200, whatever it is.
    #[track_caller]
    pub fn file(&self) -> &[u8] {
        assert_eq!(self.status, 200, "{self}");
        &self.bytes
    }

    /// The body of an answer with status 206: the part of a file that was asked for.
    #[track_caller]
    pub fn part_of_a_file(&self) -> &[u8] {
        assert_eq!(self.status, 206, "{} bytes", self.bytes.len());
        &self.bytes
    }

    /// The text of the body.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A header, empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short: String = self.text.chars().take(2000).collect();
        write!(f, "{} answered {}: {short}", self.what, self.status)
    }
}

/// The template with its `{parameters}` replaced by percent-encoded arguments.
fn fill(template: &str, args: &[&str]) -> String {
    let mut path = String::new();
    let mut args = args.iter();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, behind) = after.split_once('}').expect("a parameter ends with a brace");
        path.push_str(before);
        path.push_str(&encode(args.next().unwrap_or_else(|| panic!("{template}: no argument for {name}"))));
        rest = behind;
    }
    assert!(args.next().is_none(), "{template}: an argument too many");
    path + rest
}

/// Percent-encodes all but RFC 3986's unreserved characters.
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
