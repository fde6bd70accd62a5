//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/`: what users keep on the server for themselves about a room.

pub mod account_data;
pub mod tags;

use depesche_server::rooms::view::RoomView;
use ruma::RoomId;

use crate::{error::Error, route::Context};

/// The room, or that there is none.
async fn known(context: &Context, room: &RoomId) -> Result<RoomView, Error> {
    let found = context.app.server.rooms.find(room).await?;
    found.ok_or_else(|| Error::not_found("This server does not know the room"))
}
