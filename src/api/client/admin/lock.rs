//! `GET` and `PUT /_matrix/client/v1/admin/lock/{userId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid>

use ruma::api::client::admin::{is_user_locked::v1 as is_locked, lock_user::v1 as lock};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v1/admin/lock/{userId}`
pub async fn get(context: Context, user: User, request: is_locked::Request) -> Result<is_locked::Response, Error> {
    user.must_be_admin()?;
    let account = context.app.server.accounts.moderated(&user.user_id, &request.user_id).await?;
    Ok(is_locked::Response { locked: account.locked })
}

/// `PUT /_matrix/client/v1/admin/lock/{userId}`
pub async fn put(context: Context, user: User, request: lock::Request) -> Result<lock::Response, Error> {
    user.must_be_admin()?;
    let lock::Request { user_id, locked } = request;
    context.app.server.accounts.lock(&user.user_id, &user_id, locked).await?;
    tracing::info!(by = %user.user_id, user = %user_id, locked, "an administrator locked an account, or unlocked it");
    Ok(lock::Response { locked })
}
