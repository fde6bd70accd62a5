//! `/_matrix/client/v3/pushers`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers>

use depesche_server::pushers::PusherError;
use ruma::api::client::push::{
    get_pushers,
    set_pusher::{self, v3::PusherAction},
};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/pushers`
pub async fn get(
    context: Context,
    caller: User,
    _: get_pushers::v3::Request,
) -> Result<get_pushers::v3::Response, Error> {
    let pushers = context.app.server.pushers.list(&caller.user_id).await?;
    Ok(get_pushers::v3::Response { pushers })
}

/// `POST /_matrix/client/v3/pushers/set`
pub async fn set(
    context: Context,
    caller: User,
    request: set_pusher::v3::Request,
) -> Result<set_pusher::v3::Response, Error> {
    let pushers = &context.app.server.pushers;
    match &request.action {
        PusherAction::Post(post) => {
            pushers.set(&caller.user_id, &caller.device_id, &post.pusher, post.append).await?;
        }
        PusherAction::Delete(ids) => pushers.remove(&caller.user_id, ids).await?,
    }
    Ok(set_pusher::v3::Response {})
}

impl From<PusherError> for Error {
    fn from(error: PusherError) -> Self {
        let message = error.to_string();
        match error {
            PusherError::KindNotOffered | PusherError::TooLong(_) | PusherError::BadUrl => Self::invalid_param(message),
            PusherError::TooMany => Self::user_limit(message),
            PusherError::NoDevice => Self::unknown_token(false),
            PusherError::Fault(fault) => fault.into(),
        }
    }
}
