//! One user's rules on one event.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use ruma::{
    OwnedUserId,
    events::AnySyncTimelineEvent,
    push::{
        Action, AnyPushRuleRef, ConditionalPushRule, FlattenedJson, PushCondition, PushConditionRoomCtx, Ruleset,
        SoundTweakValue,
    },
};

use crate::{
    bounds::MAX_PUSH_PATTERN_BYTES,
    client_event::{RoomField, Unsigned, client_event},
    glob,
    pdu::Pdu,
};

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

/// What a user's rules do with an event.
#[derive(Clone, Debug, Default)]
pub struct Outcome<'a> {
    /// The user is notified: it counts as unread, and pushers tell of it.
    pub notify: bool,
    /// It counts as a highlight. Then `notify` is set.
    pub highlight: bool,
    /// The sound a client plays. Only with `notify`.
    pub sound: Option<&'a SoundTweakValue>,
    /// The actions of the rule that decided; none if no rule did.
    pub actions: &'a [Action],
}

/// What a user's rules do with an event. Nothing for the one who sent it.
///
/// Actions that are no longer part of the specification (`dont_notify`, `coalesce`) do nothing, as it asks.
pub fn outcome<'a>(ruleset: &'a Ruleset, event: &FlatEvent, context: &PushConditionRoomCtx) -> Outcome<'a> {
    let Some(rule) = evaluate(ruleset, event, context) else { return Outcome::default() };
    let actions = rule.actions();
    let notify = rule.triggers_notification();
    let sound = actions.iter().filter_map(Action::sound).next_back().filter(|_| notify);
    Outcome { notify, highlight: notify && rule.triggers_highlight(), sound, actions }
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
        PushCondition::ContainsDisplayName if context.user_display_name.len() > MAX_PUSH_PATTERN_BYTES => false,
        #[expect(deprecated, reason = "rules made by older clients still have it")]
        PushCondition::ContainsDisplayName => {
            event.fields.get_str("content.body").is_some_and(|body| glob::has_text(&context.user_display_name, body))
        }
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
