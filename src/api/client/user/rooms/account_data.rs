//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`: account data of a room.
//! <https://spec.matrix.org/v1.19/client-server-api/#client-config>

use depesche_server::account_data::AccountDataError;
use ruma::{
    api::client::config::{get_room_account_data, set_room_account_data},
    serde::Raw,
};

use super::{own, own_to_write};
use crate::{caller::User, error::Error, route::Context};

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
pub async fn put(
    context: Context,
    caller: User,
    request: set_room_account_data::v3::Request,
) -> Result<set_room_account_data::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let room = own_to_write(&context, &caller, &request.room_id).await?;
    let kind = request.event_type.to_string();
    context.app.server.account_data.set(&caller.user_id, room.no, &kind, request.data.json()).await?;
    Ok(set_room_account_data::v3::Response {})
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
pub async fn get(
    context: Context,
    caller: User,
    request: get_room_account_data::v3::Request,
) -> Result<get_room_account_data::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let room = own(&context, &caller, &request.room_id).await?.ok_or(AccountDataError::NotFound)?;
    let server = &context.app.server;
    let (view, kind) = (server.base.view(), request.event_type.to_string());
    let content = server.account_data.get(&view, &caller.user_id, room.no, &kind).await?;
    Ok(get_room_account_data::v3::Response { account_data: Raw::from_json(content) })
}
