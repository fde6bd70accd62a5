//! `POST /_matrix/client/v3/keys/query`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>

use depesche_server::keys::QueryError;
use ruma::api::client::keys::get_keys::v3::{Request, Response};

use serde_json::json;

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// `POST /_matrix/client/v3/keys/query`. ruma's response leaves out what is empty; there are clients that stumble over
/// missing `failures` or `device_keys`.
pub async fn post(
    context: Context,
    caller: User,
    Answering { request, .. }: Answering<Request, JsonResponse>,
) -> Result<JsonResponse, Error> {
    let found = context.app.server.keys.query(&caller.user_id, &request).await?;
    let Response { failures, device_keys, master_keys, self_signing_keys, user_signing_keys, .. } = found;
    Ok(JsonResponse(json!({
        "failures": failures,
        "device_keys": device_keys,
        "master_keys": master_keys,
        "self_signing_keys": self_signing_keys,
        "user_signing_keys": user_signing_keys,
    })))
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::TooMany => Self::too_large(error.to_string()),
            QueryError::Fault(fault) => fault.into(),
        }
    }
}
