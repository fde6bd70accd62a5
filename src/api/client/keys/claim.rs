//! `POST /_matrix/client/v3/keys/claim`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim>

use std::collections::BTreeMap;

use depesche_server::keys::ClaimError;
use ruma::{
    OwnedUserId,
    api::client::keys::claim_keys::v3::{OneTimeKeys, Request, Response},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// What was taken. ruma's response leaves out what is empty; there are clients that stumble over missing `failures`.
#[derive(Serialize)]
pub struct Claimed {
    failures: BTreeMap<String, Value>,
    one_time_keys: BTreeMap<OwnedUserId, OneTimeKeys>,
}

/// `POST /_matrix/client/v3/keys/claim`
pub async fn post(
    context: Context,
    _: User,
    Answering { request, .. }: Answering<Request, JsonResponse<Claimed>>,
) -> Result<JsonResponse<Claimed>, Error> {
    let Response { failures, one_time_keys, .. } = context.app.server.keys.claim(&request).await?;
    Ok(JsonResponse(Claimed { failures, one_time_keys }))
}

impl From<ClaimError> for Error {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::TooMany => Self::too_large(error.to_string()),
            ClaimError::Fault(fault) => fault.into(),
        }
    }
}
