//! `POST /_matrix/client/v3/account/password`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword>

use depesche_server::accounts::{ChangePassword, ChangePasswordError, Purpose};
use ruma::api::client::account::change_password::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context, uia};

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
