//! What users do not want from others: whom they ignore, and whether they take invites.
//!
//! Spec: [ignoring users](https://spec.matrix.org/v1.19/client-server-api/#ignoring-users),
//! [invite permission](https://spec.matrix.org/v1.19/client-server-api/#invite-permission).

use std::collections::BTreeSet;

use ruma::{OwnedUserId, UserId};
use serde_json::{Map, Value};

use super::GLOBAL;
use crate::{Fault, keyspace::ACCOUNT_DATA, tx::View};

/// The type of the list of users whom one ignores.
const IGNORED: &str = "m.ignored_user_list";
/// The type of one's wish to get no invites.
const INVITES: &str = "m.invite_permission_config";

/// Whom a user ignores. What a client wrote in another form names nobody.
pub async fn ignored(view: &View, user: &UserId) -> Result<BTreeSet<OwnedUserId>, Fault> {
    let Some(Value::Object(users)) = field(view, user, IGNORED, "ignored_users").await? else {
        return Ok(BTreeSet::new());
    };
    // Nobody ignores themselves: their own words would be missing from their rooms.
    let users = users.into_iter().filter_map(|(name, _)| OwnedUserId::try_from(name).ok());
    Ok(users.filter(|ignored| ignored != user).collect())
}

/// Whether a user takes no invites. A value that is not understood takes them.
pub async fn blocks_invites(view: &View, user: &UserId) -> Result<bool, Fault> {
    Ok(field(view, user, INVITES, "default_action").await?.is_some_and(|action| action == "block"))
}

async fn field(view: &View, user: &UserId, kind: &str, field: &str) -> Result<Option<Value>, Fault> {
    let row = view.get(&ACCOUNT_DATA, &(user.to_owned(), GLOBAL, kind.to_owned())).await?;
    let content = row.and_then(|row| serde_json::from_str::<Map<String, Value>>(&row.content).ok());
    Ok(content.and_then(|mut content| content.remove(field)))
}
