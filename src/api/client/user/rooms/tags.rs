//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
//! <https://spec.matrix.org/v1.19/client-server-api/#room-tagging>

use depesche_server::account_data::TagError;
use ruma::{
    api::client::tag::{create_tag, delete_tag, get_tags},
    events::tag::{TagInfo, Tags},
};
use serde_json::{Map, Value};

use super::known;
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
pub async fn get(
    context: Context,
    caller: User,
    request: get_tags::v3::Request,
) -> Result<get_tags::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let room = known(&context, &request.room_id).await?;
    let server = &context.app.server;
    let tags = server.account_data.tags(&server.base.view(), &caller.user_id, room.no).await?;
    Ok(get_tags::v3::Response { tags: shown(tags) })
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
pub async fn put(
    context: Context,
    caller: User,
    request: create_tag::v3::Request,
) -> Result<create_tag::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let room = known(&context, &request.room_id).await?;
    context.app.server.account_data.set_tag(&caller.user_id, room.no, &request.tag, &request.tag_info).await?;
    Ok(create_tag::v3::Response {})
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
pub async fn delete(
    context: Context,
    caller: User,
    request: delete_tag::v3::Request,
) -> Result<delete_tag::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let room = known(&context, &request.room_id).await?;
    context.app.server.account_data.remove_tag(&caller.user_id, room.no, &request.tag).await?;
    Ok(delete_tag::v3::Response {})
}

/// The tags as a response has them. What a client wrote as account data and is no tag is left out.
fn shown(tags: Map<String, Value>) -> Tags {
    let tags = tags.into_iter().filter_map(|(name, info)| {
        let info: TagInfo = serde_json::from_value(info).ok()?;
        Some((name.into(), info))
    });
    tags.collect()
}

impl From<TagError> for Error {
    fn from(error: TagError) -> Self {
        match error {
            TagError::TooLong | TagError::InvalidOrder => Self::invalid_param(error.to_string()),
            TagError::TooMany => Self::user_limit(error.to_string()),
            TagError::AccountData(error) => error.into(),
            TagError::Fault(fault) => fault.into(),
        }
    }
}
