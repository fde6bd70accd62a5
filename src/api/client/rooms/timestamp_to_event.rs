//! `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event>

use ruma::api::{
    Direction,
    client::room::get_event_by_timestamp::v1::{Request, Response},
};

use super::{readable, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, ts, dir } = request;
    let room = readable(&context, &room_id).await?;
    let near = viewer(&context, &user, &room).await?.event_near(ts, dir == Direction::Backward).await?;
    let (event_id, origin_server_ts) = near;
    Ok(Response { event_id, origin_server_ts })
}
