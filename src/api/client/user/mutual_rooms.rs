//! `GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms`: [`mutual_rooms`] before it was specified. Clients
//! still ask for it so, with `batch_token` for what became `from`, and `next_batch_token` for what became `next_batch`.

use ruma::{
    OwnedUserId,
    api::{
        IncomingRequest,
        client::membership::get_mutual_rooms::{unstable, v1},
        error::DeserializationError,
    },
};
use serde::Deserialize;
use serde_json::json;

use crate::{
    caller::User,
    client::mutual_rooms,
    error::Error,
    route::{Context, JsonResponse, described_as},
};

/// `GET /_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms`
pub async fn get(context: Context, user: User, Asked { user_id, from }: Asked) -> Result<JsonResponse, Error> {
    let mut request = v1::Request::new(user_id);
    request.from = from;
    let v1::Response { count, joined, next_batch } = mutual_rooms::get(context, user, request).await?;
    let mut answer = json!({ "joined": joined, "count": count });
    if let Some(token) = next_batch {
        answer["next_batch_token"] = token.clone().into();
        answer["next_batch"] = token.into();
    }
    Ok(JsonResponse(answer))
}

/// The query, with either name of the token.
#[derive(Deserialize)]
pub struct Asked {
    user_id: OwnedUserId,
    #[serde(alias = "batch_token")]
    from: Option<String>,
}

described_as!(Asked: unstable::Request);

impl IncomingRequest for Asked {
    type EndpointError = <unstable::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = JsonResponse;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(serde_html_form::from_str(request.uri().query().unwrap_or_default())?)
    }
}
