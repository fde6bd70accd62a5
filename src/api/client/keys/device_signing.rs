//! `POST /_matrix/client/v3/keys/device_signing/upload`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload>

use depesche_server::{accounts::Purpose, keys::CrossSigningError};
use http::StatusCode;
use ruma::api::{
    client::keys::upload_signing_keys::v3::{Request, Response},
    error::ErrorKind,
};

use crate::{caller::User, error::Error, route::Context, uia};

/// `POST /_matrix/client/v3/keys/device_signing/upload`. The first keys, and the same keys again, need no confirmation;
/// others do.
pub async fn upload(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    let keys = &context.app.server.keys;
    match keys.upload_cross_signing(&caller.user_id, &request, false).await {
        Err(CrossSigningError::AuthenticationNeeded) => {}
        done => return Ok(done.map(|()| Response {})?),
    }
    let asked = (&request.master_key, &request.self_signing_key, &request.user_signing_key);
    let auth = request.auth.as_ref();
    uia::confirm(&context.app, Purpose::UploadSigningKeys, Some(&caller), &asked, auth).await?;
    keys.upload_cross_signing(&caller.user_id, &request, true).await?;
    Ok(Response {})
}

impl From<CrossSigningError> for Error {
    fn from(error: CrossSigningError) -> Self {
        let message = error.to_string();
        match error {
            CrossSigningError::Malformed { .. } => Self::invalid_param(message),
            CrossSigningError::InvalidSignature { .. } => {
                Self::with_errcode(StatusCode::BAD_REQUEST, "M_INVALID_SIGNATURE", message)
            }
            CrossSigningError::NoMasterKey => Self::bad_request(ErrorKind::MissingParam, message),
            CrossSigningError::KeyIdInUse { .. } | CrossSigningError::AuthenticationNeeded => Self::forbidden(message),
            CrossSigningError::Fault(fault) => fault.into(),
        }
    }
}
