//! `POST /_matrix/media/v3/upload`, `PUT /_matrix/media/v3/upload/{serverName}/{mediaId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav3upload>

use axum::response::{IntoResponse, Response};
use depesche_server::media::NewFile;
use http::{StatusCode, header};
use ruma::api::client::media::{create_content, create_content_async};
use serde_json::json;

use crate::{
    caller::User,
    error::Error,
    route::{Context, Raw},
};

/// A file whose address is told when it is there.
pub async fn post(
    context: Context,
    caller: User,
    request: create_content::v3::Request,
    mut raw: Raw,
) -> Result<Response, Error> {
    let create_content::v3::Request { filename, content_type, .. } = request;
    let new = NewFile { content_type, filename, size: raw.body.size() };
    let taken = match caller.must_not_be_suspended() {
        Ok(()) => {
            let media = &context.app.server.media;
            media.upload(&caller.user_id, &new, raw.body.pieces()).await.map_err(Error::from)
        }
        Err(error) => Err(error),
    };
    match taken {
        Ok(uri) => Ok(answer(&json!({ "content_uri": uri }))),
        Err(error) => Err(raw.body.refuse(error).await),
    }
}

/// The file of an address that was told before.
pub async fn put(
    context: Context,
    caller: User,
    request: create_content_async::v3::Request,
    mut raw: Raw,
) -> Result<Response, Error> {
    let create_content_async::v3::Request { server_name, media_id, filename, content_type, .. } = request;
    let new = NewFile { content_type, filename, size: raw.body.size() };
    let allowed = caller.must_not_be_suspended().and_then(|()| {
        let is_ours = server_name == context.app.config.server.name;
        if is_ours { Ok(()) } else { Err(Error::not_found("This address belongs to another server")) }
    });
    let taken = match allowed {
        Ok(()) => {
            let media = &context.app.server.media;
            let pieces = raw.body.pieces();
            media.upload_announced(&caller.user_id, &media_id, &new, pieces).await.map_err(Error::from)
        }
        Err(error) => Err(error),
    };
    match taken {
        Ok(()) => Ok(answer(&json!({}))),
        Err(error) => Err(raw.body.refuse(error).await),
    }
}

fn answer(json: &serde_json::Value) -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], json.to_string()).into_response()
}
