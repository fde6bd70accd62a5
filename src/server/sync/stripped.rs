//! Invites and knocks: what the user may know of a room that they are not in.
//!
//! The state is that of the moment of the invite or knock: what happens in the room later is not theirs to see.
//!
//! Spec: [stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state).

use std::collections::BTreeSet;

use depesche_rules::{bounds::MAX_STRIPPED_CONTENT_BYTES, client_event, visibility::STRIPPED_STATE};
use ruma::{
    OwnedUserId, UserId,
    events::{AnyStrippedStateEvent, StateEventType},
    serde::Raw,
};

use crate::{
    account_data::blocks_invites,
    records::rooms::Membership,
    rooms::view::{Event, RoomView},
    tx::Fault,
};

/// The stripped state of a room, with the user's own membership last, and before it that of who invited them.
pub async fn state(room: &RoomView, member: &Membership) -> Result<Vec<Raw<AnyStrippedStateEvent>>, Fault> {
    let own = room.event(member.event).await?;
    let root = room.root_before(own.no).await?;
    let mut events = Vec::with_capacity(STRIPPED_STATE.len() + 2);
    for kind in STRIPPED_STATE {
        let event = room.state_event(root, &kind.to_string(), "").await?;
        events.extend(event.filter(|event| !is_ornate(&kind, event)));
    }
    if own.pdu.state_key() != Some(own.pdu.sender().as_str()) {
        events.extend(room.state_event(root, "m.room.member", own.pdu.sender().as_str()).await?);
    }
    events.push(own);
    let strip = |event: Event| Ok(client_event::stripped(&room.readable(event)?));
    events.into_iter().map(strip).collect()
}

/// Whether an event only says how a room looks, and that at length.
fn is_ornate(kind: &StateEventType, event: &Event) -> bool {
    let looks = matches!(
        kind,
        StateEventType::RoomName
            | StateEventType::RoomAvatar
            | StateEventType::RoomTopic
            | StateEventType::RoomCanonicalAlias
    );
    looks && event.pdu.content().get().len() > MAX_STRIPPED_CONTENT_BYTES
}

/// Whether a user is not to see an invite: its sender is one whom they ignore, or they take none.
pub async fn is_hidden(
    room: &RoomView,
    user: &UserId,
    invite: &Event,
    ignored: &BTreeSet<OwnedUserId>,
) -> Result<bool, Fault> {
    Ok(ignored.contains(invite.pdu.sender()) || blocks_invites(&room.view, user).await?)
}
