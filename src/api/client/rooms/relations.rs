//! `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`, also of one `rel_type`, also of one event type
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>

use depesche_rules::bounds::DEFAULT_RELATIONS_LIMIT;
use depesche_server::rooms::children::{Children, ChildrenQuery};
use ruma::{
    RoomId, UInt,
    api::{
        Direction, IncomingRequest,
        client::relations::{
            get_relating_events, get_relating_events_with_rel_type as of_type,
            get_relating_events_with_rel_type_and_event_type as of_event_type,
        },
        error::DeserializationError,
    },
    serde::Raw,
};

use super::{page_limit, viewer};
use crate::{
    caller::User,
    error::Error,
    route::{Context, described_as},
};

/// Answers one of the three requests, whose types differ in what they name beside the event.
macro_rules! related {
    ($api:ident, $context:ident, $user:ident, $request:ident, $says_recurse:ident, $relation:expr, $kind:expr) => {{
        let query = ChildrenQuery {
            parent: &$request.event_id,
            relation: $relation,
            kind: $kind,
            from: $request.from.as_deref(),
            to: $request.to.as_deref(),
            backwards: $request.dir == Direction::Backward,
            limit: page_limit($request.limit, DEFAULT_RELATIONS_LIMIT),
            recurse: $request.recurse,
        };
        let page = children(&$context, &$user, &$request.room_id, &query).await?;
        Ok($api::v1::Response {
            next_batch: page.next,
            prev_batch: page.previous,
            recursion_depth: $says_recurse.then(|| UInt::from(page.depth)),
            chunk: page.events.into_iter().map(Raw::from_json).collect(),
        })
    }};
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
pub async fn get(
    context: Context,
    user: User,
    Asking { request, says_recurse, .. }: Asking<get_relating_events::v1::Request>,
) -> Result<get_relating_events::v1::Response, Error> {
    related!(get_relating_events, context, user, request, says_recurse, None, None)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}`
pub async fn get_of_type(
    context: Context,
    user: User,
    Asking { request, says_recurse, .. }: Asking<of_type::v1::Request>,
) -> Result<of_type::v1::Response, Error> {
    related!(of_type, context, user, request, says_recurse, Some(request.rel_type.as_str()), None)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`
pub async fn get_of_event_type(
    context: Context,
    user: User,
    Asking { request, says_recurse, kind }: Asking<of_event_type::v1::Request>,
) -> Result<of_event_type::v1::Response, Error> {
    related!(of_event_type, context, user, request, says_recurse, Some(request.rel_type.as_str()), kind.as_deref())
}

/// ruma's request, and whether it says `recurse` at all: only then the answer says how far was gone, and ruma's types do
/// not tell `false` from nothing.
pub struct Asking<R> {
    request: R,
    says_recurse: bool,
    /// The event type as the path has it, if it does: ruma's own reading takes some for others.
    kind: Option<String>,
}

described_as!(Asking<R>: any R);

impl<R: IncomingRequest> IncomingRequest for Asking<R> {
    type EndpointError = R::EndpointError;
    type OutgoingResponse = R::OutgoingResponse;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        let mut fields = request.uri().query().unwrap_or_default().split('&').map(|field| field.split('=').next());
        let says_recurse = fields.any(|name| name == Some("recurse"));
        let kind = path.get(3).map(|text| (*text).to_owned());
        R::try_from_http_request_inner(request, path).map(|request| Self { request, says_recurse, kind })
    }
}

/// What the caller may not see does not exist for the caller.
async fn children(context: &Context, user: &User, room: &RoomId, query: &ChildrenQuery<'_>) -> Result<Children, Error> {
    let Some(room) = context.app.server.rooms.find(room).await? else {
        return Err(Error::not_found("there is no such event here"));
    };
    Ok(viewer(context, user, &room).await?.children(query).await?)
}
