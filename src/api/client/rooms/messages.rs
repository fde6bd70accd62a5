//! `GET /_matrix/client/v3/rooms/{roomId}/messages`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages>

use depesche_server::rooms::{history::PageQuery, shown::Shown};
use ruma::api::{Direction, client::message::get_message_events::v3::Request};
use serde::Serialize;

use super::{readable, viewer};
use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// ruma's response has each event as a text of its own; this one is written in one go.
#[derive(Serialize)]
pub struct Page {
    start: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<String>,
    chunk: Vec<Shown>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    state: Vec<Shown>,
}

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
pub async fn get(
    context: Context,
    user: User,
    Answering { request, .. }: Answering<Request, JsonResponse<Page>>,
) -> Result<JsonResponse<Page>, Error> {
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
    Ok(JsonResponse(Page { start: page.start, end: page.end, chunk: page.events, state: page.state }))
}
