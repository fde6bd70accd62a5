//! `GET /_matrix/client/v1/media/download/{serverName}/{mediaId}[/{fileName}]`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediadownloadservernamemediaid>

use axum::response::Response;
use ruma::api::client::authenticated_media::{get_content, get_content_as_filename};

use super::show::{self, File};
use crate::{
    caller::User,
    error::Error,
    route::{Context, Raw},
};

/// A file under the name it was uploaded with.
pub async fn get(context: Context, _: User, request: get_content::v1::Request, raw: Raw) -> Result<Response, Error> {
    let get_content::v1::Request { server_name, media_id, timeout_ms, .. } = request;
    show::file(&context, File { server_name, media_id, wait: timeout_ms, filename: None }, &raw.headers).await
}

/// A file under another name.
pub async fn get_as(
    context: Context,
    _: User,
    request: get_content_as_filename::v1::Request,
    raw: Raw,
) -> Result<Response, Error> {
    let get_content_as_filename::v1::Request { server_name, media_id, timeout_ms, filename, .. } = request;
    show::file(&context, File { server_name, media_id, wait: timeout_ms, filename: Some(filename) }, &raw.headers).await
}
