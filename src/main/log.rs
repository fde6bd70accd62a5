//! What the server writes about itself: text for people, JSON for machines; and one line for each request.
//!
//! Passwords, tokens and what people write are never logged. A request is named by the template of its route
//! (`/rooms/{p1}/send/...`), never by its path or query.

use std::{
    io::IsTerminal,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request},
    middleware::Next,
    response::Response,
};
use depesche_config::{Config, LogFormat};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tracing::{Instrument, Span};
use tracing_subscriber::EnvFilter;

use crate::{failure::Failure, metrics, node};

/// Names a request in the log and to the client; taken from the request if a proxy has set a sane one.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id taken from outside.
const LONGEST_REQUEST_ID: usize = 64;

/// In the log, the status of a request whose client went away before the answer: what proxies write there.
const GIVEN_UP: u16 = 499;
/// And of one that ended in a panic.
const BROKEN_OFF: u16 = 500;

/// The filter of the configuration, or what is wrong with it.
pub fn filter(config: &Config) -> Result<EnvFilter, Failure> {
    EnvFilter::builder()
        .parse(&config.log.filter)
        .map_err(|error| Failure::Usage(format!("log.filter: \"{}\" is no filter: {error}", config.log.filter)))
}

/// From here on everything that is logged goes to standard error, and so do panics.
pub fn start(config: &Config) -> Result<(), Failure> {
    let lines = tracing_subscriber::fmt().with_env_filter(filter(config)?).with_writer(std::io::stderr);
    // Where the log lies on a full disk, a line is lost. Saying so on the same stream would end whoever logs.
    let lines = lines.log_internal_errors(false);
    match config.log.format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        // The place, not the message: a message may quote what a user sent.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a part of the server panicked; this is a bug, please report it");
    }));
    Ok(())
}

/// Around each request of clients: its id, its line in the log, its figures.
pub async fn request(mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let header = HeaderValue::from_str(&id).ok();
    if let Some(header) = header.clone() {
        request.headers_mut().insert(REQUEST_ID, header);
    }
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    let method = known(request.method());

    // At the level of errors: also where the filter lets nothing else through, what is logged on the way has its id.
    let span = tracing::error_span!("request", id);
    let mut unanswered = Unanswered { method, route, begun, span: &span, answered: false };
    let mut response = next.run(request).instrument(span.clone()).await;
    unanswered.answered = true;

    let elapsed = begun.elapsed();
    let status = response.status().as_u16();
    let user = node::caller_of(&response).map(tracing::field::display);
    span.in_scope(|| tracing::info!(method, route, status, ms = elapsed.as_millis(), user, "answered"));
    metrics::answered(method, route, status, elapsed);
    if let Some(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}

/// A request in work. Dropped before its answer, because its client has gone or because of a bug, it has a line and a figure
/// all the same.
struct Unanswered<'r> {
    method: &'static str,
    route: &'r str,
    begun: Instant,
    span: &'r Span,
    answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let Self { method, route, begun, span, .. } = self;
        let (status, elapsed) = (if std::thread::panicking() { BROKEN_OFF } else { GIVEN_UP }, begun.elapsed());
        span.in_scope(|| tracing::info!(method, route, status, ms = elapsed.as_millis(), "given up"));
        metrics::answered(method, route, status, elapsed);
    }
}

/// The id that came with the request if it is sane, else a new one: the start of the process, and a number.
fn request_id(headers: &HeaderMap) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    static START: std::sync::LazyLock<u32> = std::sync::LazyLock::new(rand::random);
    let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
    match sent {
        Some(id) => id.to_owned(),
        None => format!("{:08x}-{}", *START, NUMBER.fetch_add(1, Ordering::Relaxed) + 1),
    }
}

fn is_sane(id: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= LONGEST_REQUEST_ID && id.bytes().all(letters)
}

/// The method, or "other": a client may make methods up, and each would be a figure of its own.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use axum::{Router, body::Body, middleware, routing::post};
    use futures::FutureExt;
    use http::{HeaderMap, HeaderValue, Request};
    use tower::ServiceExt;
    use tracing_subscriber::fmt::MakeWriter;

    use super::{REQUEST_ID, request, request_id};

    /// Log lines, kept.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[tokio::test]
    async fn a_request_has_a_line_and_no_secret_is_in_it() {
        let lines = Lines::default();
        let everything =
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(lines.clone());
        let _logged = tracing::subscriber::set_default(everything.finish());
        let router = Router::new().route("/rooms/{room}/send", post(async || "ok")).layer(middleware::from_fn(request));
        let sent = Request::post("/rooms/secret-room/send?access_token=secret-query")
            .header("authorization", "Bearer secret-header")
            .header(REQUEST_ID, "from-the-proxy")
            .body(Body::from("{\"password\":\"secret-body\"}"))
            .expect("a request");
        let answer = router.oneshot(sent).await.expect("infallible");
        assert_eq!(answer.headers()[REQUEST_ID], "from-the-proxy");
        let log = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
        assert!(log.contains("route=\"/rooms/{room}/send\" status=200") && log.contains("from-the-proxy"), "{log}");
        assert!(!log.contains("secret"), "{log}");
    }

    #[tokio::test]
    async fn what_is_logged_has_the_id_of_its_request_at_every_filter() {
        for filter in ["error", "warn", "info,depesche::log=warn"] {
            let lines = Lines::default();
            let quiet = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(lines.clone());
            let _logged = tracing::subscriber::set_default(quiet.finish());
            let fails = async || tracing::error!("request failed");
            let router = Router::new().route("/", post(fails)).layer(middleware::from_fn(request));
            let sent = Request::post("/").header(REQUEST_ID, "from-the-proxy").body(Body::empty()).expect("a request");
            router.oneshot(sent).await.expect("infallible");
            let log = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
            assert!(log.contains("request failed") && log.contains("from-the-proxy"), "{filter}: {log}");
            assert_eq!(log.lines().count(), 1, "{filter}: {log}");
        }
    }

    #[tokio::test]
    async fn a_request_whose_client_goes_away_has_a_line_too() {
        let lines = Lines::default();
        let logged = tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone());
        let _logged = tracing::subscriber::set_default(logged.finish());
        let router = Router::new().route("/sync", post(std::future::pending::<()>)).layer(middleware::from_fn(request));
        let sent = Request::post("/sync").header(REQUEST_ID, "from-the-proxy").body(Body::empty()).expect("a request");
        assert!(router.oneshot(sent).now_or_never().is_none(), "dropped before its answer");
        let log = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
        assert!(log.contains("given up") && log.contains("route=\"/sync\" status=499"), "{log}");
        assert!(log.contains("from-the-proxy") && log.lines().count() == 1, "{log}");
    }

    fn id_for(sent: &'static str) -> String {
        let headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(sent))]);
        request_id(&headers)
    }

    #[test]
    fn sane_ids_of_a_proxy_are_kept_and_others_replaced() {
        assert_eq!(id_for("7f3a.b_c-9"), "7f3a.b_c-9");
        for sent in
            ["", "a b", "a\"b", "<script>", "0123456789012345678901234567890123456789012345678901234567890123456789"]
        {
            assert_ne!(id_for(sent), sent);
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()), "each request has its own");
    }
}
