//! `POST /_matrix/client/v3/refresh`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh>

use std::time::Duration;

use ruma::api::client::session::refresh_token::v3::{Request, Response};

use crate::{caller::Anyone, error::Error, route::Context};

/// `POST /_matrix/client/v3/refresh`
pub async fn post(context: Context, _: Anyone, request: Request) -> Result<Response, Error> {
    let tokens = context.app.server.accounts.refresh(&request.refresh_token).await?.tokens;
    Ok(Response {
        access_token: tokens.access,
        refresh_token: tokens.refresh,
        expires_in_ms: tokens.expires_in_ms.map(Duration::from_millis),
    })
}
