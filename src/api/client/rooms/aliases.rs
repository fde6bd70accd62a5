//! `GET /_matrix/client/v3/rooms/{roomId}/aliases`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidaliases>

use ruma::api::client::room::aliases::v3::{Request, Response};

use super::{readable, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let room = readable(&context, &request.room_id).await?;
    let viewer = viewer(&context, &user, &room).await?;
    Ok(Response { aliases: context.app.server.rooms.aliases_of(&viewer).await? })
}
