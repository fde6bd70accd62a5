//! What a request is refused with: status, errcode, a text for people, and the cause that stays in the log.
//!
//! The only place where an error of `server` becomes an errcode is an `impl From<...> for Error`; the conversions stand
//! beside the handlers' modules they serve, the common ones here. See "Standard error response" of the specification:
//! <https://spec.matrix.org/v1.19/client-server-api/#standard-error-response>.

mod accounts;

use std::{error::Error as StdError, time::Duration};

use axum::{
    body::Body as HttpBody,
    response::{IntoResponse, Response},
};
use depesche_server::{Fault, tx::FaultKind};
use http::{HeaderValue, StatusCode, header};
use ruma::api::{
    client::uiaa::UiaaInfo,
    error::{
        ErrorKind, LimitExceededErrorData, RetryAfter, StandardErrorBody, UnknownTokenErrorData,
        UserLimitExceededErrorData,
    },
};

/// What is underneath, for the log: never sent.
type Cause = Box<dyn StdError + Send + Sync>;

/// An answer that is not a success.
#[derive(Debug)]
pub struct Error {
    status: StatusCode,
    body: Body,
    retry_after: Option<Duration>,
    cause: Option<Cause>,
    /// There is no room for one more: whoever counts that says so in the log, and not each request.
    is_busy: bool,
}

/// The two shapes of an error's JSON.
#[derive(Debug)]
enum Body {
    Standard(StandardErrorBody),
    /// "You have to authenticate for this": flows, session and perhaps what was wrong with the last attempt.
    Uiaa(Box<UiaaInfo>),
}

impl Error {
    /// An error with this status, errcode and text. The text is for people and says nothing that the caller may not
    /// know.
    pub fn new(status: StatusCode, kind: ErrorKind, message: impl Into<String>) -> Self {
        let body = Body::Standard(StandardErrorBody { kind, message: message.into() });
        Self { status, body, retry_after: None, cause: None, is_busy: false }
    }

    /// As [`Self::new`], with an errcode that ruma has no name for.
    pub fn with_errcode(status: StatusCode, errcode: &str, message: impl Into<String>) -> Self {
        let kind = serde_json::from_value(serde_json::json!({ "errcode": errcode })).unwrap_or(ErrorKind::Unknown);
        Self::new(status, kind, message)
    }

