//! Following `/sync`: the token kept between requests, and views of what an answer says about a room.

use serde_json::{Value, json};

use crate::{Answer, Client, Request};

/// How often [`Syncer::until`] asks before it gives up. Each request waits on the server, so that this is a time too.
const PATIENCE: usize = 20;

/// A device that follows `/sync`.
#[derive(Clone, Debug)]
pub struct Syncer {
    client: Client,
    /// Where the next request begins; none before the first.
    pub since: Option<String>,
    params: Vec<(String, String)>,
}

impl Syncer {
    /// Begins with an initial sync.
    pub fn new(client: Client) -> Self {
        Self { client, since: None, params: Vec::new() }
    }

    /// Adds an inline filter to every request.
    pub fn filter(self, filter: &Value) -> Self {
        self.param("filter", &filter.to_string())
    }

    /// Adds a query parameter to every request.
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.params.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The request from the current token, without waiting, not sent.
    pub fn request(&self, timeout_ms: u32) -> Request {
        let timeout = timeout_ms.to_string();
        let mut query = vec![("timeout", timeout.as_str())];
        query.extend(self.since.as_deref().map(|since| ("since", since)));
        query.extend(self.params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.client.get("/_matrix/client/v3/sync", &[]).query(&query)
    }

    /// Asks once, without waiting, and moves on.
    pub async fn next(&mut self) -> Value {
        self.step(0).await
    }

    /// Asks once, waiting up to `timeout_ms` for something new, and moves on.
    pub async fn step(&mut self, timeout_ms: u32) -> Value {
        let answer: Answer = self.request(timeout_ms).await;
        let body = answer.ok();
        self.since = Some(body["next_batch"].as_str().expect("next_batch").to_owned());
        body
    }

    /// Asks until an answer satisfies `wanted`, and gives that answer.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        for _ in 0..PATIENCE {
            let body = self.step(1000).await;
            if wanted(&body) {
                return body;
            }
            seen.push(body);
        }
        panic!("not seen in {PATIENCE} syncs: {}", json!(seen));
    }
}

/// What one answer says about one room; every part is empty if it says nothing.
#[derive(Clone, Copy, Debug)]
pub struct RoomSync<'a>(&'a Value);

static NOTHING: Value = Value::Null;

impl<'a> RoomSync<'a> {
    /// The room among those the user has joined.
    pub fn joined(sync: &'a Value, room: &str) -> Self {
        Self::of(sync, "join", room)
    }

    /// The room among those the user is invited to.
    pub fn invited(sync: &'a Value, room: &str) -> Self {
        Self::of(sync, "invite", room)
    }

    /// The room among those the user has left or been banned from.
    pub fn left(sync: &'a Value, room: &str) -> Self {
        Self::of(sync, "leave", room)
    }

    /// The room among those the user has knocked on.
    pub fn knocked(sync: &'a Value, room: &str) -> Self {
        Self::of(sync, "knock", room)
    }

    fn of(sync: &'a Value, section: &str, room: &str) -> Self {
        Self(sync["rooms"][section].get(room).unwrap_or(&NOTHING))
    }

    /// Whether the answer has the room in this section.
    pub fn is_there(self) -> bool {
        !self.0.is_null()
    }

    /// A field of the room's section.
    pub fn field(self, name: &str) -> &'a Value {
        self.0.get(name).unwrap_or(&NOTHING)
    }

    /// The events of a part such as `timeline`, `state`, `state_after`, `account_data`, `invite_state`.
    pub fn events(self, part: &str) -> &'a [Value] {
        self.field(part)["events"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The timeline's events.
    pub fn timeline(self) -> &'a [Value] {
        self.events("timeline")
    }

    /// The event ids of the timeline.
    pub fn timeline_ids(self) -> Vec<&'a str> {
        self.timeline().iter().filter_map(|event| event["event_id"].as_str()).collect()
    }

    /// The bodies of the messages of the timeline.
    pub fn bodies(self) -> Vec<&'a str> {
        bodies(self.timeline())
    }

    /// The event of this type and state key in a part.
    pub fn find(self, part: &str, kind: &str, key: &str) -> Option<&'a Value> {
        self.events(part).iter().find(|event| event["type"] == kind && event["state_key"] == key)
    }

    /// The state keys of the `m.room.member` events in a part, sorted.
    pub fn members(self, part: &str) -> Vec<&'a str> {
        let members = self.events(part).iter().filter(|event| event["type"] == "m.room.member");
        let mut keys: Vec<&str> = members.filter_map(|event| event["state_key"].as_str()).collect();
        keys.sort_unstable();
        keys
    }
}

/// The bodies of those events that have one.
pub fn bodies(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["content"]["body"].as_str()).collect()
}

/// The event of this type and state key.
pub fn find_state<'a>(events: &'a [Value], kind: &str, key: &str) -> Option<&'a Value> {
    events.iter().find(|event| event["type"] == kind && event["state_key"] == key)
}
