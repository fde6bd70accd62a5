//! `GET /_matrix/client/v3/voip/turnServer`: what a client shows to the servers that carry its calls.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver>

use ruma::api::client::voip::get_turn_server_info::v3::Request;
use serde_json::json;

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// `GET /_matrix/client/v3/voip/turnServer`. Where there are no such servers, the answer is empty, for which ruma's has no
/// room: clients then try without.
pub async fn turn_server(
    context: Context,
    caller: User,
    _: Answering<Request, JsonResponse>,
) -> Result<JsonResponse, Error> {
    let Some(credentials) = context.app.server.turn.credentials(&caller.user_id) else {
        return Ok(JsonResponse(json!({})));
    };
    Ok(JsonResponse(json!({
        "username": credentials.username,
        "password": credentials.password,
        "uris": credentials.uris,
        "ttl": credentials.lifetime.as_secs(),
    })))
}
