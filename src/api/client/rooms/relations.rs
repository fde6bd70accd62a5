//! `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`, also of one `rel_type`, also of one event type
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidrelationseventid>

use depesche_rules::bounds::DEFAULT_RELATIONS_LIMIT;
use depesche_server::rooms::children::{Children, ChildrenQuery};
use ruma::{
    RoomId, UInt,
    api::{
        Direction,
        client::relations::{
            get_relating_events, get_relating_events_with_rel_type, get_relating_events_with_rel_type_and_event_type,
        },
    },
    serde::Raw,
};

use super::{page_limit, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`
pub async fn get(
    context: Context,
    user: User,
    request: get_relating_events::v1::Request,
) -> Result<get_relating_events::v1::Response, Error> {
    let get_relating_events::v1::Request { room_id, event_id, from, dir, to, limit, recurse } = request;
    let query = ChildrenQuery {
        parent: &event_id,
        relation: None,
        kind: None,
        from: from.as_deref(),
        to: to.as_deref(),
        backwards: dir == Direction::Backward,
        limit: page_limit(limit, DEFAULT_RELATIONS_LIMIT),
        recurse,
    };
    let page = children(&context, &user, &room_id, &query).await?;
    Ok(get_relating_events::v1::Response {
        next_batch: page.next,
        prev_batch: page.previous,
        recursion_depth: page.depth.map(UInt::from),
        chunk: page.events.into_iter().map(Raw::from_json).collect(),
    })
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}`
pub async fn get_of_type(
    context: Context,
    user: User,
    request: get_relating_events_with_rel_type::v1::Request,
) -> Result<get_relating_events_with_rel_type::v1::Response, Error> {
    let get_relating_events_with_rel_type::v1::Request { room_id, event_id, rel_type, from, dir, to, limit, recurse } =
        request;
    let query = ChildrenQuery {
        parent: &event_id,
        relation: Some(rel_type.as_str()),
        kind: None,
        from: from.as_deref(),
        to: to.as_deref(),
        backwards: dir == Direction::Backward,
        limit: page_limit(limit, DEFAULT_RELATIONS_LIMIT),
        recurse,
    };
    let page = children(&context, &user, &room_id, &query).await?;
    Ok(get_relating_events_with_rel_type::v1::Response {
        next_batch: page.next,
        prev_batch: page.previous,
        recursion_depth: page.depth.map(UInt::from),
        chunk: page.events.into_iter().map(Raw::from_json).collect(),
    })
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}`
pub async fn get_of_event_type(
    context: Context,
    user: User,
    request: get_relating_events_with_rel_type_and_event_type::v1::Request,
) -> Result<get_relating_events_with_rel_type_and_event_type::v1::Response, Error> {
    let get_relating_events_with_rel_type_and_event_type::v1::Request {
        room_id,
        event_id,
        rel_type,
        event_type,
        from,
        dir,
        to,
        limit,
        recurse,
    } = request;
    let query = ChildrenQuery {
        parent: &event_id,
        relation: Some(rel_type.as_str()),
        kind: Some(&event_type.to_string()),
        from: from.as_deref(),
        to: to.as_deref(),
        backwards: dir == Direction::Backward,
        limit: page_limit(limit, DEFAULT_RELATIONS_LIMIT),
        recurse,
    };
    let page = children(&context, &user, &room_id, &query).await?;
    Ok(get_relating_events_with_rel_type_and_event_type::v1::Response {
        next_batch: page.next,
        prev_batch: page.previous,
        recursion_depth: page.depth.map(UInt::from),
        chunk: page.events.into_iter().map(Raw::from_json).collect(),
    })
}

/// What the caller may not see does not exist for the caller.
async fn children(context: &Context, user: &User, room: &RoomId, query: &ChildrenQuery<'_>) -> Result<Children, Error> {
    let Some(room) = context.app.server.rooms.find(room).await? else {
        return Err(Error::not_found("there is no such event here"));
    };
    Ok(viewer(context, user, &room).await?.children(query).await?)
}
