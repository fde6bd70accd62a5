//! `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`: the rooms of a space.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy>

use depesche_rules::bounds::DEFAULT_HIERARCHY_LIMIT;
use depesche_server::spaces::{HierarchyError, HierarchyQuery};
use ruma::{
    UInt,
    api::client::space::{SpaceHierarchyRoomsChunk, get_hierarchy::v1::Request},
    events::space::child::HierarchySpaceChildEvent,
    serde::Raw,
};
use serde::Serialize;
use serde_json::Value;

use super::{super::room_summary::with_join_rule, page_limit};
use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// A page of the rooms of a space.
#[derive(Serialize)]
pub struct Rooms {
    rooms: Vec<Room>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

/// A room, with its children as text: there may be many of them.
#[derive(Serialize)]
struct Room {
    #[serde(flatten)]
    summary: Value,
    children_state: Vec<Raw<HierarchySpaceChildEvent>>,
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`. Of rooms that are not here nothing is said: there is nobody to ask.
pub async fn get(
    context: Context,
    user: User,
    Answering { request, .. }: Answering<Request, JsonResponse<Rooms>>,
) -> Result<JsonResponse<Rooms>, Error> {
    let Request { room_id, from, limit, max_depth, suggested_only, .. } = request;
    if limit == Some(UInt::MIN) {
        return Err(Error::invalid_param("`limit` is greater than zero"));
    }
    let query = HierarchyQuery {
        from: from.as_deref(),
        max_depth: max_depth.map(|depth| u32::try_from(u64::from(depth)).unwrap_or(u32::MAX)),
        suggested_only,
        limit: page_limit(limit, DEFAULT_HIERARCHY_LIMIT),
    };
    let page = context.app.server.rooms.hierarchy(&room_id, &user.user_id, &query).await?;
    let room = |room: SpaceHierarchyRoomsChunk| {
        Ok(Room { summary: with_join_rule(&room.summary)?, children_state: room.children_state })
    };
    let rooms = page.rooms.into_iter().map(room).collect::<Result<_, Error>>()?;
    Ok(JsonResponse(Rooms { rooms, next_batch: page.next }))
}

impl From<HierarchyError> for Error {
    fn from(error: HierarchyError) -> Self {
        let words = error.to_string();
        match error {
            HierarchyError::Forbidden => Self::forbidden(words),
            HierarchyError::BadToken | HierarchyError::OtherQuestion => Self::invalid_param(words),
            HierarchyError::Fault(fault) => fault.into(),
        }
    }
}
