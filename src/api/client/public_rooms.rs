//! `GET` and `POST /_matrix/client/v3/publicRooms`: the published room directory.
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use depesche_server::directory::{Page, Query};
use ruma::{
    ServerName, UInt,
    api::client::directory::{get_public_rooms::v3 as all, get_public_rooms_filtered::v3 as filtered},
    directory::RoomNetwork,
};

use crate::{
    caller::{Anyone, User},
    error::Error,
    route::Context,
};

/// `GET /_matrix/client/v3/publicRooms`
pub async fn get(context: Context, _: Anyone, request: all::Request) -> Result<all::Response, Error> {
    let all::Request { limit, since, server } = request;
    must_be_ours(&context, server.as_deref())?;
    let query = Query { limit: number(limit), since, ..Query::default() };
    let Page { rooms, next, previous, total } = context.app.server.directory.page(&query).await?;
    let (next_batch, prev_batch) = (next, previous);
    let total_room_count_estimate = UInt::try_from(total).ok();
    Ok(all::Response { chunk: rooms, next_batch, prev_batch, total_room_count_estimate })
}

/// `POST /_matrix/client/v3/publicRooms`. There are no application services, so no network has rooms but Matrix itself.
pub async fn post(context: Context, _: User, request: filtered::Request) -> Result<filtered::Response, Error> {
    let filtered::Request { server, limit, since, filter, room_network } = request;
    must_be_ours(&context, server.as_deref())?;
    if matches!(room_network, RoomNetwork::ThirdParty(_)) {
        return Ok(filtered::Response::default());
    }
    let query = Query { limit: number(limit), since, term: filter.generic_search_term, types: filter.room_types };
    let Page { rooms, next, previous, total } = context.app.server.directory.page(&query).await?;
    let (next_batch, prev_batch) = (next, previous);
    let total_room_count_estimate = UInt::try_from(total).ok();
    Ok(filtered::Response { chunk: rooms, next_batch, prev_batch, total_room_count_estimate })
}

fn number(limit: Option<UInt>) -> Option<u32> {
    limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX))
}

fn must_be_ours(context: &Context, server: Option<&ServerName>) -> Result<(), Error> {
    if server.is_none_or(|server| server == context.app.server.base.name) {
        return Ok(());
    }
    Err(Error::forbidden("this server does not federate, so it shows no directory but its own"))
}
