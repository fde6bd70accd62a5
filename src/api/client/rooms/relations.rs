//! `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`, also of one `rel_type`, also of one event type
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>

use depesche_rules::bounds::DEFAULT_RELATIONS_LIMIT;
use depesche_server::rooms::children::{Children, ChildrenQuery};
use ruma::{
    RoomId, UInt,
    api::{
        Direction,
        client::relations::{
            get_relating_events, get_relating_events_with_rel_type as of_type,
            get_relating_events_with_rel_type_and_event_type as of_event_type,
        },
    },
    serde::Raw,
};

use super::{page_limit, viewer};
use crate::{caller::User, error::Error, route::Context};

/// Answers one of the three requests, whose types differ in what they name beside the event.
macro_rules! related {
    ($api:ident, $context:ident, $user:ident, $request:ident, $relation:expr, $kind:expr) => {{
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
            recursion_depth: page.depth.map(UInt::from),
            chunk: page.events.into_iter().map(Raw::from_json).collect(),
        })
    }};
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
pub async fn get(
    context: Context,
    user: User,
    request: get_relating_events::v1::Request,
) -> Result<get_relating_events::v1::Response, Error> {
    related!(get_relating_events, context, user, request, None, None)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}`
pub async fn get_of_type(
    context: Context,
    user: User,
    request: of_type::v1::Request,
) -> Result<of_type::v1::Response, Error> {
    related!(of_type, context, user, request, Some(request.rel_type.as_str()), None)
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`
pub async fn get_of_event_type(
    context: Context,
    user: User,
    request: of_event_type::v1::Request,
) -> Result<of_event_type::v1::Response, Error> {
    let kind = request.event_type.to_string();
    related!(of_event_type, context, user, request, Some(request.rel_type.as_str()), Some(&kind))
}

/// What the caller may not see does not exist for the caller.
async fn children(context: &Context, user: &User, room: &RoomId, query: &ChildrenQuery<'_>) -> Result<Children, Error> {
    let Some(room) = context.app.server.rooms.find(room).await? else {
        return Err(Error::not_found("there is no such event here"));
    };
    Ok(viewer(context, user, &room).await?.children(query).await?)
}
