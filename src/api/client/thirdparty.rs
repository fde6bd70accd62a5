//! `/_matrix/client/v3/thirdparty/`: which other networks are bridged. None, as there are no application services yet.
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-networks>

use ruma::api::client::thirdparty::{
    get_location_for_protocol, get_location_for_room_alias, get_protocol, get_protocols, get_user_for_protocol,
    get_user_for_user_id,
};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/thirdparty/protocols`
pub async fn protocols(
    _: Context,
    _: User,
    _: get_protocols::v3::Request,
) -> Result<get_protocols::v3::Response, Error> {
    Ok(get_protocols::v3::Response::new(std::collections::BTreeMap::new()))
}

/// `GET /_matrix/client/v3/thirdparty/protocol/{protocol}`
pub async fn protocol(_: Context, _: User, _: get_protocol::v3::Request) -> Result<get_protocol::v3::Response, Error> {
    Err(not_bridged())
}

/// `GET /_matrix/client/v3/thirdparty/location/{protocol}`
pub async fn location(
    _: Context,
    _: User,
    _: get_location_for_protocol::v3::Request,
) -> Result<get_location_for_protocol::v3::Response, Error> {
    Err(not_bridged())
}

/// `GET /_matrix/client/v3/thirdparty/location`
pub async fn location_of_alias(
    _: Context,
    _: User,
    _: get_location_for_room_alias::v3::Request,
) -> Result<get_location_for_room_alias::v3::Response, Error> {
    Err(Error::not_found("The room is on no other network"))
}

/// `GET /_matrix/client/v3/thirdparty/user/{protocol}`
pub async fn user(
    _: Context,
    _: User,
    _: get_user_for_protocol::v3::Request,
) -> Result<get_user_for_protocol::v3::Response, Error> {
    Err(not_bridged())
}

/// `GET /_matrix/client/v3/thirdparty/user`
pub async fn user_of_id(
    _: Context,
    _: User,
    _: get_user_for_user_id::v3::Request,
) -> Result<get_user_for_user_id::v3::Response, Error> {
    Err(Error::not_found("The user is on no other network"))
}

fn not_bridged() -> Error {
    Error::not_found("This network is not bridged")
}
