//! `POST /_matrix/client/v3/rooms/{roomId}/join`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidjoin>

use depesche_server::rooms::membership::Action;
use ruma::api::client::membership::join_room_by_id::v3::{Request, Response};

use super::change;
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/join`. There are no third-party invites, so their signature proves nothing.
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, third_party_signed: _, reason } = request;
    change(&context, &user, user.user_id.clone(), &room_id, Action::Join, reason).await?;
    Ok(Response { room_id })
}
