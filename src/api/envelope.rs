//! What surrounds every answer: request id, log span, CORS headers, and a net for panics.
//!
//! See "Web Browser Clients": <https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients>.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tracing::Instrument;

use crate::{body, error::Error};

/// The number of the request since the start, for finding an answer's lines in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// On every answer. `HEAD` is served wherever `GET` is; scripts may read the header that says when to try again.
const CORS: [(HeaderName, HeaderValue); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS")),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("X-Requested-With, Content-Type, Authorization")),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After")),
];

/// Surrounds everything the router answers, also what it does not know.
pub(crate) fn around(router: Router) -> Router {
    let last_id = Arc::new(AtomicU64::new(0));
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let id = last_id.fetch_add(1, Ordering::Relaxed) + 1;
        // The path may name rooms and people, but the query may hold a token: it is not logged.
        let span = tracing::info_span!("request", id, method = %request.method(), path = request.uri().path());
        answer(id, request, next).instrument(span)
    }))
}

async fn answer(id: u64, request: Request, next: Next) -> Response {
    let inner =
        async { if request.method() == Method::OPTIONS { preflight(request).await } else { next.run(request).await } };
    let mut response = AssertUnwindSafe(inner).catch_unwind().await.unwrap_or_else(|panic| {
        let error = Error::internal(panic_message(&*panic));
        error.log();
        error.into_response()
    });
    tracing::debug!(status = response.status().as_u16(), "answered");
    let headers = response.headers_mut();
    headers.extend(CORS);
    headers.insert(REQUEST_ID, id.into());
    response
}

/// Answers a browser's question for the headers; the endpoint itself does nothing.
async fn preflight(request: Request) -> Response {
    body::drain(&mut request.into_body()).await;
    StatusCode::NO_CONTENT.into_response()
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}
