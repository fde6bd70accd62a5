//! `GET /_matrix/media/v3/preview_url`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3preview_url>

#![expect(deprecated, reason = "older clients ask here")]

use ruma::api::client::media::get_media_preview::v3;

use crate::{caller::User, client::media::preview_url::preview, error::Error, route::Context};

/// What a link leads to.
pub async fn get(context: Context, caller: User, request: v3::Request) -> Result<v3::Response, Error> {
    Ok(v3::Response::from_raw_value(preview(&context, &caller, &request.url).await?))
}
