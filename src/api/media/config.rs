//! `GET /_matrix/media/v3/config`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3config>

#![expect(deprecated, reason = "older clients ask here")]

use ruma::{UInt, api::client::media::get_media_config::v3};

use crate::{caller::User, error::Error, route::Context};

/// How much may be uploaded.
pub async fn get(context: Context, _: User, _: v3::Request) -> Result<v3::Response, Error> {
    Ok(v3::Response::new(UInt::new_saturating(context.app.config.media.max_upload_bytes())))
}
