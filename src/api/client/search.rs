//! `POST /_matrix/client/v3/search`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search>

use std::collections::BTreeMap;

use depesche_rules::{
    bounds::{DEFAULT_SEARCH_RESULTS, MAX_MESSAGE_SEARCH_BYTES, MAX_SEARCH_CONTEXT, MAX_SEARCH_RESULTS},
    filter,
};
use depesche_server::search::{self, Found, Group, Part, Profile, SearchError};
use http::StatusCode;
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId,
    api::{
        IncomingRequest,
        client::{filter::RoomEventFilter, search::search_events::v3},
        error::{DeserializationError, ErrorKind},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    caller::User,
    error::Error,
    route::{Context, JsonResponse, described_as},
};

/// `POST /_matrix/client/v3/search`. The only category is that of events in rooms; who asks for none is answered none.
pub async fn post(context: Context, caller: User, request: Request) -> Result<JsonResponse<Response>, Error> {
    let Some(criteria) = request.room_events else { return Ok(Response::of(None)) };
    if criteria.search_term.len() > MAX_MESSAGE_SEARCH_BYTES {
        return Err(Error::invalid_param("`search_term` is too long"));
    }
    filter::check_events(&criteria.filter).map_err(|why| Error::bad_json(why.to_string()))?;
    let parts =
        criteria.keys.as_deref().map_or(Ok(Part::ALL.into()), |keys| keys.iter().map(|key| part(key)).collect());
    let grouping = criteria.groupings.group_by.iter().map(|group| Grouping::named(&group.key));
    let groupings = grouping.collect::<Result<Vec<_>, _>>()?;
    let limit = filter::limit(&criteria.filter, DEFAULT_SEARCH_RESULTS, MAX_SEARCH_RESULTS);
    let query = search::Query {
        user: &caller.user_id,
        device: &caller.device_id,
        term: &criteria.search_term,
        parts: parts?,
        filter: &criteria.filter,
        by_rank: match criteria.order_by.as_deref() {
            None | Some("rank") => true,
            Some("recent") => false,
            Some(_) => return Err(Error::invalid_param("`order_by` is \"rank\" or \"recent\"")),
        },
        limit: limit as usize,
        context: criteria.event_context.map(EventContext::wanted),
        state: criteria.include_state,
        from: request.next_batch.as_deref(),
    };
    // All state of each room in the results.
    let _turn = match criteria.include_state {
        true => Some(context.app.large.turn(Some(&caller.user_id)).await),
        false => None,
    };
    let found = context.app.server.searches.search(&query).await?;
    Ok(Response::of(Some(RoomEvents::of(found, &groupings, criteria.include_state))))
}

/// Where to search, by its name in a request.
fn part(key: &str) -> Result<Part, Error> {
    match key {
        "content.body" => Ok(Part::Body),
        "content.name" => Ok(Part::Name),
        "content.topic" => Ok(Part::Topic),
        _ => Err(Error::invalid_param("a key is \"content.body\", \"content.name\" or \"content.topic\"")),
    }
}

/// The request of [`post`]. ruma's own does not say whether context was asked for where it was without limits.
pub struct Request {
    next_batch: Option<String>,
    room_events: Option<Criteria>,
}

/// What is looked for.
#[derive(Deserialize)]
struct Criteria {
    search_term: String,
    keys: Option<Vec<String>>,
    #[serde(default)]
    filter: RoomEventFilter,
    order_by: Option<String>,
    event_context: Option<EventContext>,
    #[serde(default)]
    include_state: bool,
    #[serde(default)]
    groupings: Groupings,
}

/// What stands around a result.
#[derive(Deserialize)]
struct EventContext {
    #[serde(default = "five")]
    before_limit: u32,
    #[serde(default = "five")]
    after_limit: u32,
    #[serde(default)]
    include_profile: bool,
}

fn five() -> u32 {
    5
}

impl EventContext {
    fn wanted(self) -> search::Context {
        search::Context {
            before: self.before_limit.min(MAX_SEARCH_CONTEXT) as usize,
            after: self.after_limit.min(MAX_SEARCH_CONTEXT) as usize,
            profiles: self.include_profile,
        }
    }
}

#[derive(Default, Deserialize)]
struct Groupings {
    #[serde(default)]
    group_by: Vec<GroupKey>,
}

#[derive(Deserialize)]
struct GroupKey {
    key: String,
}

described_as!(Request: v3::Request);

