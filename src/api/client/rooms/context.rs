//! `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid>

use ruma::api::client::context::get_context::v3::Request;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{readable, viewer};
use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// What stands around an event. ruma's response leaves out empty lists, which clients read without asking whether they
/// are there.
#[derive(Serialize)]
pub struct Around {
    start: String,
    end: String,
    event: Box<RawValue>,
    events_before: Vec<Box<RawValue>>,
    events_after: Vec<Box<RawValue>>,
    state: Vec<Box<RawValue>>,
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
pub async fn get(
    context: Context,
    user: User,
    Answering { request, .. }: Answering<Request, JsonResponse<Around>>,
) -> Result<JsonResponse<Around>, Error> {
    let Request { room_id, event_id, limit, filter } = request;
    let most = context.app.config.limits.events_per_page;
    let limit = usize::try_from(u64::from(limit)).unwrap_or(most).min(most);
    // With lazy loading, as clients ask for several at once, there is little state in it.
    let _turn = match filter.lazy_load_options.is_disabled() {
        true => Some(context.app.large.turn(Some(&user.user_id)).await),
        false => None,
    };
    let room = readable(&context, &room_id).await?;
    let found = viewer(&context, &user, &room).await?.context(&event_id, limit, &filter).await?;
    Ok(JsonResponse(Around {
        start: found.start,
        end: found.end,
        event: found.event,
        events_before: found.before,
        events_after: found.after,
        state: found.state,
    }))
}