    /// 400: the request is wrong in itself.
    pub fn bad_request(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, message)
    }

    /// 400 `M_BAD_JSON`: JSON, but not what is asked for.
    pub fn bad_json(message: impl Into<String>) -> Self {
        Self::bad_request(ErrorKind::BadJson, message)
    }

    /// 400 `M_INVALID_PARAM`: one parameter has a wrong value.
    pub fn invalid_param(message: impl Into<String>) -> Self {
        Self::bad_request(ErrorKind::InvalidParam, message)
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::Forbidden, message)
    }

    /// 404 `M_NOT_FOUND`: the endpoint is there, the thing is not.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, message)
    }

    /// 413 `M_TOO_LARGE`.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge, message)
    }

    /// 401 `M_MISSING_TOKEN`.
    pub fn missing_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorKind::MissingToken, "This endpoint needs an access token")
    }

    /// 401 `M_UNKNOWN_TOKEN`. With `soft_logout` the client keeps its data and logs in or refreshes again.
    pub fn unknown_token(soft_logout: bool) -> Self {
        let kind = ErrorKind::UnknownToken(UnknownTokenErrorData { soft_logout });
        Self::new(StatusCode::UNAUTHORIZED, kind, "The access token is not known, or no longer valid")
    }

    /// 401 `M_USER_LOCKED`, a soft logout: an operator has locked the account, and may unlock it.
    pub fn locked() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, ErrorKind::UserLocked, "The account has been locked")
    }

    /// 403 `M_USER_DEACTIVATED`.
    pub fn deactivated() -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::UserDeactivated, "The account has been deactivated")
    }

    /// 403 `M_USER_SUSPENDED`.
    pub fn suspended() -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::UserSuspended, "The account may not do this while it is suspended")
    }

    /// 403 `M_USER_LIMIT_EXCEEDED`: the account has all that it may have. Where to read about it is filled in where errors
    /// become answers ([`Self::about_limits`]).
    pub fn user_limit(message: impl Into<String>) -> Self {
        let kind = ErrorKind::UserLimitExceeded(UserLimitExceededErrorData::new(String::new()));
        Self::new(StatusCode::FORBIDDEN, kind, message)
    }

    /// The same error with the address that tells of this server's limits, if it is about one.
    pub(crate) fn about_limits(mut self, page: impl FnOnce() -> String) -> Self {
        if let Body::Standard(StandardErrorBody { kind: ErrorKind::UserLimitExceeded(data), .. }) = &mut self.body {
            data.info_uri = page();
        }
        self
    }

    /// 429 `M_LIMIT_EXCEEDED` with `retry_after_ms`: the caller asks too often.
    pub fn too_often(retry_after: Duration) -> Self {
        let retry_after = Some(RetryAfter::Delay(retry_after));
        let kind = ErrorKind::LimitExceeded(LimitExceededErrorData { retry_after });
        Self::new(StatusCode::TOO_MANY_REQUESTS, kind, "Too many requests; wait a little")
    }

    /// 401 with the flows of user-interactive authentication.
    pub fn uiaa(info: UiaaInfo) -> Self {
        let body = Body::Uiaa(Box::new(info));
        Self { status: StatusCode::UNAUTHORIZED, body, retry_after: None, cause: None, is_busy: false }
    }

    /// 500 `M_UNKNOWN`: our fault. The cause is logged, the caller learns nothing of it.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorKind::Unknown, "Internal server error").caused_by(cause)
    }

    /// 503 `M_UNKNOWN` with `Retry-After`: nothing was written, for instance because the disk is full.
    pub fn unavailable(retry_after: Duration, cause: impl Into<Cause>) -> Self {
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Unknown,
            "The server cannot store anything at the moment; try again later",
        );
        error.retry_after = Some(retry_after);
        error.caused_by(cause)
    }

    /// 503 `M_LIMIT_EXCEEDED` with `retry_after_ms`: too many writers wanted the same thing at once. The errcode is the
    /// one that makes clients wait for the time given and send the same request again.
    pub fn contended(retry_after: Duration, cause: impl Into<Cause>) -> Self {
        let retry_after = Some(RetryAfter::Delay(retry_after));
        let kind = ErrorKind::LimitExceeded(LimitExceededErrorData { retry_after });
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, "Too many writes at once; try again shortly").caused_by(cause)
    }

    /// 503 `M_LIMIT_EXCEEDED` with `retry_after_ms`: so many ask at once that there is no room for one more.
    pub fn busy(retry_after: Duration) -> Self {
        let retry_after = Some(RetryAfter::Delay(retry_after));
        let kind = ErrorKind::LimitExceeded(LimitExceededErrorData { retry_after });
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, "Too many requests at once; try again shortly");
        Self { is_busy: true, ..error }
    }

    /// Whether it is [`Self::busy`].
    pub fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// The same error with what is underneath, for the log.
    pub fn caused_by(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The status the answer will have.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The errcode; an answer that asks for a further step of authentication may have none.
    pub fn errcode(&self) -> Option<String> {
        let body = match &self.body {
            Body::Standard(body) => body,
            Body::Uiaa(info) => info.auth_error.as_deref()?,
        };
        Some(body.kind.errcode().to_string())
    }

    /// Writes the one log line of this error: loud when the fault is ours, and not another server's. The public text may
    /// quote the request, so it is left out.
    pub(crate) fn log(&self) {
        let errcode = self.errcode().unwrap_or_default();
        let status = self.status.as_u16();
        let cause = self.cause.as_deref().map(|cause| chain(cause)).unwrap_or_default();
        if self.status.is_server_error() && self.status != StatusCode::BAD_GATEWAY && !self.is_busy {
            tracing::error!(status, errcode, cause, "request failed");
        } else {
            tracing::debug!(status, errcode, cause, "request refused");
        }
    }

    fn json(&self) -> serde_json::Result<Vec<u8>> {
        match &self.body {
            Body::Standard(body) => serde_json::to_vec(body),
            Body::Uiaa(info) => serde_json::to_vec(info),
        }
    }

    /// How long to wait, from either place it can be kept in; a header has whole seconds, so it rounds up.
    fn retry_after_seconds(&self) -> Option<u64> {
        let from_kind = match &self.body {
            Body::Standard(StandardErrorBody {
                kind: ErrorKind::LimitExceeded(LimitExceededErrorData { retry_after: Some(RetryAfter::Delay(delay)) }),
                ..
            }) => Some(*delay),
            _ => None,
        };
        let delay = self.retry_after.or(from_kind)?;
        Some(delay.as_secs() + u64::from(delay.subsec_nanos() > 0))
    }
}

/// The messages of an error and everything below it.
fn chain(mut error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    while let Some(source) = error.source() {
        text = format!("{text}: {source}");
        error = source;
    }
    text
}

/// When to try again after the database took no write.
const STORE_PAUSE: Duration = Duration::from_secs(10);
/// When to try again after several conflicts in a row.
const CONTENTION_PAUSE: Duration = Duration::from_millis(200);

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault.kind() {
            FaultKind::NothingWritten => Self::unavailable(STORE_PAUSE, fault),
            FaultKind::Contended => Self::contended(CONTENTION_PAUSE, fault),
            FaultKind::Broken => Self::internal(fault),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let json = self
            .json()
            .unwrap_or_else(|_| br#"{"errcode":"M_UNKNOWN","error":"The error could not be written down"}"#.to_vec());
        let mut response = Response::new(HttpBody::from(json));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_seconds() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    async fn sent(error: Error) -> (u16, Option<String>, Value) {
        let response = error.into_response();
        let status = response.status().as_u16();
        let wait = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, wait, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn contention_says_when_to_try_again_in_both_places() {
        let (status, wait, body) = sent(Error::contended(Duration::from_millis(1500), "thrice")).await;
        assert_eq!((status, wait.as_deref()), (503, Some("2")));
        assert_eq!(body["errcode"], "M_LIMIT_EXCEEDED");
        assert_eq!(body["retry_after_ms"], 1500);
    }

    #[tokio::test]
    async fn a_cause_is_not_sent() {
        let (status, wait, body) = sent(Error::unavailable(Duration::from_secs(30), "no space on /var/lib")).await;
        assert_eq!((status, wait.as_deref()), (503, Some("30")));
        assert_eq!(body["errcode"], "M_UNKNOWN");
        assert!(!body.to_string().contains("/var/lib"));
    }

    #[tokio::test]
    async fn soft_logout_is_a_field_beside_the_errcode() {
        let (status, _, body) = sent(Error::unknown_token(true)).await;
        assert_eq!(status, 401);
        assert_eq!((&body["errcode"], &body["soft_logout"]), (&json!("M_UNKNOWN_TOKEN"), &json!(true)));
    }
}
