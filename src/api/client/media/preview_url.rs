//! `GET /_matrix/client/v1/media/preview_url`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url>

use ruma::api::client::authenticated_media::get_media_preview::v1;
use serde_json::value::{RawValue, to_raw_value};

use crate::{caller::User, error::Error, route::Context};

/// What a link leads to.
pub async fn get(context: Context, caller: User, request: v1::Request) -> Result<v1::Response, Error> {
    Ok(v1::Response::from_raw_value(preview(&context, &caller, &request.url).await?))
}

/// What is told of an address.
pub(crate) async fn preview(context: &Context, caller: &User, url: &str) -> Result<Box<RawValue>, Error> {
    let preview = context.app.server.previews.of(&caller.user_id, url).await?;
    to_raw_value(&*preview).map_err(Error::internal)
}
