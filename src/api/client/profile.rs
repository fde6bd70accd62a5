//! `/_matrix/client/v3/profile/{userId}`: what users say of themselves.
//! <https://spec.matrix.org/v1.19/client-server-api/#profiles>
//!
//! Everybody may look a profile up. Display name and avatar also stand in the membership events of the user's rooms: a
//! change of either goes there before it is answered, or, where that takes longer than a client waits, by itself. It is
//! told with the user's presence, too.

use depesche_server::profiles::{self, ProfileError};
use ruma::{
    OwnedUserId, UserId,
    api::{
        IncomingRequest,
        client::profile::{
            ProfileFieldValue, UserProfile, delete_profile_field, get_profile, get_profile_field, set_profile_field,
        },
        error::{DeserializationError, ErrorKind},
    },
};
use serde::{
    Deserialize,
    de::{Error as _, value::SeqDeserializer},
};
use serde_json::{Map, Value};

use crate::{
    caller::{Anyone, User},
    error::Error,
    route::{Context, described_as},
};

/// `GET /_matrix/client/v3/profile/{userId}`
pub async fn get(
    context: Context,
    _: Anyone,
    request: get_profile::v3::Request,
) -> Result<get_profile::v3::Response, Error> {
    let profile = context.app.server.profiles.get(&request.user_id).await?;
    let data: UserProfile = profile.0.into_iter().collect();
    Ok(get_profile::v3::Response { data })
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`
pub async fn get_field(
    context: Context,
    _: Anyone,
    request: get_profile_field::v3::Request,
) -> Result<get_profile_field::v3::Response, Error> {
    let field = request.field.as_str();
    let value = context.app.server.profiles.get_field(&request.user_id, field).await?;
    // A time zone that is no text could be stored once.
    let value = ProfileFieldValue::new(field, value).map_err(|_| ProfileError::NotFound)?;
    Ok(get_profile_field::v3::Response { value: Some(value) })
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`
pub async fn put(context: Context, caller: User, request: SetField) -> Result<set_profile_field::v3::Response, Error> {
    let SetField { user_id, field, value } = request;
    caller.must_be(&user_id)?;
    caller.must_not_be_suspended()?;
    context.app.server.profiles.set_field(&user_id, &field, value).await?;
    propagate(&context, &user_id, &field).await;
    Ok(set_profile_field::v3::Response {})
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
pub async fn delete(
    context: Context,
    caller: User,
    request: delete_profile_field::v3::Request,
) -> Result<delete_profile_field::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    caller.must_not_be_suspended()?;
    let field = request.field.as_str();
    context.app.server.profiles.remove_field(&caller.user_id, field).await?;
    propagate(&context, &caller.user_id, field).await;
    Ok(delete_profile_field::v3::Response {})
}

/// The request of [`put`]. ruma's own stops reading at a field that it does not look for, and takes no `null`.
pub struct SetField {
    user_id: OwnedUserId,
    field: String,
    value: Value,
}

described_as!(SetField: set_profile_field::v3::Request);

impl IncomingRequest for SetField {
    type EndpointError = <set_profile_field::v3::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = set_profile_field::v3::Response;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        let path = SeqDeserializer::<_, serde::de::value::Error>::new(path.iter().copied());
        let (user_id, field) = <(OwnedUserId, String)>::deserialize(path)?;
        let mut fields: Map<String, Value> = serde_json::from_slice(request.body())?;
        let missing = || serde_json::Error::custom(format_args!("missing field `{field}`"));
        let value = fields.remove(&field).ok_or_else(missing)?;
        Ok(Self { user_id, field, value })
    }
}

async fn propagate(context: &Context, user: &UserId, field: &str) {
    if profiles::is_spread(field) {
        context.app.server.propagate_profile(user).await;
        context.app.server.presence.moved(user);
    }
}

impl From<ProfileError> for Error {
    fn from(error: ProfileError) -> Self {
        let kind = match error {
            ProfileError::NotFound => return Self::not_found(error.to_string()),
            ProfileError::KeyTooLarge => ErrorKind::KeyTooLarge,
            ProfileError::InvalidKey => ErrorKind::InvalidParam,
            ProfileError::InvalidValue(_) => ErrorKind::BadJson,
            ProfileError::TooLarge => ErrorKind::ProfileTooLarge,
            ProfileError::Fault(fault) => return fault.into(),
        };
        Self::bad_request(kind, error.to_string())
    }
}
