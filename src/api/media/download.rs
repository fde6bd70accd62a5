//! `GET /_matrix/media/v3/download/{serverName}/{mediaId}[/{fileName}]`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixmediav3downloadservernamemediaid>

#![expect(deprecated, reason = "an operator may serve older clients")]

use axum::response::Response;
use ruma::api::client::media::{get_content, get_content_as_filename};

use super::must_be_open;
use crate::{
    caller::Anyone,
    client::media::show::{self, File},
    error::Error,
    route::{Context, Raw},
};

/// A file under the name it was uploaded with.
pub async fn get(context: Context, _: Anyone, request: get_content::v3::Request, raw: Raw) -> Result<Response, Error> {
    must_be_open(&context.app)?;
    let get_content::v3::Request { server_name, media_id, timeout_ms, .. } = request;
    show::file(&context, File { server_name, media_id, wait: timeout_ms, filename: None }, &raw.headers).await
}

/// A file under another name.
pub async fn get_as(
    context: Context,
    _: Anyone,
    request: get_content_as_filename::v3::Request,
    raw: Raw,
) -> Result<Response, Error> {
    must_be_open(&context.app)?;
    let get_content_as_filename::v3::Request { server_name, media_id, timeout_ms, filename, .. } = request;
    show::file(&context, File { server_name, media_id, wait: timeout_ms, filename: Some(filename) }, &raw.headers).await
}
