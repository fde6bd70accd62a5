//! Whom an event notifies.
//!
//! Two ways to ask. [`default_effect`] says what the *default* rules do with an event, for all members at once and
//! without their rule sets: it runs once for each event, in the batch that stores it, and feeds the unread ordinals.
//! [`outcome`] runs one user's own rules on an event that is parsed once for all of them.
//!
//! Spec: [push notifications](https://spec.matrix.org/v1.19/client-server-api/#push-notifications),
//! [predefined rules](https://spec.matrix.org/v1.19/client-server-api/#predefined-rules).

mod evaluate;
mod event;
mod pattern;
mod ruleset;

use std::collections::BTreeSet;

use ruma::{OwnedEventId, OwnedUserId, events::room::member::MembershipState};
use serde::Deserialize;
use serde_json::value::RawValue;

pub use self::{
    evaluate::{Outcome, RoomContext, evaluate, outcome},
    event::{EventFields, Named},
    ruleset::{asks_for_display_name, effective},
};
use crate::{pdu::Pdu, power_levels::PowerLevels};

/// What the default rules do with an event. Never the sender's concern: nobody is notified of what they sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Every member is notified.
    pub notify: bool,
    /// Every member is notified with a highlight: a permitted `@room`, or the room's tombstone. Then `notify` is set.
    pub highlight_room: bool,
    /// These users are notified with a highlight, even if `notify` is not set, members or not, without repetition: as
    /// many as the event has room for.
    pub highlight_users: Vec<OwnedUserId>,
    /// This user is notified of an invite.
    pub invited: Option<OwnedUserId>,
    /// The thread whose count it is; `None` for the main timeline.
    pub thread_root: Option<OwnedEventId>,
}

impl Effect {
    /// Whether anybody is notified.
    pub fn is_some(&self) -> bool {
        self.notify || !self.highlight_users.is_empty() || self.invited.is_some()
    }
}

/// What the default rules do with an event, with the power levels before it.
pub fn default_effect(event: &Pdu, levels: &PowerLevels) -> Effect {
    let content: Content<'_> = event.content_as().unwrap_or_default();
    let relation: Relation = read(content.relates_to).unwrap_or_default();
    let mut effect = Effect { thread_root: relation.thread_root(), ..Effect::default() };
    let kind = event.kind().to_string();
    let is = |expected: &str| kind.eq_ignore_ascii_case(expected);
    // In the order of the predefined rules; the first that matches decides.
    if read::<String>(content.msgtype).is_some_and(|kind| kind.eq_ignore_ascii_case("m.notice")) {
        return effect;
    }
    if is("m.room.member") {
        effect.invited = invited(event);
        return effect;
    }
    let mentions: Mentions<'_> = read(content.mentions).unwrap_or_default();
    effect.highlight_users = mentioned(&mentions, event);
    let names_room = read::<bool>(mentions.room) == Some(true) && levels.can_notify_room(event.sender());
    let on_room = event.state_key() == Some("");
    effect.highlight_room = names_room || (is("m.room.tombstone") && on_room);
    let silent = is("m.reaction") || (is("m.room.server_acl") && on_room) || relation.is("m.replace");
    let spoken = is("m.call.invite") || is("m.room.message") || is("m.room.encrypted");
    effect.notify = effect.highlight_room || (spoken && !silent);
    effect
}

#[derive(Default, Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    msgtype: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "m.mentions")]
    mentions: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "m.relates_to")]
    relates_to: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Mentions<'a> {
    #[serde(borrow, default)]
    user_ids: Option<&'a RawValue>,
    #[serde(borrow, default)]
    room: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Relation {
    #[serde(default)]
    rel_type: Option<serde_json::Value>,
    #[serde(default)]
    event_id: Option<serde_json::Value>,
}

impl Relation {
    fn is(&self, kind: &str) -> bool {
        self.rel_type.as_ref().and_then(|kind| kind.as_str()) == Some(kind)
    }

    fn thread_root(&self) -> Option<OwnedEventId> {
        self.event_id.as_ref().filter(|_| self.is("m.thread"))?.as_str()?.try_into().ok()
    }
}

fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

fn invited(event: &Pdu) -> Option<OwnedUserId> {
    let target = OwnedUserId::try_from(event.state_key()?).ok()?;
    (event.membership() == Some(MembershipState::Invite) && target != *event.sender()).then_some(target)
}

fn mentioned(mentions: &Mentions<'_>, event: &Pdu) -> Vec<OwnedUserId> {
    let named: Vec<serde_json::Value> = read(mentions.user_ids).unwrap_or_default();
    let mut seen = BTreeSet::from([event.sender().clone()]);
    let users = named.iter().filter_map(|user| OwnedUserId::try_from(user.as_str()?).ok());
    users.filter(|user| seen.insert(user.clone())).collect()
}

#[cfg(test)]
mod tests;
