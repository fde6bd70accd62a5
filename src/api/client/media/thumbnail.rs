//! `GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediathumbnailservernamemediaid>

use axum::response::Response;
use ruma::api::client::authenticated_media::get_content_thumbnail::v1;

use super::show::{self, File, Size};
use crate::{
    caller::User,
    error::Error,
    route::{Context, Raw},
};

/// A picture made smaller.
pub async fn get(context: Context, caller: User, request: v1::Request, raw: Raw) -> Result<Response, Error> {
    let v1::Request { server_name, media_id, timeout_ms, method, width, height, animated, .. } = request;
    let file = File { server_name, media_id, wait: timeout_ms, filename: None };
    let size = Size { method, width, height, animated };
    show::thumbnail(&context, Some(&caller), file, size, &raw.headers).await
}
