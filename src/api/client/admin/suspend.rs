//! `GET` and `PUT /_matrix/client/v1/admin/suspend/{userId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid>

use ruma::api::client::admin::{is_user_suspended::v1 as is_suspended, suspend_user::v1 as suspend};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v1/admin/suspend/{userId}`
pub async fn get(
    context: Context,
    user: User,
    request: is_suspended::Request,
) -> Result<is_suspended::Response, Error> {
    user.must_be_admin()?;
    let account = context.app.server.accounts.moderated(&user.user_id, &request.user_id).await?;
    Ok(is_suspended::Response { suspended: account.suspended })
}

/// `PUT /_matrix/client/v1/admin/suspend/{userId}`
pub async fn put(context: Context, user: User, request: suspend::Request) -> Result<suspend::Response, Error> {
    user.must_be_admin()?;
    let suspend::Request { user_id, suspended } = request;
    context.app.server.accounts.suspend(&user.user_id, &user_id, suspended).await?;
    tracing::info!(by = %user.user_id, user = %user_id, suspended, "an administrator suspended an account, or lifted it");
    Ok(suspend::Response { suspended })
}
