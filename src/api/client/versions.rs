//! `GET /_matrix/client/versions`: what this server speaks.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions>

use std::collections::BTreeMap;

use ruma::api::client::discovery::get_supported_versions::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// The newest version of the specification, 1.x, that is announced; all from 1.1 on are.
const NEWEST_MINOR: u32 = 19;

/// `GET /_matrix/client/versions`: the same for everyone. No unstable feature is announced: none is served.
pub async fn get(_: Context, _: Option<User>, _: Request) -> Result<Response, Error> {
    let versions = (1..=NEWEST_MINOR).map(|minor| format!("v1.{minor}")).collect();
    Ok(Response { versions, unstable_features: BTreeMap::new() })
}
