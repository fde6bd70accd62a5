//! `GET /_matrix/client/v1/media/config`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediaconfig>

use ruma::{UInt, api::client::authenticated_media::get_media_config::v1};

use crate::{caller::User, error::Error, route::Context};

/// How much may be uploaded.
pub async fn get(context: Context, _: User, _: v1::Request) -> Result<v1::Response, Error> {
    Ok(v1::Response::new(UInt::new_saturating(context.app.config.media.max_upload_bytes())))
}
