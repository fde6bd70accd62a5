//! `POST /_matrix/client/v3/join/{roomIdOrAlias}`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3joinroomidoralias>

use depesche_server::rooms::membership::Action;
use ruma::{
    OwnedRoomId, OwnedRoomOrAliasId, RoomAliasId, RoomId,
    api::client::membership::join_room_by_id_or_alias::v3::{Request, Response},
};

use super::rooms::change;
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`. `via` names servers to join over: there are none yet.
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id_or_alias, third_party_signed: _, reason, via: _ } = request;
    let room_id = room_of(&context, room_id_or_alias).await?;
    change(&context, &user, user.user_id.clone(), &room_id, Action::Join, reason).await?;
    Ok(Response { room_id })
}

/// The room that an id or an alias means.
pub(super) async fn room_of(context: &Context, room: OwnedRoomOrAliasId) -> Result<OwnedRoomId, Error> {
    let alias = match <&RoomId>::try_from(&*room) {
        Ok(id) => return Ok(id.to_owned()),
        Err(_) => {
            <&RoomAliasId>::try_from(&*room).map_err(|_| Error::invalid_param("neither a room id nor an alias"))?
        }
    };
    match context.app.server.rooms.resolve_alias(alias).await? {
        Some(target) => Ok(target.room_id),
        None => Err(Error::not_found("there is no such alias")),
    }
}
