//! `GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3thumbnailservernamemediaid>

#![expect(deprecated, reason = "an operator may serve older clients")]

use axum::response::Response;
use ruma::api::client::media::get_content_thumbnail::v3;

use super::must_be_open;
use crate::{
    caller::Anyone,
    client::media::show::{self, File, Size},
    error::Error,
    route::{Context, Raw},
};

/// A picture made smaller.
pub async fn get(context: Context, _: Anyone, request: v3::Request, raw: Raw) -> Result<Response, Error> {
    must_be_open(&context.app)?;
    let v3::Request { server_name, media_id, timeout_ms, method, width, height, animated, .. } = request;
    let file = File { server_name, media_id, wait: timeout_ms, filename: None };
    show::thumbnail(&context, None, file, Size { method, width, height, animated }, &raw.headers).await
}
