//! `GET /_matrix/client/v3/events`, `/_matrix/client/v3/events/{eventId}`: the events of one's rooms, and a single one.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events>
//!
//! Deprecated, but for peeking: with `room_id` one listens to a room that everyone may read.
//! <https://spec.matrix.org/v1.19/client-server-api/#peeking_get_matrixclientv3events>

use std::time::Duration;

use depesche_server::{
    rooms::{show::Viewer, shown::Format},
    sync::events::{Heard, Listening},
};
use ruma::{
    EventId, OwnedRoomId,
    api::{
        IncomingRequest,
        auth_scheme::AccessToken,
        error::{DeserializationError, Error as EndpointError},
        metadata,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    caller::User,
    error::Error,
    route::{Context, JsonResponse},
};

/// How long to wait if the client does not say. Ours; the specification has no number.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// `GET /_matrix/client/v3/events`. Who is logged out or locked while it waits is told nothing more.
pub async fn get(context: Context, user: User, request: Listen) -> Result<JsonResponse<Answer>, Error> {
    let server = &context.app.server;
    let listening = Listening {
        user: user.user_id.clone(),
        device: user.device_id.clone(),
        from: request.from,
        room: request.room_id,
        timeout: request.timeout.map_or(DEFAULT_TIMEOUT, Duration::from_millis),
    };
    let heard = server.syncs.listen(&listening).await;
    if !listening.timeout.is_zero() {
        user.must_still_be_here(server).await?;
    }
    let Heard { start, end, chunk } = heard?;
    Ok(JsonResponse(Answer { start, end, chunk }))
}

/// `GET /_matrix/client/v3/events/{eventId}`. What the caller may not see does not exist for the caller.
pub async fn get_one(context: Context, user: User, request: One) -> Result<JsonResponse<Box<RawValue>>, Error> {
    let server = &context.app.server;
    let not_found = || Error::not_found("there is no such event");
    let id = EventId::parse(&request.event_id).map_err(|_| not_found())?;
    let room = server.rooms.of_event(&id).await?.ok_or_else(not_found)?;
    let now = server.base.now();
    let mut viewer = Viewer::new(&room, user.user_id.clone(), Some(user.device_id.clone()), now).await?;
    let event = viewer.event(&id).await?;
    Ok(JsonResponse(viewer.show_one(&event, Format::WithRoom).await?))
}

/// The request of [`get`]. ruma's cannot do without a room.
#[derive(Deserialize)]
pub struct Listen {
    from: Option<String>,
    room_id: Option<OwnedRoomId>,
    timeout: Option<u64>,
}

/// The answer of [`get`]. ruma's leaves out an empty list.
#[derive(Serialize)]
pub struct Answer {
    start: String,
    end: String,
    chunk: Vec<Box<RawValue>>,
}

metadata! {
    @for Listen,
    method: GET,
    rate_limited: false,
    authentication: AccessToken,
    history: {
        1.0 => "/_matrix/client/r0/events",
        1.1 => "/_matrix/client/v3/events",
    }
}

impl IncomingRequest for Listen {
    type EndpointError = EndpointError;
    type OutgoingResponse = JsonResponse<Answer>;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(serde_html_form::from_str(request.uri().query().unwrap_or_default())?)
    }
}

/// The request of [`get_one`], which ruma does not have.
pub struct One {
    event_id: String,
}

metadata! {
    @for One,
    method: GET,
    rate_limited: false,
    authentication: AccessToken,
    history: {
        1.0 => "/_matrix/client/r0/events/{event_id}",
        1.1 => "/_matrix/client/v3/events/{event_id}",
    }
}

impl IncomingRequest for One {
    type EndpointError = EndpointError;
    type OutgoingResponse = JsonResponse<Box<RawValue>>;

    fn try_from_http_request_inner(_: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        Ok(Self { event_id: path.first().copied().unwrap_or_default().to_owned() })
    }
}
