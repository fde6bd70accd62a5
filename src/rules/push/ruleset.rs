//! A user's rule set: what is stored of it, brought up to the server's default rules.
//!
//! Spec: [predefined rules](https://spec.matrix.org/v1.19/client-server-api/#predefined-rules).

use ruma::{
    UserId,
    events::push_rules::PushRulesEventContent,
    push::{PushCondition, Ruleset},
};

/// The rules in effect for a user: those stored (the content of `m.push_rules`), with the server's default rules of today
/// in place of those of the day they were stored. What the user chose of a default rule (whether it is enabled, its
/// actions) stays. Without stored rules, or with some that cannot be read, these are the default rules.
pub fn effective(stored: Option<&str>, user: &UserId) -> Ruleset {
    let default = Ruleset::server_default(user);
    let Some(content) = stored.and_then(|stored| serde_json::from_str::<PushRulesEventContent>(stored).ok()) else {
        return default;
    };
    let mut rules = content.global;
    rules.update_with_server_default(default);
    rules
}

/// Whether some rule looks for the user's display name, so that it has to be known.
pub fn asks_for_display_name(rules: &Ruleset) -> bool {
    let mut conditions = rules.override_.iter().chain(&rules.underride).flat_map(|rule| &rule.conditions);
    #[expect(deprecated, reason = "rules made by older clients still have it")]
    conditions.any(|condition| matches!(condition, PushCondition::ContainsDisplayName))
}
