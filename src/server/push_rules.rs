//! Push rules: what notifies a user, and how. They are account data of the type `m.push_rules` that only this module
//! writes.
//!
//! Spec: [push rules](https://spec.matrix.org/v1.19/client-server-api/#push-rules).

use depesche_rules::push;
use depesche_store::Position;
use ruma::{UserId, push::Ruleset};

use crate::{
    Fault,
    account_data::{GLOBAL, PUSH_RULES},
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

/// The rules in effect for a user.
pub async fn of(view: &View, user: &UserId) -> Result<PushRules, Fault> {
    let stored = view.get(&ACCOUNT_DATA, &(user.to_owned(), GLOBAL, PUSH_RULES.to_owned())).await?;
    let content = stored.as_ref().map(|record| record.content.as_str());
    let rules = push::effective(content, user);
    Ok(PushRules { rules, changed_at: stored.map(|record| record.position) })
}
