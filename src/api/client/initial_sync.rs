//! `GET /_matrix/client/v3/initialSync`: all of one's rooms, as clients got them before there was `/sync`.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync>

use depesche_rules::bounds::INITIAL_SYNC_EVENTS;
use depesche_server::{
    account_data::Entry,
    sync::initial::{Messages, Question, RoomInfo, Snapshot},
};
use ruma::{
    OwnedRoomId,
    api::{
        IncomingRequest,
        auth_scheme::AccessToken,
        client::room::Visibility,
        error::{DeserializationError, Error as EndpointError},
        metadata,
    },
    events::{presence::PresenceEvent, room::member::MembershipState},
    serde::Raw,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    caller::User,
    error::Error,
    route::{Context, JsonResponse},
};

/// `GET /_matrix/client/v3/initialSync`
pub async fn get(context: Context, user: User, request: Request) -> Result<JsonResponse<Answer>, Error> {
    let most = context.app.config.limits.events_per_page;
    let limit = request.limit.map_or(INITIAL_SYNC_EVENTS as usize, |limit| usize::try_from(limit).unwrap_or(most));
    let (user, device) = (user.user_id, user.device_id);
    let question = Question { user, device, limit: limit.min(most), archived: request.archived };
    let Snapshot { end, presence, rooms, account_data } = context.app.server.syncs.snapshot(&question).await?;
    let rooms = rooms.into_iter().map(shown).collect();
    Ok(JsonResponse(Answer { end, presence, rooms, account_data: events(&account_data) }))
}

fn shown(room: RoomInfo) -> OneRoom {
    OneRoom {
        room_id: room.room_id,
        membership: room.membership,
        invite: room.invite,
        messages: room.messages.map(|Messages { start, end, chunk }| Page { start, end, chunk }),
        state: room.state,
        visibility: if room.published { Visibility::Public } else { Visibility::Private },
        account_data: events(&room.account_data),
    }
}

fn events(entries: &[Entry]) -> Vec<Raw<Value>> {
    entries.iter().map(Entry::event).collect()
}

/// The request of [`get`], which ruma does not have.
#[derive(Deserialize)]
pub struct Request {
    limit: Option<u64>,
    #[serde(default)]
    archived: bool,
}

metadata! {
    method: GET,
    rate_limited: false,
    authentication: AccessToken,
    history: {
        1.0 => "/_matrix/client/r0/initialSync",
        1.1 => "/_matrix/client/v3/initialSync",
    }
}

impl IncomingRequest for Request {
    type EndpointError = EndpointError;
    type OutgoingResponse = JsonResponse<Answer>;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        Ok(serde_html_form::from_str(request.uri().query().unwrap_or_default())?)
    }
}

/// The answer of [`get`].
#[derive(Serialize)]
pub struct Answer {
    end: String,
    presence: Vec<Raw<PresenceEvent>>,
    rooms: Vec<OneRoom>,
    account_data: Vec<Raw<Value>>,
}

/// A room in it.
#[derive(Serialize)]
struct OneRoom {
    room_id: OwnedRoomId,
    membership: MembershipState,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Page>,
    state: Vec<Box<RawValue>>,
    visibility: Visibility,
    account_data: Vec<Raw<Value>>,
}

#[derive(Serialize)]
struct Page {
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<String>,
    end: String,
    chunk: Vec<Box<RawValue>>,
}
