//! `POST /_matrix/client/v3/keys/query`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>

use std::collections::BTreeMap;

use depesche_server::keys::QueryError;
use ruma::{
    OwnedDeviceId, OwnedUserId,
    api::client::keys::get_keys::v3::{Request, Response},
    encryption::{CrossSigningKey, DeviceKeys},
    serde::Raw,
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// What is known of the keys. ruma's response leaves out what is empty; there are clients that stumble over missing
/// `failures` or `device_keys`. The keys are written as they are stored: as trees they would take many times as much.
#[derive(Serialize)]
pub struct Found {
    failures: BTreeMap<String, Value>,
    device_keys: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, Raw<DeviceKeys>>>,
    master_keys: BTreeMap<OwnedUserId, Raw<CrossSigningKey>>,
    self_signing_keys: BTreeMap<OwnedUserId, Raw<CrossSigningKey>>,
    user_signing_keys: BTreeMap<OwnedUserId, Raw<CrossSigningKey>>,
}

/// `POST /_matrix/client/v3/keys/query`
pub async fn post(
    context: Context,
    caller: User,
    Answering { request, .. }: Answering<Request, JsonResponse<Found>>,
) -> Result<JsonResponse<Found>, Error> {
    let found = context.app.server.keys.query(&caller.user_id, &request).await?;
    let Response { failures, device_keys, master_keys, self_signing_keys, user_signing_keys, .. } = found;
    Ok(JsonResponse(Found { failures, device_keys, master_keys, self_signing_keys, user_signing_keys }))
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::TooMany => Self::too_large(error.to_string()),
            QueryError::Fault(fault) => fault.into(),
        }
    }
}
