//! `POST /_matrix/client/v3/keys/claim`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim>

use depesche_server::keys::ClaimError;
use ruma::api::client::keys::claim_keys::v3::{Request, Response};

use serde_json::json;

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// `POST /_matrix/client/v3/keys/claim`. ruma's response leaves out what is empty; there are clients that stumble over
/// missing `failures`.
pub async fn post(
    context: Context,
    _: User,
    Answering { request, .. }: Answering<Request, JsonResponse>,
) -> Result<JsonResponse, Error> {
    let Response { failures, one_time_keys, .. } = context.app.server.keys.claim(&request).await?;
    Ok(JsonResponse(json!({ "failures": failures, "one_time_keys": one_time_keys })))
}

impl From<ClaimError> for Error {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::TooMany => Self::too_large(error.to_string()),
            ClaimError::Fault(fault) => fault.into(),
        }
    }
}
