//! What push rules ask of a room beside the event.
//!
//! [`Context`] is made once for a room and asked for each user whose rules are evaluated.

use std::sync::Arc;

use depesche_rules::{
    power_levels::PowerLevels,
    push::{RoomContext, asks_for_display_name},
};
use ruma::{UserId, events::room::member::MembershipState, push::Ruleset};
use serde::Deserialize;

use super::view::{Event, RoomView};
use crate::tx::Fault;

/// A room as push rules see it.
pub struct Context {
    room: RoomView,
    levels: Option<Arc<PowerLevels>>,
}

impl Context {
    /// The room as this view shows it. A rule that asks for the state of the room at an older event gets that of now:
    /// members come and go, and a notification is made when the event arrives.
    pub async fn of(room: &RoomView) -> Result<Self, Fault> {
        let levels = room.power_levels().await?.map(Arc::new);
        Ok(Self { room: room.clone(), levels })
    }

    /// What these rules of a user need. The display name is looked up only if some rule asks for it.
    pub async fn for_user(&self, user: &UserId, rules: &Ruleset) -> Result<RoomContext, Fault> {
        let display_name = if asks_for_display_name(rules) {
            self.display_name(user).await?.unwrap_or_default()
        } else {
            String::new()
        };
        Ok(RoomContext {
            room_id: self.room.room_id().to_owned(),
            member_count: self.room.head.joined.into(),
            user_id: user.to_owned(),
            display_name,
            power_levels: self.levels.clone(),
        })
    }

    /// A member's name in the room.
    pub async fn display_name(&self, user: &UserId) -> Result<Option<String>, Fault> {
        #[derive(Default, Deserialize)]
        struct Content {
            #[serde(default)]
            displayname: Option<String>,
        }
        let member = self.room.state_event(self.room.root(), "m.room.member", user.as_str()).await?;
        let member = member.map(|member| self.room.readable(member)).transpose()?;
        Ok(member.and_then(|member| member.content_as::<Content>().ok()?.displayname))
    }
}

/// Whether an event may notify a user: who was in the room when it came, and still is; or whom it invites.
pub async fn concerns(room: &RoomView, event: &Event, user: &UserId) -> Result<bool, Fault> {
    let Some(member) = room.membership(user).await? else { return Ok(false) };
    if member.state == MembershipState::Invite {
        return Ok(member.event == event.no);
    }
    if member.state != MembershipState::Join {
        return Ok(false);
    }
    if member.position <= event.meta.place.anchor.0 {
        return Ok(true);
    }
    // The membership changed since: perhaps only the name did.
    let root = room.root_before(event.no).await?;
    let before = room.state_event(root, "m.room.member", user.as_str()).await?;
    Ok(before.is_some_and(|before| before.pdu.membership() == Some(MembershipState::Join)))
}
