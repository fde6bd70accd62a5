//! `/_matrix/client/v3/register`: new accounts.
//! <https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration>

use depesche_server::accounts::{Fingerprint, LoggedIn, NewSession, Register, Registered};
use http::Method;
use ruma::{
    UserId,
    api::{
        IncomingRequest, Metadata,
        client::account::{
            check_registration_token_validity::v1 as validity,
            get_username_availability::v3 as availability,
            register::{LoginType, RegistrationKind, v3::Request},
            request_registration_token_via_email as by_mail, request_registration_token_via_msisdn as by_telephone,
        },
        error::{DeserializationError, ErrorKind},
    },
};
use serde_json::json;

use super::account::no_medium;
use crate::{
    caller::Anyone,
    error::Error,
    route::{Context, JsonResponse},
};

/// `POST /_matrix/client/v3/register`
pub async fn post(context: Context, _: Anyone, Registration(request): Registration) -> Result<JsonResponse, Error> {
    match request.kind {
        RegistrationKind::User => {}
        RegistrationKind::Guest => return Err(Error::forbidden("There are no guests on this server")),
        _ => return Err(Error::invalid_param("There is no such kind of account")),
    }
    if request.login_type == Some(LoginType::ApplicationService) {
        return Err(Error::bad_request(
            ErrorKind::AppserviceLoginUnsupported,
            "There are no application services here",
        ));
    }
    let session = NewSession {
        device: request.device_id.clone(),
        display_name: request.initial_device_display_name.clone(),
        refreshable: request.refresh_token,
    };
    let register = Register {
        username: request.username.as_deref(),
        password: request.password.as_deref(),
        session: (!request.inhibit_login).then_some(session),
        request: fingerprint(&request),
        auth: request.auth.as_ref(),
    };
    match context.app.server.accounts.register(&register).await? {
        Registered::Done { user, session } => Ok(answer(&user, session)),
        Registered::NeedMore(needed) => Err(needed.into()),
    }
}

/// The request of [`post`]. ruma's response has a `device_id` of `null` where nobody is logged in; the specification's
/// has none.
pub struct Registration(Request);

impl Metadata for Registration {
    const METHOD: Method = Request::METHOD;
    const RATE_LIMITED: bool = Request::RATE_LIMITED;
    type Authentication = <Request as Metadata>::Authentication;
    type PathBuilder = <Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = Request::PATH_BUILDER;
}

impl IncomingRequest for Registration {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = JsonResponse;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        Request::try_from_http_request_inner(request, path).map(Self)
    }
}

/// `GET /_matrix/client/v3/register/available`
pub async fn available(
    context: Context,
    _: Anyone,
    request: availability::Request,
) -> Result<availability::Response, Error> {
    context.app.server.accounts.check_available(&request.username).await?;
    Ok(availability::Response { available: true })
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity`
pub async fn token_validity(
    context: Context,
    _: Anyone,
    request: validity::Request,
) -> Result<validity::Response, Error> {
    let valid = context.app.server.accounts.is_registration_token_valid(&request.token).await?;
    Ok(validity::Response { valid })
}

/// What is asked for, beside the confirmation: the same request again gets the same account.
fn fingerprint(request: &Request) -> Fingerprint {
    Fingerprint::of(&(
        &request.username,
        &request.password,
        &request.device_id,
        &request.initial_device_display_name,
        request.inhibit_login,
        request.refresh_token,
    ))
}

fn answer(user: &UserId, session: Option<LoggedIn>) -> JsonResponse {
    let mut answer = json!({ "user_id": user });
    if let Some(LoggedIn { device, tokens, .. }) = session {
        answer["access_token"] = tokens.access.into();
        answer["device_id"] = device.as_str().into();
        if let Some(refresh) = tokens.refresh {
            answer["refresh_token"] = refresh.into();
        }
        if let Some(expires_in_ms) = tokens.expires_in_ms {
            answer["expires_in_ms"] = expires_in_ms.into();
        }
    }
    JsonResponse(answer)
}

/// `POST /_matrix/client/v3/register/email/requestToken`
pub async fn request_token_by_mail(
    _: Context,
    _: Anyone,
    _: by_mail::v3::Request,
) -> Result<by_mail::v3::Response, Error> {
    Err(no_medium())
}

/// `POST /_matrix/client/v3/register/msisdn/requestToken`
pub async fn request_token_by_telephone(
    _: Context,
    _: Anyone,
    _: by_telephone::v3::Request,
) -> Result<by_telephone::v3::Response, Error> {
    Err(no_medium())
}
