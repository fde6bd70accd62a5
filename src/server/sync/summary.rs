//! The summary of a room: how many are in it, and after whom to call it if it has no name.

use depesche_rules::bounds::MAX_HEROES;
use ruma::{
    OwnedUserId, UserId, api::client::sync::sync_events::v3::RoomSummary, events::room::member::MembershipState,
};
use serde::Deserialize;

use crate::{
    keyspace::{KEY, MEMBER},
    rooms::view::RoomView,
    tx::{Fault, Pages},
};

/// How many state keys are looked at at a time to find members.
const PAGE: usize = 16;
/// In how many steps at most: in a room whose first thousand members have all left, there are no heroes.
const PAGES: usize = 64;

/// The kinds of events that change a summary. A redaction may be one of the room's name.
pub fn depends_on(kind: &str) -> bool {
    matches!(kind, "m.room.member" | "m.room.name" | "m.room.canonical_alias" | "m.room.redaction")
}

/// The summary as of now, for one member.
pub async fn summary(room: &RoomView, user: &UserId) -> Result<RoomSummary, Fault> {
    let heroes = if is_named(room).await? { Vec::new() } else { heroes(room, user).await? };
    Ok(RoomSummary {
        heroes,
        joined_member_count: Some(room.head.joined.into()),
        invited_member_count: Some(room.head.invited.into()),
    })
}

async fn is_named(room: &RoomView) -> Result<bool, Fault> {
    #[derive(Deserialize)]
    struct Name {
        #[serde(alias = "alias")]
        name: String,
    }

    for kind in ["m.room.name", "m.room.canonical_alias"] {
        let event = room.state_event(room.root(), kind, "").await?;
        let event = event.map(|event| room.readable(event)).transpose()?;
        if event.and_then(|event| event.content_as::<Name>().ok()).is_some_and(|content| !content.name.is_empty()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first members other than the user, in the order in which the room first heard of them: those who are joined or
/// invited, or if there are none, those who were.
async fn heroes(room: &RoomView, user: &UserId) -> Result<Vec<OwnedUserId>, Fault> {
    let (mut present, mut past) = (Vec::new(), Vec::new());
    let mut pages = Pages::new(&KEY, KEY.under(&(room.no,)), PAGE);
    for _ in 0..PAGES {
        let Some(rows) = pages.next(&room.view).await? else { break };
        let users: Vec<OwnedUserId> = rows
            .into_iter()
            .filter(|(_, key)| key.kind == "m.room.member" && key.state_key != user.as_str())
            .filter_map(|(_, key)| key.state_key.try_into().ok())
            .collect();
        let keys: Vec<_> = users.iter().map(|user| (user.clone(), room.no)).collect();
        for (user, member) in users.into_iter().zip(room.view.get_many(&MEMBER, &keys).await?) {
            match member.map(|member| member.state) {
                Some(MembershipState::Join | MembershipState::Invite) => present.push(user),
                Some(MembershipState::Leave | MembershipState::Ban) => past.push(user),
                _ => {}
            }
        }
        if present.len() >= MAX_HEROES {
            break;
        }
    }
    let mut heroes = if present.is_empty() { past } else { present };
    heroes.truncate(MAX_HEROES);
    Ok(heroes)
}
