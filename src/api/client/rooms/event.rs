//! `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomideventeventid>

use depesche_server::rooms::shown::Format;
use ruma::{
    api::client::room::get_room_event::v3::{Request, Response},
    serde::Raw,
};

use super::viewer;
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`. What the caller may not see does not exist for the caller.
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Some(room) = context.app.server.rooms.find(&request.room_id).await? else {
        return Err(Error::not_found("there is no such event here"));
    };
    let mut viewer = viewer(&context, &user, &room).await?;
    let event = viewer.event(&request.event_id).await?;
    Ok(Response { event: Raw::from_json(viewer.show_one(&event, Format::WithRoom).await?) })
}
