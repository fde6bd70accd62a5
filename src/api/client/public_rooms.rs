//! `GET` and `POST /_matrix/client/v3/publicRooms`: the published room directory.
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use depesche_server::directory::{Page, Query};
use ruma::{
    ServerName, UInt,
    api::client::directory::{get_public_rooms::v3 as all, get_public_rooms_filtered::v3 as filtered},
    directory::RoomNetwork,
};
use serde::Serialize;
use serde_json::Value;

use super::room_summary::with_join_rule;
use crate::{
    caller::{Anyone, User},
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// A page of the directory.
#[derive(Default, Serialize)]
pub struct Rooms {
    chunk: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_room_count_estimate: Option<usize>,
}

/// `GET /_matrix/client/v3/publicRooms`
pub async fn get(
    context: Context,
    _: Anyone,
    Answering { request, .. }: Answering<all::Request, JsonResponse<Rooms>>,
) -> Result<JsonResponse<Rooms>, Error> {
    let all::Request { limit, since, server } = request;
    must_be_ours(&context, server.as_deref())?;
    page(&context, Query { limit: number(limit), since, ..Query::default() }).await
}

/// `POST /_matrix/client/v3/publicRooms`. There are no application services, so no network has rooms but Matrix itself.
pub async fn post(
    context: Context,
    _: User,
    Answering { request, .. }: Answering<filtered::Request, JsonResponse<Rooms>>,
) -> Result<JsonResponse<Rooms>, Error> {
    let filtered::Request { server, limit, since, filter, room_network } = request;
    must_be_ours(&context, server.as_deref())?;
    if matches!(room_network, RoomNetwork::ThirdParty(_)) {
        return Ok(JsonResponse(Rooms::default()));
    }
    let query = Query { limit: number(limit), since, term: filter.generic_search_term, types: filter.room_types };
    page(&context, query).await
}

async fn page(context: &Context, query: Query) -> Result<JsonResponse<Rooms>, Error> {
    let Page { rooms, next, previous, total } = context.app.server.directory.page(&query).await?;
    Ok(JsonResponse(Rooms {
        chunk: rooms.iter().map(with_join_rule).collect::<Result<_, _>>()?,
        next_batch: next,
        prev_batch: previous,
        total_room_count_estimate: Some(total),
    }))
}

/// The limit that a client sets. Zero sets none, as clients know it from Synapse.
fn number(limit: Option<UInt>) -> Option<u32> {
    limit.filter(|limit| *limit != UInt::MIN).map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
}

fn must_be_ours(context: &Context, server: Option<&ServerName>) -> Result<(), Error> {
    if server.is_none_or(|server| server == context.app.server.base.name) {
        return Ok(());
    }
    Err(Error::forbidden("this server does not federate, so it shows no directory but its own"))
}
