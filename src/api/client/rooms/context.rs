//! `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>

use ruma::{
    api::client::context::get_context::v3::{Request, Response},
    serde::Raw,
};
use serde_json::value::RawValue;

use super::{readable, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, event_id, limit, filter } = request;
    let most = context.app.config.limits.events_per_page;
    let limit = usize::try_from(u64::from(limit)).unwrap_or(most).min(most);
    let room = readable(&context, &room_id).await?;
    let found = viewer(&context, &user, &room).await?.context(&event_id, limit, &filter).await?;
    Ok(Response {
        start: Some(found.start),
        end: Some(found.end),
        event: Some(Raw::from_json(found.event)),
        events_before: raw(found.before),
        events_after: raw(found.after),
        state: raw(found.state),
    })
}

fn raw<T>(events: Vec<Box<RawValue>>) -> Vec<Raw<T>> {
    events.into_iter().map(Raw::from_json).collect()
}
