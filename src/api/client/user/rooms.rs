//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/`: what users keep on the server for themselves about a room.

pub mod account_data;
pub mod tags;

use depesche_server::rooms::view::RoomView;
use ruma::RoomId;

use crate::{caller::User, error::Error, route::Context};

/// A room that the caller has to do with, or had. Of others they learn nothing here, not even whether this
/// server knows them.
async fn own(context: &Context, caller: &User, room: &RoomId) -> Result<Option<RoomView>, Error> {
    let Some(room) = context.app.server.rooms.find(room).await? else { return Ok(None) };
    Ok(room.membership(&caller.user_id).await?.map(|_| room))
}

/// The same, for what is to be kept.
async fn own_to_write(context: &Context, caller: &User, room: &RoomId) -> Result<RoomView, Error> {
    own(context, caller, room).await?.ok_or_else(|| Error::forbidden("You have never been in this room"))
}
