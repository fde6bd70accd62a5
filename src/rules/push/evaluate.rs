//! One user's rules on one event.
//!
//! The rules and the event are others' to choose, so each user's own rules have a [`Budget`] for an event: where it ends,
//! their conditions do not hold. The server's default rules are few and short, and have what they need.

use std::{ops::RangeBounds, sync::Arc};

use ruma::{
    OwnedRoomId, OwnedUserId, UInt,
    push::{
        Action, AnyPushRuleRef, ConditionalPushRule, EventMatchConditionData, PushCondition, Ruleset, SoundTweakValue,
    },
};
use serde_json::Value;

use super::{
    event::{EventFields, is},
    pattern::{self, Budget, Extent, Text},
};
use crate::{bounds::MAX_PUSH_PATTERN_BYTES, power_levels::PowerLevels};

/// What conditions ask beside the event: a room, and the user in it whose rules these are.
#[derive(Clone, Debug)]
pub struct RoomContext {
    /// The room.
    pub room_id: OwnedRoomId,
    /// How many are joined.
    pub member_count: UInt,
    /// Whose rules these are.
    pub user_id: OwnedUserId,
    /// The user's name in the room; empty if there is none, or if [no rule asks](super::asks_for_display_name).
    pub display_name: String,
    /// Without power levels, nobody has the permission to notify.
    pub power_levels: Option<Arc<PowerLevels>>,
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
pub fn outcome<'a>(ruleset: &'a Ruleset, event: &EventFields, context: &RoomContext) -> Outcome<'a> {
    let Some(rule) = evaluate(ruleset, event, context) else { return Outcome::default() };
    let actions = rule.actions();
    let notify = rule.triggers_notification();
    let sound = actions.iter().filter_map(Action::sound).next_back().filter(|_| notify);
    Outcome { notify, highlight: notify && rule.triggers_highlight(), sound, actions }
}

/// The rule of a user that decides about an event, if any does: its actions say whether to notify, and how.
pub fn evaluate<'a>(ruleset: &'a Ruleset, event: &EventFields, context: &RoomContext) -> Option<AnyPushRuleRef<'a>> {
    if *event.sender() == context.user_id {
        return None;
    }
    let mut own = Budget::new();
    ruleset.iter().find(|rule| {
        let (mut default, is_default) = (Budget::new(), rule.is_server_default());
        rule.enabled() && applies(*rule, event, context, if is_default { &mut default } else { &mut own })
    })
}

fn applies(rule: AnyPushRuleRef<'_>, event: &EventFields, context: &RoomContext, budget: &mut Budget) -> bool {
    match rule {
        AnyPushRuleRef::Override(rule) | AnyPushRuleRef::Underride(rule) => all_hold(rule, event, context, budget),
        AnyPushRuleRef::Content(rule) => {
            event.body().is_some_and(|body| matches(&rule.pattern, body, Extent::Words, budget))
        }
        AnyPushRuleRef::Room(rule) => rule.rule_id == context.room_id,
        AnyPushRuleRef::Sender(rule) => rule.rule_id == *event.sender(),
    }
}

fn all_hold(rule: &ConditionalPushRule, event: &EventFields, context: &RoomContext, budget: &mut Budget) -> bool {
    rule.conditions.iter().all(|condition| holds(condition, event, context, budget))
}

fn holds(condition: &PushCondition, event: &EventFields, context: &RoomContext, budget: &mut Budget) -> bool {
    match condition {
        PushCondition::EventMatch(data) => event_match(data, event, budget),
        PushCondition::EventPropertyIs(data) => event.get(&data.key).is_some_and(|property| is(property, &data.value)),
        PushCondition::EventPropertyContains(data) => {
            let list = event.get(&data.key).and_then(Value::as_array).filter(|list| budget.take(list.len()));
            list.is_some_and(|list| list.iter().any(|property| is(property, &data.value)))
        }
        #[expect(deprecated, reason = "rules made by older clients still have it")]
        PushCondition::ContainsDisplayName => {
            let name = &context.display_name;
            let body = event.body().filter(|_| name.len() <= MAX_PUSH_PATTERN_BYTES);
            body.is_some_and(|body| pattern::has_words(name, body, budget))
        }
        PushCondition::RoomMemberCount(data) => data.is.contains(&context.member_count),
        PushCondition::SenderNotificationPermission(data) => {
            let levels = context.power_levels.as_ref();
            levels.is_some_and(|levels| levels.can_notify(event.sender(), data.key.as_str()))
        }
        // "Unrecognised conditions MUST NOT match any events."
        _ => false,
    }
}

fn event_match(data: &EventMatchConditionData, event: &EventFields, budget: &mut Budget) -> bool {
    if data.key == "content.body" {
        return event.body().is_some_and(|body| matches(&data.pattern, body, Extent::Words, budget));
    }
    let Some(value) = event.get(&data.key).and_then(Value::as_str) else { return false };
    // Made ready for this condition alone, which costs about what a search does.
    budget.take(value.len() / 8) && matches(&data.pattern, &Text::new(value), Extent::Whole, budget)
}

fn matches(pattern: &str, text: &Text, extent: Extent, budget: &mut Budget) -> bool {
    pattern.len() <= MAX_PUSH_PATTERN_BYTES && pattern::matches(pattern, text, extent, budget)
}
