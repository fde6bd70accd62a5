//! `POST /_matrix/client/v3/rooms/{roomId}/forget`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget>

use ruma::api::client::membership::forget_room::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    context.app.server.rooms.forget(&user.user_id, &request.room_id).await?;
    Ok(Response {})
}
