//! `GET` and `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`, `GET .../state`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey>

use depesche_server::rooms::{
    lane::Sent,
    membership::{Action, AsState, Change},
    send::State,
    shown::Format,
};
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, RoomId, UserId,
    api::client::state::{
        get_state_event_for_key::v3::{self as one, StateEventFormat},
        get_state_events::v3 as all,
        send_state_event::v3 as set,
    },
    events::{StateEventType, room::member::MembershipState},
    serde::Raw,
};

use super::{content, may, readable, unknown_is_forbidden, viewer};
use crate::{caller::User, error::Error, rate_limit::Class, route::Context};

/// `GET /_matrix/client/v3/rooms/{roomId}/state`
pub async fn get_all(context: Context, user: User, request: all::Request) -> Result<all::Response, Error> {
    let room = readable(&context, &request.room_id).await?;
    let state = viewer(&context, &user, &room).await?.state().await?;
    Ok(all::Response { room_state: state.into_iter().map(Raw::from_json).collect() })
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
pub async fn get(context: Context, user: User, request: one::Request) -> Result<one::Response, Error> {
    let one::Request { room_id, event_type, state_key, format } = request;
    let room = readable(&context, &room_id).await?;
    let mut viewer = viewer(&context, &user, &room).await?;
    let event = viewer.state_event(&event_type.to_string(), &state_key).await?;
    let event_or_content = match format {
        StateEventFormat::Content => viewer.served(&event).await?.content().to_owned(),
        StateEventFormat::Event => viewer.show_one(&event, Format::WithRoom).await?,
        _ => return Err(Error::invalid_param("`format` is \"content\" or \"event\"")),
    };
    Ok(one::Response { event_or_content })
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`. `ts` is for application services alone.
pub async fn put(context: Context, user: User, request: set::Request) -> Result<set::Response, Error> {
    let set::Request { room_id, event_type, state_key, body, timestamp: _ } = request;
    let content = content(body.json())?;
    let sent = match event_type {
        StateEventType::RoomMember => set_member(&context, &user, &room_id, &state_key, content).await?,
        kind => {
            user.must_not_be_suspended()?;
            let rooms = &context.app.server.rooms;
            if kind == StateEventType::RoomCanonicalAlias {
                rooms.check_canonical_alias(&user.user_id, &room_id, &content).await?;
            }
            let state = State { sender: user.user_id.clone(), kind, state_key, content };
            rooms.submit(&room_id, state).await.map_err(unknown_is_forbidden)?
        }
    };
    Ok(set::Response { event_id: sent.event_id })
}

/// A membership set as plain state means what the endpoint of that membership would have done, and keeps all that the
/// client says with it.
async fn set_member(
    context: &Context,
    user: &User,
    room: &RoomId,
    target: &str,
    mut content: CanonicalJsonObject,
) -> Result<Sent, Error> {
    let target =
        OwnedUserId::try_from(target).map_err(|_| Error::bad_json("the state key of a membership is a user id"))?;
    let Some(CanonicalJsonValue::String(membership)) = content.remove("membership") else {
        return Err(Error::bad_json("a membership has a `membership`"));
    };
    let own = target == user.user_id;
    let action = match membership.as_str() {
        "join" if own => Action::Join,
        "join" => return Err(Error::forbidden("nobody joins a room for somebody else")),
        "invite" => Action::Invite,
        "knock" if own => Action::Knock,
        "knock" => return Err(Error::forbidden("nobody knocks for somebody else")),
        "ban" => Action::Ban,
        "leave" if own => Action::Leave,
        "leave" if is_banned(context, room, &target).await? => Action::Unban,
        "leave" => Action::Kick,
        _ => return Err(Error::bad_json("this is no membership")),
    };
    may(user, action)?;
    if action == Action::Invite {
        // As it does at its own endpoint.
        context.app.count(Class::Joins, Some(user), None)?;
    }
    let change = AsState(Change { actor: user.user_id.clone(), target, action, content });
    let sent = context.app.server.rooms.submit(room, change).await.map_err(unknown_is_forbidden)?;
    if action == Action::Join {
        context.app.server.has_joined(&user.user_id, room).await;
    }
    Ok(sent)
}

async fn is_banned(context: &Context, room: &RoomId, user: &UserId) -> Result<bool, Error> {
    let Some(room) = context.app.server.rooms.find(room).await? else { return Ok(false) };
    Ok(room.membership(user).await?.is_some_and(|member| member.state == MembershipState::Ban))
}
