//! `GET /_matrix/client/v3/keys/changes`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges>

use ruma::api::client::keys::get_key_changes::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/keys/changes`
pub async fn get(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    let lists = context.app.server.syncs.key_changes(&caller.user_id, &request.from, &request.to).await?;
    let (changed, left) = (lists.changed.into_iter().collect(), lists.left.into_iter().collect());
    Ok(Response { changed, left })
}
