//! `/_matrix/client/v3/rooms/{roomId}/...`: one file per endpoint; here what several of them need.

pub mod aliases;
pub mod ban;
pub mod context;
mod errors;
pub mod event;
pub mod forget;
pub mod hierarchy;
pub mod initial_sync;
pub mod invite;
pub mod join;
pub mod joined_members;
pub mod kick;
pub mod leave;
pub mod members;
pub mod messages;
pub mod read_markers;
pub mod receipt;
pub mod redact;
pub mod relations;
pub mod report;
pub mod send;
pub mod state;
pub mod threads;
pub mod timestamp_to_event;
pub mod typing;
pub mod unban;
pub mod upgrade;

use depesche_rules::{bounds::MAX_PAGE, json};
use depesche_server::rooms::{
    lane::{Refusal, Sent, Transaction},
    membership::{Action, Change, WithProfile},
    show::Viewer,
    view::RoomView,
};
use ruma::{CanonicalJsonObject, EventId, OwnedUserId, RoomId, TransactionId, UInt};
use serde_json::value::RawValue;

use crate::{caller::User, error::Error, route::Context};

/// What a client put into an event's content, as canonical JSON: no floats, no integers beyond 53 bits.
fn content(raw: &RawValue) -> Result<CanonicalJsonObject, Error> {
    json::raw_object(raw).map_err(|why| Error::bad_json(why.to_string()))
}

/// How many entries of a page: as asked for, within bounds; as many as `default` says if nothing was asked.
fn page_limit(asked: Option<UInt>, default: u32) -> usize {
    let asked = asked.map_or(default, |asked| u32::try_from(u64::from(asked)).unwrap_or(MAX_PAGE));
    asked.min(MAX_PAGE) as usize
}

/// The room of a path, for reading. A room that does not exist is answered like one the caller may not read.
async fn readable(context: &Context, room: &RoomId) -> Result<RoomView, Error> {
    let room = context.app.server.rooms.find(room).await?;
    room.ok_or_else(|| Error::forbidden("you are not in this room, and it is not open to everyone"))
}

/// The caller's look at a room.
async fn viewer<'a>(context: &Context, user: &User, room: &'a RoomView) -> Result<Viewer<'a>, Error> {
    let now = context.app.server.base.now();
    Ok(Viewer::new(room, user.user_id.clone(), Some(user.device_id.clone()), now).await?)
}

/// A client's transaction id on one kind of request in one room.
fn transaction(user: &User, room: &RoomId, kind: &str, id: &TransactionId) -> Transaction {
    Transaction {
        user: user.user_id.clone(),
        device: user.device_id.clone(),
        scope: format!("{kind} {room}"),
        id: id.to_string(),
    }
}

/// Changes a membership. The content has the profile of whom it is about, where the change is to join, invite or knock.
pub(super) async fn change(
    context: &Context,
    user: &User,
    target: OwnedUserId,
    room: &RoomId,
    action: Action,
    reason: Option<String>,
) -> Result<Sent, Error> {
    may(user, action)?;
    let server = &context.app.server;
    let reason = reason.map(|reason| ("reason".to_owned(), reason.into()));
    let change = Change { actor: user.user_id.clone(), target, action, content: reason.into_iter().collect() };
    let sent = match action {
        // Rooms that one would enter may have been named by others; the endpoints say 404 where there is none.
        Action::Join | Action::Knock => server.rooms.submit(room, WithProfile(change)).await?,
        Action::Invite => server.rooms.submit(room, WithProfile(change)).await.map_err(unknown_is_forbidden)?,
        _ => server.rooms.submit(room, change).await.map_err(unknown_is_forbidden)?,
    };
    if action == Action::Join {
        server.has_joined(&user.user_id, room).await;
    }
    Ok(sent)
}

/// Who is suspended may go, and change no other membership.
fn may(user: &User, action: Action) -> Result<(), Error> {
    if action == Action::Leave { Ok(()) } else { user.must_not_be_suspended() }
}

/// Who is suspended may redact their own events alone.
async fn may_redact(context: &Context, user: &User, room: &RoomId, target: Option<&EventId>) -> Result<(), Error> {
    if !user.suspended {
        return Ok(());
    }
    if let (Some(target), Some(room)) = (target, context.app.server.rooms.find(room).await?)
        && let Some(no) = room.event_no(target).await?
        && *room.event(no).await?.pdu.sender() == user.user_id
    {
        return Ok(());
    }
    user.must_not_be_suspended()
}

/// What asks for a room that does not exist is refused like what asks for a room the caller is not in: nobody learns
/// which rooms there are.
fn unknown_is_forbidden(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::UnknownRoom => Refusal::Forbidden("you are not joined to this room".into()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_so_many_entries_and_no_more() {
        let most = MAX_PAGE as usize;
        for (asked, limit) in [(MAX_PAGE - 1, most - 1), (MAX_PAGE, most), (MAX_PAGE + 1, most), (u32::MAX, most)] {
            assert_eq!(page_limit(Some(asked.into()), 20), limit, "{asked}");
        }
        assert_eq!((page_limit(Some(UInt::MAX), 20), page_limit(None, 20)), (most, 20));
    }
}
