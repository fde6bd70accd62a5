//! `/_matrix/client/v3/thirdparty/`: which other networks are bridged. None, as there are no application services yet.
//! <https://spec.matrix.org/v1.19/client-server-api/#third-party-networks>

use ruma::api::client::thirdparty::{get_protocol, get_protocols};

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
    Err(Error::not_found("This network is not bridged"))
}
