//! `GET /_matrix/client/v3/rooms/{roomId}/members`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmembers>

use ruma::{
    api::client::membership::get_member_events::v3::{Request, Response},
    serde::Raw,
};

use super::{readable, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/rooms/{roomId}/members`
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, at, membership, not_membership } = request;
    let room = readable(&context, &room_id).await?;
    let mut viewer = viewer(&context, &user, &room).await?;
    let members = viewer.members(at.as_deref(), membership.as_ref(), not_membership.as_ref()).await?;
    Ok(Response { chunk: members.into_iter().map(Raw::from_json).collect() })
}
