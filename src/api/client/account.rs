//! `/_matrix/client/v3/account/`: one's own account; here its mail addresses and telephone numbers, of which there are
//! none: this server sends no mail, and knows no identity server. What asks for one is told so, with the codes of the
//! specification.
//! <https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information>

pub mod deactivate;
pub mod password;
pub mod whoami;

use ruma::api::{
    IncomingRequest, Metadata,
    client::account::{
        ThirdPartyIdRemovalStatus, add_3pid, bind_3pid, delete_3pid, get_3pids,
        request_3pid_management_token_via_email as by_mail, request_3pid_management_token_via_msisdn as by_telephone,
        unbind_3pid,
    },
    error::{DeserializationError, ErrorKind},
};
use serde_json::json;

use crate::{
    caller::{Anyone, User},
    error::Error,
    route::{Context, JsonResponse},
};

/// `GET /_matrix/client/v3/account/3pid`
pub async fn get_3pids(_: Context, _: User, _: Get3pids) -> Result<JsonResponse, Error> {
    Ok(JsonResponse(json!({ "threepids": [] })))
}

/// `POST /_matrix/client/v3/account/3pid/add`
pub async fn add_3pid(_: Context, _: User, _: add_3pid::v3::Request) -> Result<add_3pid::v3::Response, Error> {
    Err(Error::bad_request(ErrorKind::ThreepidAuthFailed, "This server has validated no address"))
}

/// `POST /_matrix/client/v3/account/3pid/bind`
pub async fn bind_3pid(_: Context, _: User, _: bind_3pid::v3::Request) -> Result<bind_3pid::v3::Response, Error> {
    Err(Error::bad_request(ErrorKind::ServerNotTrusted, "This server knows no identity server"))
}

/// `POST /_matrix/client/v3/account/3pid/delete`
pub async fn delete_3pid(_: Context, _: User, _: delete_3pid::v3::Request) -> Result<delete_3pid::v3::Response, Error> {
    Ok(delete_3pid::v3::Response { id_server_unbind_result: ThirdPartyIdRemovalStatus::NoSupport })
}

/// `POST /_matrix/client/v3/account/3pid/unbind`
pub async fn unbind_3pid(_: Context, _: User, _: unbind_3pid::v3::Request) -> Result<unbind_3pid::v3::Response, Error> {
    Ok(unbind_3pid::v3::Response { id_server_unbind_result: ThirdPartyIdRemovalStatus::NoSupport })
}

/// `POST /_matrix/client/v3/account/3pid/email/requestToken`
pub async fn request_token_by_mail(
    _: Context,
    _: Anyone,
    _: by_mail::v3::Request,
) -> Result<by_mail::v3::Response, Error> {
    Err(no_medium())
}

/// `POST /_matrix/client/v3/account/3pid/msisdn/requestToken`
pub async fn request_token_by_telephone(
    _: Context,
    _: Anyone,
    _: by_telephone::v3::Request,
) -> Result<by_telephone::v3::Response, Error> {
    Err(no_medium())
}

/// 400 `M_THREEPID_MEDIUM_NOT_SUPPORTED`: an account has no addresses here.
pub(super) fn no_medium() -> Error {
    let words = "This server keeps no mail addresses and telephone numbers";
    Error::bad_request(ErrorKind::ThreepidMediumNotSupported, words)
}

/// The request of [`get_3pids`]. ruma's response leaves out an empty list, without which clients have an error to show.
pub struct Get3pids;

impl Metadata for Get3pids {
    const METHOD: http::Method = get_3pids::v3::Request::METHOD;
    const RATE_LIMITED: bool = get_3pids::v3::Request::RATE_LIMITED;
    type Authentication = <get_3pids::v3::Request as Metadata>::Authentication;
    type PathBuilder = <get_3pids::v3::Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = get_3pids::v3::Request::PATH_BUILDER;
}

impl IncomingRequest for Get3pids {
    type EndpointError = <get_3pids::v3::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = JsonResponse;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        get_3pids::v3::Request::try_from_http_request_inner(request, path).map(|_| Self)
    }
}
