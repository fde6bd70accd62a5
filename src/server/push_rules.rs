//! Push rules: what notifies a user, and how. They are account data of the type `m.push_rules` that only this module
//! writes.
//!
//! Spec: [push rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use depesche_rules::{bounds::MAX_PUSH_ACTIONS_BYTES, push};
use depesche_store::Position;
use ruma::{
    UserId,
    events::push_rules::PushRulesEventContent,
    push::{
        Action, AnyPushRule, AnyPushRuleRef, InsertPushRuleError, NewPushRule, RemovePushRuleError, RuleKind, Ruleset,
    },
};
use serde_json::value::to_raw_value;

use crate::{
    Base, Fault,
    account_data::{AccountData, AccountDataError, GLOBAL, PUSH_RULES},
    keyspace::ACCOUNT_DATA,
    tx::View,
};

/// The rules in effect for a user.
#[derive(Clone, Debug)]
pub struct PushRules {
    /// The rules, with the server's default ones of today.
    pub rules: Ruleset,
    /// Where the user last changed them; `None` if these are the default rules.
    pub changed_at: Option<Position>,
}

/// Before or after which of the user's own rules a rule is put.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// It becomes the next more important one of this.
    pub before: Option<&'a str>,
    /// It becomes the next less important one of this, unless `before` is given too.
    pub after: Option<&'a str>,
}

/// Why a rule is not found or changed.
#[derive(Debug, thiserror::Error)]
pub enum PushRuleError {
    /// The user has no rule of this kind and id.
    #[error("there is no such push rule")]
    NotFound,
    /// The id begins with a dot or has a slash or backslash.
    #[error("the id of a push rule must not begin with a dot, nor have a slash or backslash")]
    InvalidId,
    /// A default rule is named as the place.
    #[error("a push rule cannot be put beside one of the server's")]
    BesideDefault,
    /// There is no rule to put it beside.
    #[error("there is no push rule of this kind to put it before or after")]
    BesideUnknown,
    /// A default rule is to be deleted.
    #[error("the server's push rules can be disabled, but not deleted")]
    Default,
    /// The actions are more than we keep for each event.
    #[error("the actions of a push rule may have at most {MAX_PUSH_ACTIONS_BYTES} bytes")]
    ActionsTooLarge,
    /// The rules together are more than we keep.
    #[error("there are too many push rules")]
    TooLarge,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The rules in effect for a user.
pub async fn of(view: &View, user: &UserId) -> Result<PushRules, Fault> {
    let stored = view.get(&ACCOUNT_DATA, &(user.to_owned(), GLOBAL, PUSH_RULES.to_owned())).await?;
    let content = stored.as_ref().map(|record| record.content.as_str());
    let rules = push::effective(content, user);
    Ok(PushRules { rules, changed_at: stored.map(|record| record.position) })
}

/// Changes push rules.
pub struct Editor {
    base: Arc<Base>,
    account_data: Arc<AccountData>,
}

impl Editor {
    /// Writes through account data.
    pub fn new(base: Arc<Base>, account_data: Arc<AccountData>) -> Self {
        Self { base, account_data }
    }

    /// A rule.
    pub async fn get(&self, user: &UserId, kind: &RuleKind, id: &str) -> Result<AnyPushRule, PushRuleError> {
        let rules = of(&self.base.view(), user).await?.rules;
        rules.get(kind.clone(), id).map(AnyPushRuleRef::to_owned).ok_or(PushRuleError::NotFound)
    }

    /// Adds a rule, or changes the one of its id.
    pub async fn put(&self, user: &UserId, rule: &NewPushRule, beside: Beside<'_>) -> Result<(), PushRuleError> {
        check(actions_of(rule))?;
        self.change(user, |rules| insert(rules, rule.clone(), beside)).await
    }

    /// Deletes a rule of the user's own.
    pub async fn delete(&self, user: &UserId, kind: &RuleKind, id: &str) -> Result<(), PushRuleError> {
        self.change(user, |rules| {
            rules.remove(kind.clone(), id).map_err(|why| match why {
                RemovePushRuleError::ServerDefault => PushRuleError::Default,
                _ => PushRuleError::NotFound,
            })
        })
        .await
    }

