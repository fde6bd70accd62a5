//! Whom an event notifies.
//!
//! Two ways to ask. [`default_effect`] says what the *default* rules do with an event, for all members at once and
//! without their rule sets: it runs once for each event, in the batch that stores it, and feeds the unread ordinals.
//! [`evaluate`] runs one user's own rules on an event that is flattened once for all of them.
//!
//! Spec: [push notifications](https://spec.matrix.org/v1.19/client-server-api/#push-notifications),
//! [predefined rules](https://spec.matrix.org/v1.19/client-server-api/#predefined-rules).

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use ruma::{
    OwnedEventId, OwnedUserId,
    events::{AnySyncTimelineEvent, room::member::MembershipState},
    push::{AnyPushRuleRef, ConditionalPushRule, FlattenedJson, PushCondition, PushConditionRoomCtx, Ruleset},
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    bounds::{MAX_MENTIONED_USERS, MAX_PUSH_PATTERN_BYTES},
    client_event::{RoomField, Unsigned, client_event},
    glob,
    pdu::Pdu,
    power_levels::PowerLevels,
};

/// What the default rules do with an event. Never the sender's concern: nobody is notified of what they sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Every member is notified.
    pub notify: bool,
    /// Every member is notified with a highlight: a permitted `@room`, or the room's tombstone. Then `notify` is set.
    pub highlight_room: bool,
    /// These users are notified with a highlight, even if `notify` is not set, members or not, without repetition; at
    /// most [`MAX_MENTIONED_USERS`].
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
    let mut users = Vec::new();
    for user in named.iter().filter_map(|user| OwnedUserId::try_from(user.as_str()?).ok()) {
        if users.len() == MAX_MENTIONED_USERS {
            break;
        }
        if user != *event.sender() && !users.contains(&user) {
            users.push(user);
        }
    }
    users
}

/// An event made ready for many rule sets.
#[derive(Clone, Debug)]
pub struct FlatEvent {
    fields: FlattenedJson,
    sender: OwnedUserId,
}

impl FlatEvent {
    /// Flattens the event as a client would see it.
    pub fn new(event: &Pdu) -> Self {
        let raw = client_event::<AnySyncTimelineEvent>(event, RoomField::Present, &Unsigned::default());
        Self { fields: FlattenedJson::from_raw(&raw), sender: event.sender().clone() }
    }
}

/// The rule of a user that decides about an event, if any does: its actions say whether to notify, and how.
pub fn evaluate<'a>(
    ruleset: &'a Ruleset,
    event: &FlatEvent,
    context: &PushConditionRoomCtx,
) -> Option<AnyPushRuleRef<'a>> {
    if event.sender == context.user_id {
        return None;
    }
    ruleset.iter().find(|rule| applies(*rule, event, context))
}

/// Words in the body are matched here, not by ruma: its matcher recurses once for each near miss and compiles a regular
/// expression for each call, and both the body and the pattern are a user's to choose.
fn applies(rule: AnyPushRuleRef<'_>, event: &FlatEvent, context: &PushConditionRoomCtx) -> bool {
    match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => conditions_apply(rule, event, context),
        AnyPushRuleRef::Content(rule) => rule.enabled && body_has(event, &rule.pattern),
        AnyPushRuleRef::Room(rule) => rule.enabled && rule.rule_id == context.room_id,
        AnyPushRuleRef::Sender(rule) => rule.enabled && rule.rule_id == event.sender,
    }
}

fn conditions_apply(rule: &ConditionalPushRule, event: &FlatEvent, context: &PushConditionRoomCtx) -> bool {
    rule.enabled && rule.conditions.iter().all(|condition| condition_applies(condition, event, context))
}

fn condition_applies(condition: &PushCondition, event: &FlatEvent, context: &PushConditionRoomCtx) -> bool {
    match condition {
        PushCondition::EventMatch(data) if data.pattern.len() > MAX_PUSH_PATTERN_BYTES => false,
        PushCondition::EventMatch(data) if data.key == "content.body" => body_has(event, &data.pattern),
        #[expect(deprecated, reason = "rules made by older clients still have it")]
        PushCondition::ContainsDisplayName => body_has(event, &context.user_display_name),
        other => at_once(other.applies(&event.fields, context)),
    }
}

fn body_has(event: &FlatEvent, pattern: &str) -> bool {
    pattern.len() <= MAX_PUSH_PATTERN_BYTES
        && event.fields.get_str("content.body").is_some_and(|body| glob::has_words(pattern, body))
}

/// The answer of a future that never waits, as all of ruma's conditions do unless one looks up a thread subscription.
fn at_once(answer: impl Future<Output = bool>) -> bool {
    let polled = pin!(answer).poll(&mut Context::from_waker(Waker::noop()));
    polled == Poll::Ready(true)
}

#[cfg(test)]
mod tests;
