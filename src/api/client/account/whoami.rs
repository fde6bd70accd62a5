//! `GET /_matrix/client/v3/account/whoami`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami>

use ruma::api::client::account::whoami::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/account/whoami`
pub async fn get(_: Context, caller: User, _: Request) -> Result<Response, Error> {
    Ok(Response { user_id: caller.user_id, device_id: Some(caller.device_id), is_guest: false })
}
