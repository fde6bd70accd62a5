//! What surrounds every answer: CORS headers, and a net for panics. The request's id and its log line are `main`'s.
//!
//! See "Web Browser Clients": <https://spec.matrix.org/v1.19/client-server-api/#web-browser-clients>.

use std::panic::AssertUnwindSafe;

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{body, error::Error};

/// On every answer. `HEAD` is served wherever `GET` is; scripts may read the header that says when to try again.
const CORS: [(HeaderName, HeaderValue); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS")),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("X-Requested-With, Content-Type, Authorization")),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After")),
];

/// Surrounds everything the router answers, also what it does not know.
pub(crate) fn around(router: Router) -> Router {
    router.layer(middleware::from_fn(answer))
}

async fn answer(request: Request, next: Next) -> Response {
    let inner =
        async { if request.method() == Method::OPTIONS { preflight(request).await } else { next.run(request).await } };
    let mut response = AssertUnwindSafe(inner).catch_unwind().await.unwrap_or_else(|_| {
        // The panic hook has logged where; the message may quote what a user sent.
        let error = Error::internal("a handler panicked");
        error.log();
        error.into_response()
    });
    response.headers_mut().extend(CORS);
    response
}

/// Answers a browser's question for the headers; the endpoint itself does nothing.
async fn preflight(request: Request) -> Response {
    body::drain(&mut request.into_body()).await;
    StatusCode::NO_CONTENT.into_response()
}
