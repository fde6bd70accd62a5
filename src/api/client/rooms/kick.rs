//! `POST /_matrix/client/v3/rooms/{roomId}/kick`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidkick>

use depesche_server::rooms::membership::Action;
use ruma::api::client::membership::kick_user::v3::{Request, Response};

use super::change;
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/kick`
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, user_id, reason } = request;
    change(&context, &user, user_id, &room_id, Action::Kick, reason).await.map(|_| Response {})
}
