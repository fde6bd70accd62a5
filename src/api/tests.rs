//! The real router, asked without a network. The tests of an endpoint stand in a module that mirrors its URL.

use std::sync::Arc;

use axum::{Router, body::Body};
use depesche_config::Config;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use ruma::{owned_device_id, owned_user_id};
use serde_json::Value;
use tower::ServiceExt;

use crate::{
    App,
    caller::{Tokens, User},
    error::Error,
    router,
};

mod common;
mod connection;
mod table;

/// Knows one token, `secret`, of `@alice:test`.
struct OneToken;

impl Tokens for OneToken {
    fn authenticate<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<User, Error>> {
        let found = match token {
            "secret" => Ok(User { user_id: owned_user_id!("@alice:test"), device_id: owned_device_id!("PHONE") }),
            _ => Err(Error::unknown_token(false)),
        };
        async move { found }.boxed()
    }
}

/// What an operator may set, where the endpoints without a server show it.
const CONFIG: &str = r#"
[server]
name = "test"
base_url = "https://matrix.test"

[support]
page = "https://test/help"

[[support.contacts]]
matrix_id = "@admin:test"
"#;

fn app() -> App {
    App { config: Arc::new(Config::parse(CONFIG).unwrap()), tokens: Arc::new(OneToken) }
}

/// An answer, whole.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

async fn ask(router: Router, request: Request<Body>) -> Answer {
    let (head, body) = router.oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

/// Asks the real router: `"GET /_matrix/client/versions"`, with a body and with alice's token or none.
async fn request(token: Option<&str>, line: &str, body: impl Into<Body>) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    ask(router(&Arc::new(app())), request.body(body.into()).unwrap()).await
}

/// Status and errcode.
fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["errcode"].as_str().unwrap_or("none"))
}
