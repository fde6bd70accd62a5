//! `POST /_matrix/client/v3/user/{userId}/openid/request_token`
//! <https://spec.matrix.org/v1.19/client-server-api/#openid>

use std::time::Duration;

use ruma::{
    api::client::account::request_openid_token::v3::{Request, Response},
    authentication::TokenType,
};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token`
pub async fn request_token(context: Context, user: User, request: Request) -> Result<Response, Error> {
    user.must_be(&request.user_id)?;
    let server = &context.app.server;
    let issued = server.accounts.issue_openid_token(&user.user_id).await?;
    Ok(Response {
        access_token: issued.token,
        token_type: TokenType::Bearer,
        matrix_server_name: server.base.name.clone(),
        expires_in: Duration::from_millis(issued.expires_in_ms),
    })
}
