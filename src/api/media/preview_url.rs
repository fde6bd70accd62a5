//! `GET /_matrix/media/v3/preview_url`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3preview_url>

#![expect(deprecated, reason = "an operator may serve older clients")]

use ruma::api::client::media::get_media_preview::v3;

use super::must_be_open;
use crate::{caller::User, client::media::preview_url::preview, error::Error, route::Context};

/// What a link leads to.
pub async fn get(context: Context, _: User, request: v3::Request) -> Result<v3::Response, Error> {
    must_be_open(&context.app)?;
    Ok(v3::Response::from_raw_value(preview(&context, &request.url).await?))
}
