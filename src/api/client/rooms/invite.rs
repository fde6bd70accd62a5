//! `POST /_matrix/client/v3/rooms/{roomId}/invite`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite>

use depesche_server::rooms::membership::Action;
use ruma::api::{
    client::membership::invite_user::v3::{InvitationRecipient, Request, Response},
    error::ErrorKind,
};

use super::change;
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`, by user id. Addresses of mail or telephone would be looked up at an
/// identity server, and this server trusts none.
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, recipient } = request;
    let InvitationRecipient::UserId(invited) = recipient else {
        let words = "this server invites by user id only: it trusts no identity server";
        return Err(Error::new(http::StatusCode::FORBIDDEN, ErrorKind::ServerNotTrusted, words));
    };
    let reason = invited.reason;
    change(&context, &user, invited.user_id, &room_id, Action::Invite, reason).await.map(|_| Response {})
}
