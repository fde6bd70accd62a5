//! `/_matrix/client/v3/register`: new accounts.
//! <https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration>

use depesche_server::accounts::{Fingerprint, LoggedIn, NewSession, Register, Registered};
use http::StatusCode;
use ruma::{
    UserId,
    api::{
        client::account::{
            check_registration_token_validity::v1 as validity,
            get_username_availability::v3 as availability,
            register::{LoginType, RegistrationKind, v3::Request},
            request_registration_token_via_email as by_email, request_registration_token_via_msisdn as by_msisdn,
        },
        error::ErrorKind,
    },
};
use serde_json::json;

use crate::{
    caller::Anyone,
    error::Error,
    route::{Answering, Context, JsonResponse, MaybeOfService},
};

/// `POST /_matrix/client/v3/register`. ruma's response has a `device_id` of `null` where nobody is logged in; the
/// specification's has none.
pub async fn post(context: Context, _: Anyone, asked: Asked) -> Result<JsonResponse, Error> {
    let MaybeOfService { request: Answering { request, .. }, shows_token } = asked;
    match request.kind {
        RegistrationKind::User => {}
        RegistrationKind::Guest => return Err(Error::forbidden("There are no guests on this server")),
        _ => return Err(Error::invalid_param("There is no such kind of account")),
    }
    if request.login_type == Some(LoginType::ApplicationService) {
        return Err(no_service(request.inhibit_login, shows_token));
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
        Registered::Done { user, session } => {
            if let Some(LoggedIn { device, .. }) = &session {
                context.app.server.devices.saw_login(&user, device, context.client_address).await;
            }
            Ok(answer(&user, session))
        }
        Registered::NeedMore(needed) => Err(needed.into()),
    }
}

/// Why an application service registers nobody: there are none, so that no token is one's. Services that want to log in
/// as their users are refused that before anything else.
fn no_service(inhibit_login: bool, shows_token: bool) -> Error {
    if !inhibit_login {
        let words = "Application services cannot log in here";
        return Error::bad_request(ErrorKind::AppserviceLoginUnsupported, words);
    }
    if shows_token { Error::unknown_token(false) } else { Error::missing_token() }
}

/// The request of [`post`].
pub type Asked = MaybeOfService<Answering<Request, JsonResponse>>;

/// `GET /_matrix/client/v3/register/available`
pub async fn available(
    context: Context,
    _: Anyone,
    request: availability::Request,
) -> Result<availability::Response, Error> {
    context.app.server.accounts.check_registrable(&request.username).await?;
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

/// `POST /_matrix/client/v3/register/email/requestToken`. No addresses are kept.
pub async fn request_by_email(
    _: Context,
    _: Anyone,
    _: by_email::v3::Request,
) -> Result<by_email::v3::Response, Error> {
    Err(address_denied())
}

/// `POST /_matrix/client/v3/register/msisdn/requestToken`. No addresses are kept.
pub async fn request_by_msisdn(
    _: Context,
    _: Anyone,
    _: by_msisdn::v3::Request,
) -> Result<by_msisdn::v3::Response, Error> {
    Err(address_denied())
}

fn address_denied() -> Error {
    Error::new(StatusCode::FORBIDDEN, ErrorKind::ThreepidDenied, "This server keeps no addresses")
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
