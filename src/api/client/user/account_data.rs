//! `/_matrix/client/v3/user/{userId}/account_data/{type}`: account data that belong to no room.
//! <https://spec.matrix.org/v1.19/client-server-api/#client-config>

use depesche_server::account_data::{AccountDataError, GLOBAL};
use http::StatusCode;
use ruma::{
    api::{
        client::config::{get_global_account_data, set_global_account_data},
        error::ErrorKind,
    },
    serde::Raw,
};

use crate::{caller::User, error::Error, route::Context};

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
pub async fn put(
    context: Context,
    caller: User,
    request: set_global_account_data::v3::Request,
) -> Result<set_global_account_data::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let kind = request.event_type.to_string();
    context.app.server.account_data.set(&caller.user_id, GLOBAL, &kind, request.data.json()).await?;
    Ok(set_global_account_data::v3::Response {})
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`
pub async fn get(
    context: Context,
    caller: User,
    request: get_global_account_data::v3::Request,
) -> Result<get_global_account_data::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let server = &context.app.server;
    let (view, kind) = (server.base.view(), request.event_type.to_string());
    let content = server.account_data.get(&view, &caller.user_id, GLOBAL, &kind).await?;
    Ok(get_global_account_data::v3::Response { account_data: Raw::from_json(content) })
}

impl From<AccountDataError> for Error {
    fn from(error: AccountDataError) -> Self {
        let message = error.to_string();
        match error {
            AccountDataError::NotFound => Self::not_found(message),
            AccountDataError::ServerControlled => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::BadJson, message)
            }
            AccountDataError::NotAnObject => Self::bad_request(ErrorKind::BadJson, message),
            AccountDataError::TooLarge => Self::too_large(message),
            AccountDataError::TooMany => Self::user_limit(message),
            AccountDataError::Fault(fault) => fault.into(),
        }
    }
}
