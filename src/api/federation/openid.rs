//! `GET /_matrix/federation/v1/openid/userinfo`: whose an OpenID token is.
//! <https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo>
//!
//! Who asks is a service that a user showed the token to, such as one for calls. It signs nothing, and the server need not
//! federate for it.

use ruma::api::{
    IncomingRequest,
    auth_scheme::NoAuthentication,
    error::{DeserializationError, Error as EndpointError},
    metadata,
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    caller::Anyone,
    error::Error,
    route::{Context, JsonResponse},
};

/// `GET /_matrix/federation/v1/openid/userinfo`
pub async fn userinfo(context: Context, _: Anyone, request: Request) -> Result<JsonResponse, Error> {
    let token = request.access_token.ok_or_else(Error::missing_token)?;
    match context.app.server.accounts.openid_user(&token).await? {
        Some(user) => Ok(JsonResponse(json!({ "sub": user }))),
        None => Err(Error::unknown_token(false)),
    }
}

/// The request of [`userinfo`]: ruma has it with the rest of federation, which is not there yet.
#[derive(Deserialize)]
pub struct Request {
    access_token: Option<String>,
}

metadata! {
    method: GET,
    rate_limited: false,
    authentication: NoAuthentication,
    path: "/_matrix/federation/v1/openid/userinfo",
}

impl IncomingRequest for Request {
    type EndpointError = EndpointError;
    type OutgoingResponse = JsonResponse;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(serde_html_form::from_str(request.uri().query().unwrap_or_default())?)
    }
}
