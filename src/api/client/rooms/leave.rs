//! `POST /_matrix/client/v3/rooms/{roomId}/leave`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidleave>

use depesche_server::rooms::membership::Action;
use ruma::api::client::membership::leave_room::v3::{Request, Response};

use super::change;
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`: leaves, refuses an invite, or takes back a knock.
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, reason } = request;
    let target = user.user_id.clone();
    change(&context, &user, target, &room_id, Action::Leave, reason).await.map(|_| Response {})
}
