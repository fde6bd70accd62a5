//! `GET /_matrix/client/v3/joined_rooms`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3joined_rooms>

use ruma::api::client::membership::joined_rooms::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/joined_rooms`
pub async fn get(context: Context, user: User, _: Request) -> Result<Response, Error> {
    Ok(Response { joined_rooms: context.app.server.rooms.joined_by(&user.user_id).await? })
}
