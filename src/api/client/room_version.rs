//! Requests that name a room version, whatever text they name it by.
//!
//! ruma's type for a version takes the specification's grammar alone. To a client, a version that breaks it is one more
//! that this server does not have.

use ruma::{
    RoomVersionId,
    api::{
        IncomingRequest,
        client::room::{create_room, upgrade_room},
        error::{DeserializationError, ErrorKind},
    },
};
use serde_json::Value;

use crate::{error::Error, route::described_as};

/// ruma's request, if ruma can read the version that it names.
pub struct Versioned<R>(Option<R>);

impl<R> Versioned<R> {
    /// The request, or that there is no such version.
    pub fn known(self) -> Result<R, Error> {
        let words = "this server does not support that room version";
        self.0.ok_or_else(|| Error::bad_request(ErrorKind::UnsupportedRoomVersion, words))
    }
}

/// A request whose body names a room version.
pub trait NamesVersion: IncomingRequest {
    /// In this field.
    const FIELD: &'static str;
}

impl NamesVersion for create_room::v3::Request {
    const FIELD: &'static str = "room_version";
}

impl NamesVersion for upgrade_room::v3::Request {
    const FIELD: &'static str = "new_version";
}

described_as!(Versioned<R>: any R);

impl<R: NamesVersion> IncomingRequest for Versioned<R> {
    type EndpointError = R::EndpointError;
    type OutgoingResponse = R::OutgoingResponse;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        let body = *request.body();
        match R::try_from_http_request_inner(request, path) {
            Ok(request) => Ok(Self(Some(request))),
            Err(_) if breaks_the_grammar(body, R::FIELD) => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }
}

/// Whether a field is a text that cannot be a version.
fn breaks_the_grammar(body: &[u8], field: &str) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body.get(field).and_then(Value::as_str).is_some_and(|text| RoomVersionId::try_from(text).is_err())
}
