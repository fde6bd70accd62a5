//! `/_matrix/client/v3/presence/{userId}/status`: how a user is.
//! <https://spec.matrix.org/v1.19/client-server-api/#presence>

use std::time::Duration;

use depesche_server::presence::{PresenceError, Shown};
use ruma::{
    api::client::presence::{get_presence, set_presence},
    presence::PresenceState,
};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/presence/{userId}/status`
pub async fn get(
    context: Context,
    caller: User,
    request: get_presence::v3::Request,
) -> Result<get_presence::v3::Response, Error> {
    let shown = context.app.server.presence.get(&caller.user_id, &request.user_id).await?;
    let Shown { state, currently_active, status, last_active_ago_ms } = shown;
    let mut response = get_presence::v3::Response::new(state.clone());
    response.currently_active = (state == PresenceState::Online).then_some(currently_active);
    response.status_msg = status;
    response.last_active_ago = last_active_ago_ms.map(Duration::from_millis);
    Ok(response)
}

/// `PUT /_matrix/client/v3/presence/{userId}/status`. Without presence on this server it has no effect.
pub async fn put(
    context: Context,
    caller: User,
    request: set_presence::v3::Request,
) -> Result<set_presence::v3::Response, Error> {
    let set_presence::v3::Request { user_id, presence, status_msg } = request;
    caller.must_be(&user_id)?;
    context.app.server.presence.set(&user_id, &presence, status_msg).await?;
    Ok(set_presence::v3::Response {})
}

impl From<PresenceError> for Error {
    fn from(error: PresenceError) -> Self {
        let words = error.to_string();
        match error {
            PresenceError::Hidden => Self::forbidden(words),
            PresenceError::TooLong | PresenceError::UnknownState => Self::invalid_param(words),
            PresenceError::Fault(fault) => fault.into(),
        }
    }
}
