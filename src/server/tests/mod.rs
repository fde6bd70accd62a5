//! The server as a whole on the memory engine: what it costs, what it writes, and what a crash leaves.

mod at_once;
mod big_room;
mod bounds;
mod crash;
mod damage;
mod directories;
mod growth;
mod hot_room;
mod people;
mod records;
mod replay;
mod restart;
mod script;
mod upgrades;
mod verify;

use std::{sync::Arc, time::Duration};

use depesche_config::Config;
use depesche_rules::signing::SigningKey;
use depesche_store::{Engine, Options, memory::Memory};
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId, api::client::sync::sync_events::v3, events::StateEventType,
    presence::PresenceState,
};
use serde_json::{Value, json, value::to_raw_value};

use crate::{
    Clock, Parts, Random, Server, StartError,
    account_data::GLOBAL,
    accounts::{Door, NewAccount},
    media::memory::{MemoryBlobs, NoThumbnails},
    rooms::{
        lane::Refusal,
        membership::{Action, Change},
        send::{Message, State},
        view::RoomView,
    },
    sync::Request,
    testing::{creation, object},
    verify::verify as verified,
    workflows::create::{Creation, Preset},
};

/// When the tests begin.
const START_MS: u64 = 1_700_000_000_000;
/// Logging in by token costs no password hash.
const CONFIG: &str = "[server]\nname = \"agency.test\"\n[accounts]\ntoken_login = true";

/// A server `agency.test` over an engine: paused clock, randomness seeded by where the engine stands, so that a restarted
/// server draws other numbers.
async fn start(engine: Arc<dyn Engine>) -> Arc<Server> {
    open(engine).await.expect("the server starts")
}

/// As [`start`], where the engine may fail.
async fn open(engine: Arc<dyn Engine>) -> Result<Arc<Server>, StartError> {
    open_with(engine, CONFIG).await
}

/// As [`open`], with a configuration of the test's choice.
async fn open_with(engine: Arc<dyn Engine>, config: &str) -> Result<Arc<Server>, StartError> {
    let (clock, _) = Clock::paused(START_MS);
    let config = Arc::new(Config::parse(config).expect("a valid configuration"));
    let key = SigningKey::from_seed([7; 32], "test").expect("a valid version");
    let random = Random::seeded(engine.snapshot().position().0);
    let (blobs, thumbnailer) = (Arc::new(MemoryBlobs::default()), Arc::new(NoThumbnails));
    Server::start(Parts { config, engine, key, clock, random, copied: None, blobs, thumbnailer, turn: None }).await
}

fn memory() -> Arc<dyn Engine> {
    Arc::new(Memory::new(Options::default()))
}

async fn account(server: &Server, name: &str) -> OwnedUserId {
    let new = NewAccount { localpart: Some(name.into()), ..NewAccount::default() };
    server.accounts.create(&Door::Operator, &new).await.unwrap()
}

async fn public_room(server: &Server, creator: &UserId, name: &str) -> OwnedRoomId {
    let name = Some(name.to_owned());
    let creation = Creation { preset: Preset::PublicChat, published: true, name, ..creation(creator) };
    server.rooms.create(creation).await.unwrap()
}

async fn change(
    server: &Server,
    room: &RoomId,
    actor: &UserId,
    target: &UserId,
    action: Action,
) -> Result<(), Refusal> {
    let (actor, target) = (actor.to_owned(), target.to_owned());
    let change = Change { actor, target, action, content: object(json!({})) };
    server.rooms.submit(room, change).await.map(|_| ())
}

async fn set(server: &Server, room: &RoomId, sender: &UserId, kind: StateEventType, key: &str, content: Value) {
    let state = State { sender: sender.to_owned(), kind, state_key: key.to_owned(), content: object(content) };
    server.rooms.submit(room, state).await.unwrap();
}

async fn say(server: &Server, room: &RoomId, sender: &UserId, body: &str) -> Result<(), Refusal> {
    let content = object(json!({ "msgtype": "m.text", "body": body }));
    let message = Message { sender: sender.to_owned(), kind: "m.room.message".into(), content, transaction: None };
    server.rooms.submit(room, message).await.map(|_| ())
}

async fn keep(server: &Server, user: &UserId, kind: &str, content: Value) {
    server.account_data.set(user, GLOBAL, kind, &to_raw_value(&content).unwrap()).await.unwrap();
}

/// What the check of the database finds.
async fn problems(server: &Server) -> Vec<String> {
    verified(&server.base.view(), |_| ()).await.unwrap().problems
}

async fn view(server: &Server, room: &RoomId) -> RoomView {
    server.rooms.find(room).await.unwrap().unwrap()
}

async fn state(server: &Server, room: &RoomId, kind: &str, key: &str) -> Option<Value> {
    let room = view(server, room).await;
    let event = room.state_event(room.root(), kind, key).await.unwrap()?;
    Some(event.pdu.content_as().unwrap())
}

/// The display name that a room has of a member.
async fn name_in(server: &Server, room: &RoomId, user: &UserId) -> Value {
    state(server, room, "m.room.member", user.as_str()).await.unwrap()["displayname"].clone()
}

async fn sync(server: &Server, user: &UserId, since: Option<String>) -> v3::Response {
    let request = Request {
        user: user.to_owned(),
        device: "PHONE".into(),
        filter: serde_json::from_value(json!({})).unwrap(),
        since,
        full_state: false,
        timeout: Duration::ZERO,
        use_state_after: false,
        set_presence: PresenceState::Offline,
    };
    server.syncs.sync(&request).await.unwrap()
}
