//! `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3knockroomidoralias>

use depesche_server::rooms::membership::Action;
use ruma::api::client::knock::knock_room::v3::{Request, Response};

use super::{join::room_of, rooms::change};
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`. `via` names servers to knock over: there are none yet.
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id_or_alias, reason, via: _ } = request;
    let room_id = room_of(&context, room_id_or_alias).await?;
    change(&context, &user, user.user_id.clone(), &room_id, Action::Knock, reason).await?;
    Ok(Response { room_id })
}
