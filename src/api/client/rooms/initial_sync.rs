//! `GET /_matrix/client/v3/rooms/{roomId}/initialSync`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync>

use depesche_rules::bounds::INITIAL_SYNC_EVENTS;
use depesche_server::{account_data::Entry, rooms::history::PageQuery};
use ruma::{
    api::client::{
        filter::RoomEventFilter,
        peeking::get_current_state::v3::{PaginationChunk, Request, Response},
        room::Visibility,
    },
    serde::Raw,
};

use super::{readable, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/rooms/{roomId}/initialSync`: for peeking; `/sync` has the same and more.
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let room = readable(&context, &request.room_id).await?;
    let mut viewer = viewer(&context, &user, &room).await?;
    let state = viewer.state().await?;
    let filter = RoomEventFilter::default();
    let limit = INITIAL_SYNC_EVENTS as usize;
    let page = viewer.page(&PageQuery { from: None, to: None, backwards: true, limit, filter: &filter }).await?;
    let mut messages =
        PaginationChunk::new(page.events.iter().rev().map(|event| Raw::from_json(event.json())).collect(), page.start);
    messages.start = page.end;
    let entries = context.app.server.account_data.of_room(&room.view, &user.user_id, room.no).await?;
    let own = viewer.own().filter(|own| !own.is_put_away());
    Ok(Response {
        account_data: entries.iter().map(Entry::event).collect(),
        membership: own.map(|own| own.state.clone()),
        messages: Some(messages),
        state: state.into_iter().map(Raw::from_json).collect(),
        visibility: Some(if room.is_published().await? { Visibility::Public } else { Visibility::Private }),
        room_id: request.room_id,
    })
}
