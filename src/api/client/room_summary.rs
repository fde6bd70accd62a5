//! `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`: what a room says of itself.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-summaries>

use depesche_server::rooms::summary::SummaryError;
use ruma::api::client::room::get_summary::v1::{Request, Response};

use super::join::room_of;
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`. `via` names servers to ask: there are none yet.
pub async fn get(context: Context, user: Option<User>, request: Request) -> Result<Response, Error> {
    let Request { room_id_or_alias, via: _, .. } = request;
    let room = room_of(&context, room_id_or_alias).await?;
    let viewer = user.as_ref().map(|user| &*user.user_id);
    let (summary, membership) = context.app.server.rooms.summary(&room, viewer).await?;
    let mut response = Response::new(summary);
    response.membership = membership;
    Ok(response)
}

impl From<SummaryError> for Error {
    fn from(error: SummaryError) -> Self {
        match error {
            SummaryError::NotFound => Self::not_found(error.to_string()),
            SummaryError::Fault(fault) => fault.into(),
        }
    }
}