    /// Enables or disables a rule.
    pub async fn set_enabled(
        &self,
        user: &UserId,
        kind: &RuleKind,
        id: &str,
        enabled: bool,
    ) -> Result<(), PushRuleError> {
        self.change(user, |rules| rules.set_enabled(kind.clone(), id, enabled).map_err(|_| PushRuleError::NotFound))
            .await
    }

    /// Sets a rule's actions.
    pub async fn set_actions(
        &self,
        user: &UserId,
        kind: &RuleKind,
        id: &str,
        actions: &[Action],
    ) -> Result<(), PushRuleError> {
        check(actions)?;
        let set = |rules: &mut Ruleset| rules.set_actions(kind.clone(), id, actions.to_vec());
        self.change(user, |rules| set(rules).map_err(|_| PushRuleError::NotFound)).await
    }

    async fn change(
        &self,
        user: &UserId,
        change: impl Fn(&mut Ruleset) -> Result<(), PushRuleError>,
    ) -> Result<(), PushRuleError> {
        let (key, change) = (&(user.to_owned(), GLOBAL, PUSH_RULES.to_owned()), &change);
        let _turn = self.account_data.turn(user).await;
        self.base
            .transact(|tx| async move {
                let stored = tx.read(&ACCOUNT_DATA, key).await?.map(|record| record.content);
                let mut global = push::effective(stored.as_deref(), user);
                change(&mut global)?;
                let content = to_raw_value(&PushRulesEventContent { global })
                    .map_err(|why| Fault::Bug(format!("push rules are no JSON: {why}")))?;
                // Who says what is so already wakes nobody.
                if stored.as_deref() == Some(content.get()) {
                    return Ok(());
                }
                Ok(self.account_data.put(&tx, user, GLOBAL, PUSH_RULES, &content).await?)
            })
            .await
    }
}

fn actions_of(rule: &NewPushRule) -> &[Action] {
    match rule {
        NewPushRule::Override(rule) | NewPushRule::Underride(rule) => &rule.actions,
        NewPushRule::Content(rule) => &rule.actions,
        NewPushRule::Room(rule) => &rule.actions,
        NewPushRule::Sender(rule) => &rule.actions,
    }
}

/// Refuses actions that are too much to be stored for each event that the rule notifies of.
fn check(actions: &[Action]) -> Result<(), PushRuleError> {
    let written = serde_json::to_vec(actions).map_err(|why| Fault::Bug(format!("actions are no JSON: {why}")))?;
    if written.len() > MAX_PUSH_ACTIONS_BYTES { Err(PushRuleError::ActionsTooLarge) } else { Ok(()) }
}

/// Puts a rule in its place. A known rule that moves is taken out first: ruma computes a place in the list with the rule
/// still in it, which is off by one (and beyond the end after the last) once the rule moves down.
fn insert(rules: &mut Ruleset, rule: NewPushRule, beside: Beside<'_>) -> Result<(), PushRuleError> {
    let (kind, id) = (rule.kind(), rule.rule_id().to_owned());
    for named in [beside.before, beside.after].into_iter().flatten() {
        if named.starts_with('.') {
            return Err(PushRuleError::BesideDefault);
        }
        if named == id || rules.get(kind.clone(), named).is_none() {
            return Err(PushRuleError::BesideUnknown);
        }
    }
    let moves = beside.before.is_some() || beside.after.is_some();
    let known = rules.get(kind.clone(), &id).map(AnyPushRuleRef::enabled);
    if moves && known.is_some() && !id.starts_with('.') {
        rules.remove(kind.clone(), &id).map_err(|_| PushRuleError::InvalidId)?;
    }
    // What is given with `before` says all: the next more important one has one place.
    let after = beside.after.filter(|_| beside.before.is_none());
    rules.insert(rule, after, beside.before).map_err(|why| match why {
        InsertPushRuleError::UnknownRuleId => PushRuleError::BesideUnknown,
        InsertPushRuleError::RelativeToServerDefaultRule => PushRuleError::BesideDefault,
        _ => PushRuleError::InvalidId,
    })?;
    match known {
        Some(enabled) => rules.set_enabled(kind, id, enabled).map_err(|_| PushRuleError::NotFound),
        None => Ok(()),
    }
}

impl From<AccountDataError> for PushRuleError {
    fn from(error: AccountDataError) -> Self {
        match error {
            AccountDataError::Fault(fault) => Self::Fault(fault),
            _ => Self::TooLarge,
        }
    }
}
