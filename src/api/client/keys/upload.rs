//! `POST /_matrix/client/v3/keys/upload`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload>

use depesche_server::keys::UploadError;
use ruma::api::client::keys::upload_keys::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/keys/upload`
pub async fn post(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    Ok(context.app.server.keys.upload(&caller.user_id, &caller.device_id, &request).await?)
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        match error {
            // Clients look for these words: a device whose keys are others than it thinks has to begin anew.
            UploadError::OneTimeKeyExists { id } => Self::invalid_param(format!("One time key {id} already exists.")),
            UploadError::DeviceKeys(_) | UploadError::Malformed { .. } | UploadError::Fallbacks => {
                Self::invalid_param(error.to_string())
            }
            UploadError::TooMany => Self::too_large(error.to_string()),
            // The device was logged out while its request was under way.
            UploadError::UnknownDevice => Self::unknown_token(false),
            UploadError::Fault(fault) => fault.into(),
        }
    }
}
