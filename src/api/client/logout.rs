//! `/_matrix/client/v3/logout`: the end of one session or of all.
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout>

use ruma::api::client::session::{logout, logout_all};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/logout`
pub async fn post(context: Context, caller: User, _: logout::v3::Request) -> Result<logout::v3::Response, Error> {
    context.app.server.devices.log_out(&caller.user_id, &caller.device_id).await?;
    Ok(logout::v3::Response {})
}

/// `POST /_matrix/client/v3/logout/all`
pub async fn all(
    context: Context,
    caller: User,
    _: logout_all::v3::Request,
) -> Result<logout_all::v3::Response, Error> {
    context.app.server.devices.log_out_all(&caller.user_id).await?;
    Ok(logout_all::v3::Response {})
}
