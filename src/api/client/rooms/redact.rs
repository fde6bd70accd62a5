//! `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid>

use depesche_server::rooms::send::Redaction;
use ruma::api::client::redact::redact_event::v3::{Request, Response};

use super::{may_redact, transaction, unknown_is_forbidden};
use crate::{caller::User, error::Error, route::Context};

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`. Who is suspended may still take back what they said
/// themselves.
pub async fn put(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, event_id, txn_id, reason } = request;
    may_redact(&context, &user, &room_id, Some(&event_id)).await?;
    let redaction = Redaction {
        sender: user.user_id.clone(),
        transaction: Some(transaction(&user, &room_id, &format!("redact {event_id}"), &txn_id)),
        target: event_id,
        reason,
    };
    let sent = context.app.server.rooms.submit(&room_id, redaction).await.map_err(unknown_is_forbidden)?;
    Ok(Response { event_id: sent.event_id })
}