impl IncomingRequest for Request {
    type EndpointError = <v3::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = JsonResponse<Response>;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, _: &[&str]) -> Result<Self, DeserializationError> {
        #[derive(Deserialize)]
        struct Asked {
            next_batch: Option<String>,
        }

        #[derive(Deserialize)]
        struct Body {
            search_categories: Categories,
        }

        #[derive(Deserialize)]
        struct Categories {
            room_events: Option<Criteria>,
        }

        let Asked { next_batch } = serde_html_form::from_str(request.uri().query().unwrap_or_default())?;
        let Body { search_categories } = serde_json::from_slice(request.body())?;
        Ok(Self { next_batch, room_events: search_categories.room_events })
    }
}

/// What results are put together by.
#[derive(Clone, Copy)]
enum Grouping {
    Room,
    Sender,
}

impl Grouping {
    fn named(key: &str) -> Result<Self, Error> {
        match key {
            "room_id" => Ok(Self::Room),
            "sender" => Ok(Self::Sender),
            _ => Err(Error::invalid_param("a group's key is \"room_id\" or \"sender\"")),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Room => "room_id",
            Self::Sender => "sender",
        }
    }

    /// The groups of what was found. Each goes on where the whole does.
    fn of(self, found: &Found) -> BTreeMap<String, ResultGroup> {
        let mut groups: BTreeMap<String, ResultGroup> = BTreeMap::new();
        for hit in &found.results {
            let (id, group) = match self {
                Self::Room => (hit.room.to_string(), Group::Room(hit.room.clone())),
                Self::Sender => (hit.sender.to_string(), Group::Sender(hit.sender.clone())),
            };
            let order = groups.len();
            let new = || ResultGroup {
                order,
                next_batch: found.next.as_ref().map(|next| next.within(group).to_string()),
                results: Vec::new(),
            };
            groups.entry(id).or_insert_with(new).results.push(hit.id.clone());
        }
        groups
    }
}

/// The answer. ruma's leaves out empty lists, which clients read without asking whether they are there.
#[derive(Serialize)]
pub struct Response {
    search_categories: ResultCategories,
}

#[derive(Serialize)]
struct ResultCategories {
    #[serde(skip_serializing_if = "Option::is_none")]
    room_events: Option<RoomEvents>,
}

#[derive(Serialize)]
struct RoomEvents {
    count: usize,
    highlights: Vec<String>,
    results: Vec<SearchResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<BTreeMap<OwnedRoomId, Vec<Box<RawValue>>>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    groups: BTreeMap<&'static str, BTreeMap<String, ResultGroup>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

#[derive(Serialize)]
struct ResultGroup {
    order: usize,
    results: Vec<OwnedEventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_batch: Option<String>,
}

#[derive(Serialize)]
struct SearchResult {
    rank: f64,
    result: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<ResultContext>,
}

#[derive(Serialize)]
struct ResultContext {
    start: String,
    end: String,
    events_before: Vec<Box<RawValue>>,
    events_after: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_info: Option<BTreeMap<OwnedUserId, Profile>>,
}

impl Response {
    fn of(room_events: Option<RoomEvents>) -> JsonResponse<Self> {
        JsonResponse(Self { search_categories: ResultCategories { room_events } })
    }
}

impl RoomEvents {
    fn of(found: Found, groupings: &[Grouping], with_state: bool) -> Self {
        let groups = groupings.iter().map(|grouping| (grouping.name(), grouping.of(&found))).collect();
        let results = found.results.into_iter().map(|hit| SearchResult {
            rank: hit.rank,
            result: hit.event,
            context: hit.context.map(|around| ResultContext {
                start: around.start,
                end: around.end,
                events_before: around.before,
                events_after: around.after,
                profile_info: around.profiles,
            }),
        });
        Self {
            count: found.count,
            highlights: found.words,
            results: results.collect(),
            state: with_state.then_some(found.state),
            groups,
            next_batch: found.next.map(|next| next.to_string()),
        }
    }
}

impl From<SearchError> for Error {
    fn from(error: SearchError) -> Self {
        let words = error.to_string();
        match error {
            // As of an endpoint that is not implemented.
            SearchError::Off => Self::new(StatusCode::NOT_FOUND, ErrorKind::Unrecognized, words),
            SearchError::BadToken(_) => Self::invalid_param(words),
            SearchError::Fault(fault) => fault.into(),
        }
    }
}
