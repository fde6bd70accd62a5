//! `/_matrix/client/v3/login`: from a proof to an access token.
//! <https://spec.matrix.org/v1.19/client-server-api/#legacy-login>

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use depesche_server::accounts::{Credentials, LoggedIn, LoginError, NewSession, Purpose, login::named_user};
use ruma::api::{
    client::session::{
        get_login_token::v1 as get_login_token,
        get_login_types::v3::{self as get_login_types, LoginType, PasswordLoginType, TokenLoginType},
        login::v3::{DiscoveryInfo, HomeserverInfo, LoginInfo, Password, Request, Response},
    },
    error::ErrorKind,
};
use serde_json::{
    Map,
    value::{RawValue, to_raw_value},
};

use crate::{
    App,
    caller::{Anyone, User},
    error::Error,
    route::{Context, MaybeOfService},
    uia,
};

/// `GET /_matrix/client/v3/login`
pub async fn get(context: Context, _: Anyone, _: get_login_types::Request) -> Result<get_login_types::Response, Error> {
    let accounts = &context.app.config.accounts;
    let mut flows = Vec::new();
    if accounts.password_login {
        flows.push(LoginType::Password(PasswordLoginType {}));
    }
    if accounts.token_login {
        flows.push(LoginType::Token(TokenLoginType { get_login_token: true }));
    }
    Ok(get_login_types::Response { flows })
}

/// `POST /_matrix/client/v3/login`
pub async fn post(context: Context, _: Anyone, asked: MaybeOfService<Request>) -> Result<Response, Error> {
    let MaybeOfService { request, shows_token } = asked;
    let Request { login_info, device_id, initial_device_display_name, refresh_token } = request;
    let credentials = match &login_info {
        LoginInfo::Password(password) => Credentials::Password { user: user(password)?, password: &password.password },
        LoginInfo::Token(token) => Credentials::Token(&token.token),
        LoginInfo::ApplicationService(_) if !shows_token => return Err(Error::missing_token()),
        // Nobody's token is one of an application service: there are none here.
        LoginInfo::ApplicationService(_) => return Err(Error::forbidden("There are no application services here")),
        _ => return Err(LoginError::NotOffered.into()),
    };
    let new = NewSession { device: device_id, display_name: initial_device_display_name, refreshable: refresh_token };
    let logged_in = context.app.server.accounts.login(credentials, &new).await?;
    // Who has just logged in has been seen, also where nothing else is asked.
    context.app.server.devices.saw_login(&logged_in.user, &logged_in.device, context.client_address).await;
    Ok(answer(&context.app, logged_in))
}

/// Makes of a body one that ruma reads as it is meant: an identifier of a medium and an address is one of a third party,
/// also where it has no type.
pub fn as_meant(body: Bytes) -> Bytes {
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&body) else { return body };
    let identifier = fields.get("identifier").and_then(|value| serde_json::from_str::<Map<_, _>>(value.get()).ok());
    let Some(mut identifier) = identifier else { return body };
    if identifier.contains_key("type") || !["medium", "address"].iter().all(|field| identifier.contains_key(*field)) {
        return body;
    }
    identifier.insert("type".to_owned(), "m.id.thirdparty".into());
    let Ok(identifier) = to_raw_value(&identifier) else { return body };
    fields.insert("identifier".to_owned(), identifier);
    serde_json::to_vec(&fields).map_or(body, Bytes::from)
}

/// `POST /_matrix/client/v1/login/get_token`
pub async fn get_token(
    context: Context,
    caller: User,
    request: get_login_token::Request,
) -> Result<get_login_token::Response, Error> {
    if !context.app.config.accounts.token_login {
        return Err(LoginError::NotOffered.into());
    }
    uia::confirm(&context.app, Purpose::LoginToken, Some(&caller), &(), request.auth.as_ref()).await?;
    let issued = context.app.server.accounts.issue_login_token(&caller.user_id).await?;
    let expires_in = Duration::from_millis(issued.expires_in_ms);
    Ok(get_login_token::Response { expires_in, login_token: issued.token })
}

/// Whom a login names, in either of the two ways.
#[expect(deprecated, reason = "clients still send `user` and `address`")]
fn user(password: &Password) -> Result<&str, Error> {
    // Nobody is called "": a third-party identifier names no user here.
    const NOBODY: &str = "";
    match &password.identifier {
        Some(identifier) => match (named_user(identifier), identifier.identifier_type()) {
            (Some(user), _) => Ok(user),
            (None, "m.id.thirdparty" | "m.id.phone") => Ok(NOBODY),
            _ => Err(Error::bad_request(ErrorKind::Unknown, "There is no such type of identifier")),
        },
        None if password.address.is_some() => Ok(NOBODY),
        None => password.user.as_deref().ok_or_else(|| Error::bad_json("missing field `identifier`")),
    }
}

#[expect(deprecated, reason = "the struct has a field `home_server`, which nobody needs")]
fn answer(app: &App, logged_in: LoggedIn) -> Response {
    let LoggedIn { user, device, tokens } = logged_in;
    let base_url = app.config.server.base_url.as_ref();
    Response {
        user_id: user,
        access_token: tokens.access,
        home_server: None,
        device_id: device,
        well_known: base_url.map(|url| DiscoveryInfo {
            homeserver: HomeserverInfo { base_url: url.as_str().trim_end_matches('/').to_owned() },
            identity_server: None,
        }),
        refresh_token: tokens.refresh,
        expires_in: tokens.expires_in_ms.map(Duration::from_millis),
    }
}
