//! `POST /_matrix/client/v3/keys/query`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery>

use depesche_server::keys::QueryError;
use ruma::api::client::keys::get_keys::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/keys/query`
pub async fn post(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    Ok(context.app.server.keys.query(&caller.user_id, &request).await?)
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::TooMany => Self::too_large(error.to_string()),
            QueryError::Fault(fault) => fault.into(),
        }
    }
}
