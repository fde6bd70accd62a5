//! `/sync` on the memory engine, as a client sees it: JSON.

mod archived;
mod growth;
mod members;
mod model;
mod passing;
mod rooms;
mod user;
mod waiting;

use std::{sync::Arc, time::Duration};

use depesche_store::Engine;
use ruma::{
    OwnedUserId, UserId,
    api::{OutgoingResponseExt, client::filter::FilterDefinition},
    presence::PresenceState,
};
use serde_json::{Value, json};

use super::{Request, Restored, SyncError, Syncs};
use crate::{
    account_data::AccountData, devices::Devices, keys::Keys, presence::Presences, rooms::receipts::Receipts,
    testing::Fixture, to_device::ToDevice, typing::Typing,
};

/// A server with what `/sync` is joined from.
struct Server {
    rooms: Fixture,
    account_data: Arc<AccountData>,
    to_device: Arc<ToDevice>,
    typing: Arc<Typing>,
    presence: Arc<Presences>,
    receipts: Receipts,
    syncs: Arc<Syncs>,
}

impl Server {
    fn new() -> Self {
        Self::of(Fixture::new())
    }

    fn on(engine: Arc<dyn Engine>) -> Self {
        Self::of(Fixture::on(engine))
    }

    fn of(rooms: Fixture) -> Self {
        let base = || Arc::clone(&rooms.base);
        let account_data = Arc::new(AccountData::new(base()));
        let devices = Arc::new(Devices::new(base(), Vec::new()));
        let keys = Arc::new(Keys::new(base(), Arc::clone(&devices)));
        let to_device = Arc::new(ToDevice::new(base(), devices));
        let parts = (Arc::clone(&account_data), keys, Arc::clone(&to_device));
        let presence = Presences::new(base());
        let syncs = Syncs::new(base(), parts.0, parts.1, parts.2, Arc::clone(&presence), Restored::default());
        let (typing, receipts) = (Typing::new(base()), Receipts::new(base(), Arc::clone(&account_data)));
        Self { rooms, account_data, to_device, typing, presence, receipts, syncs }
    }

    fn client(&self, user: &UserId) -> Client {
        self.client_with(user, json!({}))
    }

    fn client_with(&self, user: &UserId, filter: Value) -> Client {
        Client { syncs: Arc::clone(&self.syncs), request: request(user, filter) }
    }
}

/// A client that goes on from the token it got.
#[derive(Clone)]
struct Client {
    syncs: Arc<Syncs>,
    request: Request,
}

impl Client {
    /// The next answer, at once.
    async fn sync(&mut self) -> Value {
        self.sync_for(Duration::ZERO).await
    }

    /// The next answer, waited for.
    async fn sync_for(&mut self, timeout: Duration) -> Value {
        self.request.timeout = timeout;
        let answer = self.ask().await.expect("an answer");
        self.request.since = Some(answer["next_batch"].as_str().expect("a token").to_owned());
        answer
    }

    /// An answer without going on.
    async fn ask(&self) -> Result<Value, SyncError> {
        let response = self.syncs.sync(&self.request).await?;
        let response = response.try_into_http_response::<Vec<u8>>().expect("a response can be written");
        Ok(serde_json::from_slice(response.body()).expect("JSON"))
    }
}

fn request(user: &UserId, filter: Value) -> Request {
    Request {
        user: user.to_owned(),
        device: "PHONE".into(),
        filter: serde_json::from_value::<FilterDefinition>(filter).expect("a filter"),
        since: None,
        full_state: false,
        timeout: Duration::ZERO,
        use_state_after: false,
        // Those who look at one thing are not disturbed by who is there.
        set_presence: PresenceState::Offline,
    }
}

/// The bodies of messages, or the types of other events with their state keys.
fn brief(events: &Value) -> Vec<String> {
    let Some(events) = events["events"].as_array() else { return Vec::new() };
    let name = |event: &Value| match (event["content"]["body"].as_str(), event["state_key"].as_str()) {
        (Some(body), _) => body.to_owned(),
        (None, Some(key)) if !key.is_empty() => {
            format!("{} {}", event["content"]["membership"].as_str().unwrap_or_default(), key)
        }
        _ => event["type"].as_str().unwrap_or_default().to_owned(),
    };
    events.iter().map(name).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn users() -> (OwnedUserId, OwnedUserId, OwnedUserId) {
    (crate::testing::user("alice"), crate::testing::user("bob"), crate::testing::user("carol"))
}
