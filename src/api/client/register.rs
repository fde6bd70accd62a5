//! `/_matrix/client/v3/register`: new accounts.
//! <https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration>

use std::time::Duration;

use depesche_server::accounts::{Fingerprint, LoggedIn, NewSession, Register, Registered};
use ruma::OwnedUserId;
use ruma::api::{
    client::account::{
        check_registration_token_validity::v1 as validity,
        get_username_availability::v3 as availability,
        register::{
            LoginType, RegistrationKind,
            v3::{Request, Response},
        },
    },
    error::ErrorKind,
};

use crate::{caller::Anyone, error::Error, route::Context};

/// `POST /_matrix/client/v3/register`
pub async fn post(context: Context, _: Anyone, request: Request) -> Result<Response, Error> {
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
        Registered::Done { user, session } => Ok(answer(user, session)),
        Registered::NeedMore(needed) => Err(needed.into()),
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

fn answer(user_id: OwnedUserId, session: Option<LoggedIn>) -> Response {
    let mut answer = Response { access_token: None, user_id, device_id: None, refresh_token: None, expires_in: None };
    if let Some(LoggedIn { device, tokens, .. }) = session {
        answer.access_token = Some(tokens.access);
        answer.device_id = Some(device);
        answer.refresh_token = tokens.refresh;
        answer.expires_in = tokens.expires_in_ms.map(Duration::from_millis);
    }
    answer
}
