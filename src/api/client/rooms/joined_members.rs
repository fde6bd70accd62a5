//! `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidjoined_members>

use depesche_rules::pdu::Pdu;
use ruma::api::client::membership::joined_members::v3::{Request, Response, RoomMember};
use serde::Deserialize;

use super::{readable, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`, for members.
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let room = readable(&context, &request.room_id).await?;
    let joined = viewer(&context, &user, &room).await?.joined().await?;
    Ok(Response { joined: joined.into_iter().map(|(user, event)| (user, profile(&event))).collect() })
}

/// The profile of a membership event; fields of a wrong type are left out.
fn profile(event: &Pdu) -> RoomMember {
    #[derive(Default, Deserialize)]
    struct Content {
        #[serde(default)]
        displayname: serde_json::Value,
        #[serde(default)]
        avatar_url: serde_json::Value,
    }
    let content: Content = event.content_as().unwrap_or_default();
    RoomMember {
        display_name: content.displayname.as_str().map(str::to_owned),
        avatar_url: content.avatar_url.as_str().map(Into::into),
    }
}
