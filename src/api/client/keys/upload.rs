//! `POST /_matrix/client/v3/keys/upload`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload>

use std::collections::BTreeMap;

use bytes::Bytes;
use depesche_server::keys::UploadError;
use ruma::api::client::keys::upload_keys::v3::{Request, Response};

use serde_json::value::RawValue;

use crate::{caller::User, error::Error, route::Context};

/// What fallback keys were called before the specification had them. There are clients that still say so.
const OLDER_FALLBACK_KEYS: &str = "org.matrix.msc2732.fallback_keys";

/// The body with fallback keys under the specification's name.
pub fn as_meant(body: Bytes) -> Bytes {
    // Bodies are large, and hardly one has it.
    if !std::str::from_utf8(&body).is_ok_and(|text| text.contains(OLDER_FALLBACK_KEYS)) {
        return body;
    }
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&body) else { return body };
    let Some(older) = fields.remove(OLDER_FALLBACK_KEYS) else { return body };
    fields.entry("fallback_keys".to_owned()).or_insert(older);
    serde_json::to_vec(&fields).map_or(body, Bytes::from)
}

/// `POST /_matrix/client/v3/keys/upload`
pub async fn post(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    Ok(context.app.server.keys.upload(&caller.user_id, &caller.device_id, &request).await?)
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        match error {
            // Clients look for these words: a device whose keys are others than it thinks has to begin anew.
            UploadError::OneTimeKeyExists { id } => Self::invalid_param(format!("One time key {id} already exists.")),
            UploadError::DeviceKeys(_) => Self::bad_json(error.to_string()),
            UploadError::Foreign(_) | UploadError::Malformed { .. } | UploadError::Fallbacks => {
                Self::invalid_param(error.to_string())
            }
            UploadError::TooMany => Self::too_large(error.to_string()),
            // The device was logged out while its request was under way.
            UploadError::UnknownDevice => Self::unknown_token(false),
            UploadError::Fault(fault) => fault.into(),
        }
    }
}
