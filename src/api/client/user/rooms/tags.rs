//! `/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
//! <https://spec.matrix.org/v1.19/client-server-api/#room-tagging>

use depesche_server::account_data::TagError;
use ruma::{
    OwnedRoomId, OwnedUserId,
    api::{
        IncomingRequest,
        client::tag::{create_tag, delete_tag, get_tags},
        error::DeserializationError,
    },
    events::tag::TagInfo,
};
use serde::{Deserialize, de::value::SeqDeserializer};
use serde_json::{Map, Value, json};

use super::{own, own_to_write};
use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse, described_as},
};

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
pub async fn get(
    context: Context,
    caller: User,
    Answering { request, .. }: Answering<get_tags::v3::Request, JsonResponse>,
) -> Result<JsonResponse, Error> {
    caller.must_be(&request.user_id)?;
    let Some(room) = own(&context, &caller, &request.room_id).await? else {
        return Ok(JsonResponse(json!({ "tags": {} })));
    };
    let server = &context.app.server;
    let tags = server.account_data.tags(&server.base.view(), &caller.user_id, room.no).await?;
    Ok(JsonResponse(json!({ "tags": shown(tags) })))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
pub async fn put(context: Context, caller: User, request: SetTag) -> Result<create_tag::v3::Response, Error> {
    let SetTag { user_id, room_id, tag, info } = request;
    caller.must_be(&user_id)?;
    let room = own_to_write(&context, &caller, &room_id).await?;
    context.app.server.account_data.set_tag(&caller.user_id, room.no, &tag, &info).await?;
    Ok(create_tag::v3::Response {})
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
pub async fn delete(
    context: Context,
    caller: User,
    request: delete_tag::v3::Request,
) -> Result<delete_tag::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    if let Some(room) = own(&context, &caller, &request.room_id).await? {
        context.app.server.account_data.remove_tag(&caller.user_id, room.no, &request.tag).await?;
    }
    Ok(delete_tag::v3::Response {})
}

/// The request of [`put`]. ruma's own keeps only the order of what a client says of a tag. The order is a number, or one
/// in a string, as some clients write it; it stays as it was written.
pub struct SetTag {
    user_id: OwnedUserId,
    room_id: OwnedRoomId,
    tag: String,
    info: Map<String, Value>,
}

described_as!(SetTag: create_tag::v3::Request);

impl IncomingRequest for SetTag {
    type EndpointError = <create_tag::v3::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = create_tag::v3::Response;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        let path = SeqDeserializer::<_, serde::de::value::Error>::new(path.iter().copied());
        let (user_id, room_id, tag) = <(OwnedUserId, OwnedRoomId, String)>::deserialize(path)?;
        let mut info: Map<String, Value> = serde_json::from_slice(request.body())?;
        let TagInfo { order, .. } = TagInfo::deserialize(&info)?;
        if order.is_none() {
            // One that is `null` is none.
            info.remove("order");
        }
        Ok(Self { user_id, room_id, tag, info })
    }
}

/// The tags as a response has them. What a client wrote as account data and is no tag is left out.
fn shown(mut tags: Map<String, Value>) -> Map<String, Value> {
    tags.retain(|_, info| info.is_object() && TagInfo::deserialize(&*info).is_ok());
    tags
}

impl From<TagError> for Error {
    fn from(error: TagError) -> Self {
        match error {
            TagError::TooLong => Self::invalid_param(error.to_string()),
            TagError::TooMany => Self::user_limit(error.to_string()),
            TagError::AccountData(error) => error.into(),
            TagError::Fault(fault) => fault.into(),
        }
    }
}
