//! `/_matrix/client/v3/pushrules/global/`: the push rules, which are all global.
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

use bytes::Bytes;
use depesche_server::push_rules::{self, Beside, PushRuleError};
use ruma::{
    api::{
        client::push::{
            delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled, get_pushrules_global_scope,
            set_pushrule, set_pushrule_actions, set_pushrule_enabled,
        },
        error::ErrorKind,
    },
    push::RuleKind,
};
use serde_json::{Map, Value};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/pushrules/global/`
pub async fn get_all(
    context: Context,
    caller: User,
    _: get_pushrules_global_scope::v3::Request,
) -> Result<get_pushrules_global_scope::v3::Response, Error> {
    let view = context.app.server.base.view();
    let global = push_rules::of(&view, &caller.user_id).await?.rules;
    Ok(get_pushrules_global_scope::v3::Response { global })
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub async fn get(
    context: Context,
    caller: User,
    request: get_pushrule::v3::Request,
) -> Result<get_pushrule::v3::Response, Error> {
    let kind = known(request.kind)?;
    let rule = context.app.server.push_rules.get(&caller.user_id, &kind, &request.rule_id).await?;
    Ok(get_pushrule::v3::Response { rule: rule.into() })
}

/// A rule as ruma's type wants it: `conditions` may be missing, and actions be written shorter.
pub fn rule_as_meant(body: Bytes) -> Bytes {
    let Ok(mut rule) = serde_json::from_slice::<Map<String, Value>>(&body) else { return body };
    rule.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    complete_actions(&mut rule);
    serde_json::to_vec(&rule).map_or(body, Bytes::from)
}

/// Actions as ruma's type wants them.
pub fn actions_as_meant(body: Bytes) -> Bytes {
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Value>>(&body) else { return body };
    complete_actions(&mut fields);
    serde_json::to_vec(&fields).map_or(body, Bytes::from)
}

/// A tweak may come without a value. Of a sound, that is the default one.
fn complete_actions(fields: &mut Map<String, Value>) {
    for action in fields.get_mut("actions").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Value::Object(action) = action
            && action.get("set_tweak").is_some_and(|tweak| tweak == "sound")
        {
            action.entry("value").or_insert_with(|| "default".into());
        }
    }
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub async fn put(
    context: Context,
    caller: User,
    request: set_pushrule::v3::Request,
) -> Result<set_pushrule::v3::Response, Error> {
    let beside = Beside { before: request.before.as_deref(), after: request.after.as_deref() };
    context.app.server.push_rules.put(&caller.user_id, &request.rule, beside).await?;
    Ok(set_pushrule::v3::Response {})
}

/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub async fn delete(
    context: Context,
    caller: User,
    request: delete_pushrule::v3::Request,
) -> Result<delete_pushrule::v3::Response, Error> {
    let kind = known(request.kind)?;
    context.app.server.push_rules.delete(&caller.user_id, &kind, &request.rule_id).await?;
    Ok(delete_pushrule::v3::Response {})
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
pub async fn get_enabled(
    context: Context,
    caller: User,
    request: get_pushrule_enabled::v3::Request,
) -> Result<get_pushrule_enabled::v3::Response, Error> {
    let kind = known(request.kind)?;
    let rule = context.app.server.push_rules.get(&caller.user_id, &kind, &request.rule_id).await?;
    Ok(get_pushrule_enabled::v3::Response { enabled: rule.enabled() })
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
pub async fn put_enabled(
    context: Context,
    caller: User,
    request: set_pushrule_enabled::v3::Request,
) -> Result<set_pushrule_enabled::v3::Response, Error> {
    let (kind, id) = (known(request.kind)?, &request.rule_id);
    context.app.server.push_rules.set_enabled(&caller.user_id, &kind, id, request.enabled).await?;
    Ok(set_pushrule_enabled::v3::Response {})
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
pub async fn get_actions(
    context: Context,
    caller: User,
    request: get_pushrule_actions::v3::Request,
) -> Result<get_pushrule_actions::v3::Response, Error> {
    let kind = known(request.kind)?;
    let rule = context.app.server.push_rules.get(&caller.user_id, &kind, &request.rule_id).await?;
    Ok(get_pushrule_actions::v3::Response { actions: rule.actions().to_vec() })
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
pub async fn put_actions(
    context: Context,
    caller: User,
    request: set_pushrule_actions::v3::Request,
) -> Result<set_pushrule_actions::v3::Response, Error> {
    let (kind, id) = (known(request.kind)?, &request.rule_id);
    context.app.server.push_rules.set_actions(&caller.user_id, &kind, id, &request.actions).await?;
    Ok(set_pushrule_actions::v3::Response {})
}

/// The kind, if the specification has it.
fn known(kind: RuleKind) -> Result<RuleKind, Error> {
    match kind {
        RuleKind::Override | RuleKind::Underride | RuleKind::Sender | RuleKind::Room | RuleKind::Content => Ok(kind),
        _ => Err(Error::invalid_param("There are no push rules of this kind")),
    }
}

impl From<PushRuleError> for Error {
    fn from(error: PushRuleError) -> Self {
        let message = error.to_string();
        match error {
            PushRuleError::NotFound => Self::not_found(message),
            PushRuleError::InvalidId | PushRuleError::Default | PushRuleError::ActionsTooLarge => {
                Self::invalid_param(message)
            }
            // As the specification's example has it.
            PushRuleError::BesideDefault | PushRuleError::BesideUnknown => {
                Self::bad_request(ErrorKind::Unknown, message)
            }
            PushRuleError::TooLarge => Self::too_large(message),
            PushRuleError::Fault(fault) => fault.into(),
        }
    }
}
