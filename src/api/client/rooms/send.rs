//! `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid>

use depesche_rules::event_type;
use depesche_server::rooms::send::Message;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId,
    api::{
        IncomingRequest,
        client::message::send_message_event::v3::{Request, Response},
        error::DeserializationError,
    },
    events::TimelineEventType,
};

use super::{content, may_redact, transaction, unknown_is_forbidden};
use crate::{
    caller::User,
    error::Error,
    route::{Context, described_as},
};

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`. `ts` is for application services alone. Who is
/// suspended may still redact their own events.
pub async fn put(context: Context, user: User, request: Sending) -> Result<Response, Error> {
    let Sending { request: Request { room_id, event_type: _, txn_id, body, timestamp: _ }, kind } = request;
    let content = content(body.json())?;
    if kind == TimelineEventType::RoomRedaction {
        may_redact(&context, &user, &room_id, target(&content).as_deref()).await?;
    } else {
        user.must_not_be_suspended()?;
    }
    if kind == TimelineEventType::RoomMessage {
        check_message(&content)?;
    }
    let transaction = transaction(&user, &room_id, &format!("send {kind}"), &txn_id);
    let message = Message { sender: user.user_id.clone(), kind, content, transaction: Some(transaction) };
    let sent = context.app.server.rooms.submit(&room_id, message).await.map_err(unknown_is_forbidden)?;
    context.app.server.presence.active(&user.user_id);
    Ok(Response { event_id: sent.event_id })
}

/// ruma's request, and the type of the event as the path has it: ruma's own reading takes some for others.
pub struct Sending {
    request: Request,
    kind: TimelineEventType,
}

described_as!(Sending: Request);

impl IncomingRequest for Sending {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Response;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        let request = Request::try_from_http_request_inner(request, path)?;
        let kind = path.get(1).map_or_else(|| request.event_type.clone().into(), |text| event_type::timeline(text));
        Ok(Self { request, kind })
    }
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
