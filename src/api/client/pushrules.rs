//! `GET /_matrix/client/v3/pushrules/`: all push rules of a user.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules>

pub mod global;

use depesche_server::push_rules;
use ruma::api::client::push::get_pushrules_all::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/pushrules/`
pub async fn get(context: Context, caller: User, _: Request) -> Result<Response, Error> {
    let view = context.app.server.base.view();
    Ok(Response { global: push_rules::of(&view, &caller.user_id).await?.rules })
}
