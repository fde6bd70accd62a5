//! `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>

use depesche_server::rooms::send::Message;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId,
    api::client::message::send_message_event::v3::{Request, Response},
    events::{MessageLikeEventType, TimelineEventType},
};

use super::{content, may_redact, transaction, unknown_is_forbidden};
use crate::{caller::User, error::Error, route::Context};

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`. `ts` is for application services alone. Who is
/// suspended may still redact their own events.
pub async fn put(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, event_type, txn_id, body, timestamp: _ } = request;
    let content = content(body.json())?;
    if event_type.to_string() == "m.room.redaction" {
        may_redact(&context, &user, &room_id, target(&content).as_deref()).await?;
    } else {
        user.must_not_be_suspended()?;
    }
    if event_type == MessageLikeEventType::RoomMessage {
        check_message(&content)?;
    }
    let message = Message {
        sender: user.user_id.clone(),
        kind: TimelineEventType::from(event_type.to_string()),
        content,
        transaction: Some(transaction(&user, &room_id, &format!("send {event_type}"), &txn_id)),
    };
    let sent = context.app.server.rooms.submit(&room_id, message).await.map_err(unknown_is_forbidden)?;
    context.app.server.presence.active(&user.user_id);
    Ok(Response { event_id: sent.event_id })
}

/// What a client cannot show is no message: see "Server behaviour" of
/// [instant messaging](https://spec.matrix.org/v1.19/client-server-api/#instant-messaging).
fn check_message(content: &CanonicalJsonObject) -> Result<(), Error> {
    let is_text = |field: &str| matches!(content.get(field), Some(CanonicalJsonValue::String(_)));
    match ["msgtype", "body"].into_iter().find(|field| !is_text(field)) {
        Some(missing) => Err(Error::bad_json(format!("a message has a text as its `{missing}`"))),
        None => Ok(()),
    }
}

/// The event that a redaction in the form of room version 11 names.
fn target(content: &CanonicalJsonObject) -> Option<OwnedEventId> {
    match content.get("redacts") {
        Some(CanonicalJsonValue::String(id)) => id.as_str().try_into().ok(),
        _ => None,
    }
}
