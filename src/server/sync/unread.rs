//! Counts of unread notifications, as differences of ordinals: nothing was written per member.
//!
//! Spec: [receiving notifications](https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications).

use depesche_store::Range;
use ruma::{UserId, api::client::sync::sync_events::UnreadNotificationsCount};

use crate::{
    keyspace::{NAMED, UNREAD},
    rooms::view::RoomView,
    tx::Fault,
};

/// Highlights are counted up to here.
const MAX_COUNTED: usize = 1000;

/// What a member has not read.
pub async fn counts(room: &RoomView, user: &UserId) -> Result<UnreadNotificationsCount, Fault> {
    let read = room.view.get(&UNREAD, &(user.to_owned(), room.no)).await?.unwrap_or_default().ordinal;
    let unread = room.head.ordinal.saturating_sub(read);
    let highlights = if unread == 0 { 0 } else { highlights(room, user, read).await? };
    Ok(UnreadNotificationsCount { highlight_count: Some(highlights.into()), notification_count: Some(unread.into()) })
}

async fn highlights(room: &RoomView, user: &UserId, read: u32) -> Result<u32, Fault> {
    let of_room = (user.to_owned(), room.no);
    let from = NAMED.key(&(of_room.0.clone(), of_room.1, read.saturating_add(1)));
    let rows = room.view.scan(&NAMED, Range::new(from, NAMED.under(&of_room).to), MAX_COUNTED).await?;
    let room_named = room.head.room_named;
    // Of the events that name the whole room only the newest is known.
    let by_room = room_named > read && !rows.iter().any(|((_, _, ordinal), ())| *ordinal == room_named);
    Ok(u32::try_from(rows.len()).unwrap_or(u32::MAX).saturating_add(by_room.into()))
}
