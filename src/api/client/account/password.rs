//! `POST /_matrix/client/v3/account/password`, and the ways to a forgotten one, which need addresses that are not kept.
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>

use depesche_server::accounts::{ChangePassword, ChangePasswordError, Purpose};
use ruma::api::{
    client::account::{
        change_password::v3::{Request, Response},
        request_password_change_token_via_email as by_email, request_password_change_token_via_msisdn as by_msisdn,
    },
    error::ErrorKind,
};

use crate::{
    caller::{Anyone, User},
    error::Error,
    route::Context,
    uia,
};

/// `POST /_matrix/client/v3/account/password`. Without an access token it is the password that says whose it is.
pub async fn post(context: Context, caller: Option<User>, request: Request) -> Result<Response, Error> {
    let accounts = &context.app.server.accounts;
    // Nobody should confirm what will not be done.
    if !context.app.config.accounts.change_password {
        return Err(ChangePasswordError::NotOffered.into());
    }
    accounts.check_new_password(&request.new_password)?;
    let Request { new_password, logout_devices, auth } = &request;
    let asked = (new_password, logout_devices);
    let proof = uia::confirm(&context.app, Purpose::ChangePassword, caller.as_ref(), &asked, auth.as_ref()).await?;
    let (user, device) = match caller {
        Some(caller) => (caller.user_id, Some(caller.device_id)),
        None => (proof.user.ok_or_else(Error::missing_token)?, None),
    };
    let change = ChangePassword { user: &user, device, new_password, logout_devices: *logout_devices };
    accounts.change_password(change).await?;
    Ok(Response {})
}

/// `POST /_matrix/client/v3/account/password/email/requestToken`
pub async fn request_by_email(
    _: Context,
    _: Anyone,
    _: by_email::v3::Request,
) -> Result<by_email::v3::Response, Error> {
    Err(nobody())
}

/// `POST /_matrix/client/v3/account/password/msisdn/requestToken`
pub async fn request_by_msisdn(
    _: Context,
    _: Anyone,
    _: by_msisdn::v3::Request,
) -> Result<by_msisdn::v3::Response, Error> {
    Err(nobody())
}

fn nobody() -> Error {
    Error::bad_request(ErrorKind::ThreepidNotFound, "No account here has such an address")
}
