//! `GET /_matrix/client/v3/rooms/{roomId}/messages`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>

use depesche_server::rooms::history::PageQuery;
use ruma::{
    api::{
        Direction,
        client::message::get_message_events::v3::{Request, Response},
    },
    serde::Raw,
};

use super::{readable, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, from, to, dir, limit, filter } = request;
    let most = context.app.config.limits.events_per_page;
    let room = readable(&context, &room_id).await?;
    let query = PageQuery {
        from: from.as_deref(),
        to: to.as_deref(),
        backwards: dir == Direction::Backward,
        limit: usize::try_from(u64::from(limit)).unwrap_or(most).min(most),
        filter: &filter,
    };
    let page = viewer(&context, &user, &room).await?.page(&query).await?;
    Ok(Response {
        start: page.start,
        end: page.end,
        chunk: page.events.into_iter().map(Raw::from_json).collect(),
        state: page.state.into_iter().map(Raw::from_json).collect(),
    })
}
