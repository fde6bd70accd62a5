//! `POST /_matrix/client/v3/keys/claim`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim>

use depesche_server::keys::ClaimError;
use ruma::api::client::keys::claim_keys::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/keys/claim`
pub async fn post(context: Context, _: User, request: Request) -> Result<Response, Error> {
    Ok(context.app.server.keys.claim(&request).await?)
}

impl From<ClaimError> for Error {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::TooMany => Self::too_large(error.to_string()),
            ClaimError::Fault(fault) => fault.into(),
        }
    }
}
