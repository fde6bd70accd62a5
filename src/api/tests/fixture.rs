//! A server for tests: memory engine, paused clock, seeded randomness, users by name.

use std::sync::{Arc, atomic::AtomicU64};

use axum::{Router, body::Body};
use depesche_config::Config;
use depesche_rules::signing::SigningKey;
use depesche_server::{
    Clock, Parts, Random, Server,
    accounts::{Credentials, Door, NewAccount, NewSession},
    media::memory::{MemoryBlobs, NoThumbnails},
    turn,
};
use depesche_store::{Engine, Options, memory::Memory};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{App, router};

/// What an operator may set, where an answer shows it.
pub const CONFIG: &str = r#"
[server]
name = "test"
base_url = "https://matrix.test"

[accounts]
token_login = true

[support]
page = "https://test/help"

[[support.contacts]]
matrix_id = "@admin:test"
"#;

/// The engine of the tests: in memory, or RocksDB where the feature `on-rocksdb` is on and `DEPESCHE_TEST_ENGINE` is
/// `rocksdb`.
fn engine(options: Options) -> Arc<dyn Engine> {
    #[cfg(feature = "on-rocksdb")]
    if std::env::var_os("DEPESCHE_TEST_ENGINE").is_some_and(|engine| engine == "rocksdb") {
        return Arc::new(depesche_store_rocksdb::testing::Temporary::new(options));
    }
    Arc::new(Memory::new(options))
}

/// A server and its router.
pub struct Home {
    pub app: Arc<App>,
    pub router: Router,
    /// Moves the clock.
    pub hand: Arc<AtomicU64>,
}

/// A user with a device.
#[derive(Clone)]
pub struct Person {
    pub id: String,
    pub device: String,
    pub token: String,
}

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Home {
    /// An empty server named `test`.
    pub async fn open() -> Self {
        Self::with(CONFIG).await
    }

    /// An empty server as an operator configured it.
    pub async fn with(config: &str) -> Self {
        Self::on(engine(Options::default()), config).await
    }

    /// An empty server over an engine of the test's choice.
    pub async fn on(engine: Arc<dyn Engine>, config: &str) -> Self {
        let config = Arc::new(Config::parse(config).unwrap());
        let (clock, hand) = Clock::paused(1_700_000_000_000);
        let parts = Parts {
            config,
            engine,
            key: SigningKey::from_seed([7; 32], "test").unwrap(),
            clock,
            random: Random::seeded(1),
            blobs: Arc::new(MemoryBlobs::default()),
            thumbnailer: Arc::new(NoThumbnails),
            copied: None,
            turn: Some(turn::Secret::Shared("a shared secret".to_owned())),
        };
        let app = App::new(Server::start(parts).await.unwrap());
        let router = router(&app);
        Self { app, router, hand }
    }

    /// A user, made by the operator, with the password `pass-word` and the device `PHONE`.
    pub async fn user(&self, localpart: &str) -> Person {
        let new = NewAccount {
            localpart: Some(localpart.to_owned()),
            password: Some("pass-word".to_owned()),
            ..NewAccount::default()
        };
        self.app.server.accounts.create(&Door::Operator, &new).await.unwrap();
        self.device(localpart, "PHONE").await
    }

    /// Another device of a user.
    pub async fn device(&self, localpart: &str, device: &str) -> Person {
        let new = NewSession { device: Some(device.into()), ..NewSession::default() };
        let credentials = Credentials::Password { user: localpart, password: "pass-word" };
        let logged_in = self.app.server.accounts.login(credentials, &new).await.unwrap();
        Person { id: logged_in.user.to_string(), device: logged_in.device.to_string(), token: logged_in.tokens.access }
    }

    /// Asks without a token: `"GET /_matrix/client/versions"`.
    pub async fn ask(&self, line: &str, body: impl Into<Body>) -> Answer {
        ask(&self.router, None, line, body).await
    }

    /// Asks without a token, with a JSON body.
    pub async fn send(&self, line: &str, body: Value) -> Answer {
        self.ask(line, body.to_string()).await
    }

    /// Asks as a user, with a JSON body.
    pub async fn send_as(&self, person: &Person, line: &str, body: Value) -> Answer {
        self.ask_as(person, line, body.to_string()).await
    }

    /// Asks as a user for what needs the password: once without it, which must be answered 401, then with it.
    pub async fn confirm_as(&self, person: &Person, line: &str, mut body: Value) -> Answer {
        let asked = self.send_as(person, line, body.clone()).await;
        assert_eq!(asked.status, 401, "{}", asked.body);
        body["auth"] = password_stage(person, &asked.body["session"], "pass-word");
        self.send_as(person, line, body).await
    }

    /// Asks as a user.
    pub async fn ask_as(&self, person: &Person, line: &str, body: impl Into<Body>) -> Answer {
        ask(&self.router, Some(&person.token), line, body).await
    }
}

/// The stage `m.login.password`.
pub fn password_stage(person: &Person, session: &Value, password: &str) -> Value {
    let identifier = json!({ "type": "m.id.user", "user": person.id });
    json!({ "type": "m.login.password", "session": session, "identifier": identifier, "password": password })
}

/// Asks a router.
pub async fn ask(router: &Router, token: Option<&str>, line: &str, body: impl Into<Body>) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(body.into()).unwrap();
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

/// Status and errcode.
pub fn refused(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.body["errcode"].as_str().unwrap_or("none"))
}
