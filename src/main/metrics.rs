//! Figures for monitoring, in the text format of Prometheus, on a listener of their own.

mod store;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{failure::Failure, node::Node};

/// Upper bounds of the classes of answer times, in seconds. The large ones are for /sync, which waits.
const CLASSES_S: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];
/// How often figures that nobody fetches are summed up.
pub const UPKEEP: Duration = Duration::from_secs(5);

/// Whether anybody may fetch figures.
static COUNTING: AtomicBool = AtomicBool::new(false);

/// From here on figures are counted.
pub fn start() -> Result<PrometheusHandle, Failure> {
    let failed = |error| Failure::failed("cannot count figures", error);
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &CLASSES_S)
        .map_err(|error| failed(error.to_string()))?
        .install_recorder()
        .map_err(|error| failed(error.to_string()))?;
    metrics::describe_counter!("depesche_http_requests_total", "Requests answered, by route, method and status");
    metrics::describe_histogram!("depesche_http_request_seconds", "Time from the head of a request to its answer");
    metrics::describe_gauge!("depesche_http_connections", "Open connections of clients");
    metrics::describe_counter!("depesche_push_notifications_total", "Notifications to push gateways, by outcome");
    store::describe();
    COUNTING.store(true, Ordering::Relaxed);
    metrics::describe_gauge!("depesche_build_info", "1; the version is a label");
    metrics::gauge!("depesche_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// The listener's one page.
pub fn router(handle: PrometheusHandle, node: Arc<Node>) -> Router {
    let page = move || {
        let (handle, node) = (handle.clone(), Arc::clone(&node));
        async move {
            store::set(&node.figures());
            ([(http::header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render())
        }
    };
    Router::new().route("/metrics", get(page))
}

/// Counts an answered request.
pub fn answered(method: &'static str, route: &str, status: u16, elapsed: Duration) {
    if !COUNTING.load(Ordering::Relaxed) {
        return;
    }
    let labels = [("route", route.to_owned()), ("method", method.to_owned()), ("status", status.to_string())];
    metrics::counter!("depesche_http_requests_total", &labels).increment(1);
    metrics::histogram!("depesche_http_request_seconds", "route" => route.to_owned()).record(elapsed.as_secs_f64());
}

/// Counts a connection while it lives.
pub struct Connection;

impl Connection {
    /// One more.
    pub fn open() -> Self {
        metrics::gauge!("depesche_http_connections").increment(1.0);
        Self
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        metrics::gauge!("depesche_http_connections").decrement(1.0);
    }
}
