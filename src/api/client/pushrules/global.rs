//! `/_matrix/client/v3/pushrules/global/`: the push rules, which are all global.
//! <https://spec.matrix.org/v1.19/client-server-api/#push-rules-api>

use depesche_server::push_rules::{self, Beside, PushRuleError};
use ruma::{
    api::{
        IncomingRequest, Metadata,
        client::push::{
            delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled, get_pushrules_global_scope,
            set_pushrule, set_pushrule_actions, set_pushrule_enabled,
        },
        error::{DeserializationError, ErrorKind},
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

/// ruma's request, in which `conditions` may be missing: only `actions` are required.
pub struct Put(set_pushrule::v3::Request);

impl Metadata for Put {
    const METHOD: http::Method = set_pushrule::v3::Request::METHOD;
    const RATE_LIMITED: bool = set_pushrule::v3::Request::RATE_LIMITED;
    type Authentication = <set_pushrule::v3::Request as Metadata>::Authentication;
    type PathBuilder = <set_pushrule::v3::Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = set_pushrule::v3::Request::PATH_BUILDER;
}

impl IncomingRequest for Put {
    type EndpointError = <set_pushrule::v3::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = set_pushrule::v3::Response;

    fn try_from_http_request_inner(
        request: http::Request<&[u8]>,
        path_args: &[&str],
    ) -> Result<Self, DeserializationError> {
        let (head, body) = request.into_parts();
        let mut rule: Map<String, Value> = serde_json::from_slice(body)?;
        rule.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
        let body = serde_json::to_vec(&rule)?;
        let request = http::Request::from_parts(head, body.as_slice());
        set_pushrule::v3::Request::try_from_http_request_inner(request, path_args).map(Self)
    }
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub async fn put(context: Context, caller: User, Put(request): Put) -> Result<set_pushrule::v3::Response, Error> {
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
