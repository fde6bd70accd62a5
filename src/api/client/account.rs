//! `/_matrix/client/v3/account/`: one's own account, and `/account/3pid`: its third-party identifiers.
//!
//! There are none: this server keeps no addresses of mail or telephone, sends no messages to any, and trusts no identity
//! server. So clients are told that the list is empty, and that nothing can come onto it.
//! <https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information>

pub mod deactivate;
pub mod password;
pub mod whoami;

use http::StatusCode;
use ruma::api::{
    IncomingRequest,
    auth_scheme::AccessToken,
    client::account::{
        ThirdPartyIdRemovalStatus, add_3pid, bind_3pid, delete_3pid, get_3pids,
        request_3pid_management_token_via_email as by_email, request_3pid_management_token_via_msisdn as by_msisdn,
        unbind_3pid,
    },
    error::{DeserializationError, Error as EndpointError, ErrorKind},
    metadata,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;

use crate::{
    caller::{Anyone, User},
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// `GET /_matrix/client/v3/account/3pid`. ruma's response would leave out the empty list.
pub async fn list(
    _: Context,
    _: User,
    _: Answering<get_3pids::v3::Request, JsonResponse>,
) -> Result<JsonResponse, Error> {
    Ok(JsonResponse(json!({ "threepids": [] })))
}

/// `POST /_matrix/client/v3/account/3pid`: the older form of [`add`].
pub async fn add_old(_: Context, _: User, request: AddOld) -> Result<JsonResponse, Error> {
    let AddOld { three_pid_creds: _proof } = request;
    let words = "No address has been proven to be yours";
    Err(Error::new(StatusCode::FORBIDDEN, ErrorKind::ThreepidAuthFailed, words))
}

/// The request of [`add_old`], which ruma does not have.
#[derive(Deserialize)]
pub struct AddOld {
    three_pid_creds: Proof,
}

/// What an identity server knows of an address. Nobody looks at it here.
#[derive(Deserialize)]
struct Proof {
    #[serde(rename = "client_secret")]
    _client_secret: String,
    #[serde(rename = "sid")]
    _sid: String,
    // Clients of before r0.6 have no token, and those that name no server mean ours.
    #[serde(rename = "id_server")]
    _id_server: Option<IgnoredAny>,
}

metadata! {
    @for AddOld,
    method: POST,
    rate_limited: false,
    authentication: AccessToken,
    history: {
        1.0 => "/_matrix/client/r0/account/3pid",
        1.1 => "/_matrix/client/v3/account/3pid",
    }
}

impl IncomingRequest for AddOld {
    type EndpointError = EndpointError;
    type OutgoingResponse = JsonResponse;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(serde_json::from_slice(request.body())?)
    }
}

/// `POST /_matrix/client/v3/account/3pid/add`. Nobody should confirm what will not be done, so nothing is asked.
pub async fn add(_: Context, _: User, _: add_3pid::v3::Request) -> Result<add_3pid::v3::Response, Error> {
    let words = "No address has been proven to be yours";
    Err(Error::new(StatusCode::FORBIDDEN, ErrorKind::ThreepidAuthFailed, words))
}

/// `POST /_matrix/client/v3/account/3pid/bind`
pub async fn bind(_: Context, _: User, _: bind_3pid::v3::Request) -> Result<bind_3pid::v3::Response, Error> {
    let words = "This server trusts no identity server";
    Err(Error::new(StatusCode::FORBIDDEN, ErrorKind::ServerNotTrusted, words))
}

/// `POST /_matrix/client/v3/account/3pid/delete`. It is not there.
pub async fn delete(_: Context, _: User, _: delete_3pid::v3::Request) -> Result<delete_3pid::v3::Response, Error> {
    Ok(delete_3pid::v3::Response::new(ThirdPartyIdRemovalStatus::NoSupport))
}

/// `POST /_matrix/client/v3/account/3pid/unbind`
pub async fn unbind(_: Context, _: User, _: unbind_3pid::v3::Request) -> Result<unbind_3pid::v3::Response, Error> {
    Ok(unbind_3pid::v3::Response::new(ThirdPartyIdRemovalStatus::NoSupport))
}

/// `POST /_matrix/client/v3/account/3pid/email/requestToken`
pub async fn request_by_email(
    _: Context,
    _: Anyone,
    _: by_email::v3::Request,
) -> Result<by_email::v3::Response, Error> {
    Err(medium_not_supported())
}

/// `POST /_matrix/client/v3/account/3pid/msisdn/requestToken`
pub async fn request_by_msisdn(
    _: Context,
    _: Anyone,
    _: by_msisdn::v3::Request,
) -> Result<by_msisdn::v3::Response, Error> {
    Err(medium_not_supported())
}

fn medium_not_supported() -> Error {
    Error::bad_request(ErrorKind::ThreepidMediumNotSupported, "This server keeps no such addresses")
}
