//! From what has arrived to ruma's request, and from ruma's answer to what is sent. The words of a reader that refuses a
//! request become an errcode here.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use ruma::api::{
    OutgoingResponse, OutgoingResponseExt,
    error::{DeserializationError, ErrorKind, HeaderDeserializationError},
};

use crate::{body, error::Error};

/// ruma's reader of a request type.
type Decode<R> = fn(http::Request<&[u8]>, &[&str]) -> Result<R, DeserializationError>;

/// A request that has arrived whole, its body checked to be JSON where it is.
pub(super) struct Incoming {
    pub(super) head: Parts,
    pub(super) body: Bytes,
    /// The body instead, where it has not been read.
    pub(super) unread: body::Unread,
    pub(super) path_args: Vec<String>,
    pub(super) missing_field: ErrorKind,
    pub(super) wrong_value: ErrorKind,
    pub(super) optional_body: bool,
}

/// A request as it came over the network, for handlers that read the body themselves.
pub struct Raw {
    /// The headers.
    pub headers: HeaderMap,
    /// The body, which may be large.
    pub body: body::Unread,
}

impl Incoming {
    /// As a request of its type.
    pub(super) fn decode<R>(self, read: Decode<R>) -> Result<R, Error> {
        let path_args: Vec<&str> = self.path_args.iter().map(String::as_str).collect();
        let body: &[u8] = if self.body.is_empty() && self.optional_body { b"{}" } else { &self.body };
        let request = http::Request::from_parts(self.head, body);
        read(request, &path_args)
            .map_err(|error| refuse(error, self.body.is_empty(), self.missing_field, self.wrong_value))
    }
}

/// Why a request could not be read as what its endpoint expects. The readers of path, query and body say what is wrong
/// only in words, so the words are asked whether something is missing.
fn refuse(error: DeserializationError, no_body: bool, missing_field: ErrorKind, wrong_value: ErrorKind) -> Error {
    let message = error.to_string();
    let missing = message.starts_with("missing field");
    let kind = match error {
        // An empty body stands for an empty object where nothing is required, and is no JSON elsewhere.
        DeserializationError::Json(_) if no_body => ErrorKind::NotJson,
        DeserializationError::Json(_) if missing => missing_field,
        DeserializationError::Json(error) if error.is_data() => wrong_value,
        DeserializationError::Json(_) => ErrorKind::NotJson,
        DeserializationError::Query(_) if missing => ErrorKind::MissingParam,
        DeserializationError::Header(HeaderDeserializationError::MissingHeader(_)) => ErrorKind::MissingParam,
        _ => ErrorKind::InvalidParam,
    };
    Error::bad_request(kind, message)
}

/// An answer of its type as what is sent.
pub(super) fn encode<T: OutgoingResponse>(response: T) -> Result<Response, Error> {
    let response = response.try_into_http_response::<Vec<u8>>().map_err(Error::internal)?;
    Ok(response.map(Body::from))
}
