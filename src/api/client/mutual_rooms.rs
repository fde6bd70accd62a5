//! `GET /_matrix/client/v1/mutual_rooms`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mutual_rooms>

use depesche_rules::bounds::MAX_MUTUAL_ROOMS;
use ruma::{
    OwnedRoomId, UInt,
    api::client::membership::get_mutual_rooms::v1::{Request, Response},
    serde::{Base64, base64::UrlSafe},
};

use crate::{caller::User, error::Error, route::Context};

/// Written into a URL as it is, which a room's id is not.
type Token = Base64<UrlSafe>;

/// `GET /_matrix/client/v1/mutual_rooms`. A token is the last room of the page before.
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { user_id, from } = request;
    if user_id.validate_strict().is_err() {
        return Err(Error::invalid_param("this is not a user id"));
    }
    if user_id == user.user_id {
        return Err(Error::invalid_param("you share all your rooms with yourself"));
    }
    let from = match from {
        Some(token) => Some(room(&token).ok_or_else(|| Error::invalid_param("this is not a token of this server"))?),
        None => None,
    };
    let rooms = &context.app.server.rooms;
    let page = rooms.mutual(&user.user_id, &user_id, from.as_deref(), MAX_MUTUAL_ROOMS).await?;
    let mut response = Response::new(UInt::try_from(page.count).unwrap_or(UInt::MAX), page.joined);
    response.next_batch = page.next.map(|room| Token::new(room.as_bytes().to_vec()).encode());
    Ok(response)
}

fn room(token: &str) -> Option<OwnedRoomId> {
    String::from_utf8(Token::parse(token).ok()?.into_inner()).ok()?.try_into().ok()
}
