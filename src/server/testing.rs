//! A server on the memory engine, for the tests of this crate: paused clock, seeded randomness.

use std::sync::{Arc, atomic::AtomicU64};

use depesche_config::Config;
use depesche_rules::signing::SigningKey;
use depesche_store::{Engine, Options, memory::Memory};
use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId, events::StateEventType,
    server_name,
};
use serde_json::{Value, json, value::to_raw_value};
use tokio::sync::watch;

use crate::{
    account_data::{AccountData, GLOBAL, IGNORED_USER_LIST},
    base::Base,
    clock::{Clock, Random},
    rooms::{
        Rooms,
        lane::Refusal,
        membership::{Action, Change},
        send::{Message, Redaction, State},
    },
    workflows::create::{Creation, Preset},
};

/// What the tests of rooms need.
pub struct Fixture {
    /// The server.
    pub base: Arc<Base>,
    /// Its rooms.
    pub rooms: Arc<Rooms>,
    /// Moves the clock.
    pub hand: Arc<AtomicU64>,
    /// Dropped or set: the server stops.
    pub stop: watch::Sender<bool>,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// An empty server `agency.test` on the engine of the tests.
    pub fn new() -> Self {
        Self::on(engine(Options::default()))
    }

    /// An empty server on an engine of the test's choice.
    pub fn on(engine: Arc<dyn Engine>) -> Self {
        Self::configured(engine, Config::named(server_name!("agency.test")))
    }

    /// An empty server that keeps no events in memory: whatever a request needs is read, and can be counted.
    pub fn forgetful(engine: Arc<dyn Engine>) -> Self {
        let config = "[server]\nname = \"agency.test\"\n[store]\nevent_cache_mb = 0";
        Self::configured(engine, Config::parse(config).expect("a valid configuration"))
    }

    /// An empty server on an engine and with a configuration of the test's choice.
    pub fn configured(engine: Arc<dyn Engine>, config: Config) -> Self {
        let (clock, hand) = Clock::paused(1_700_000_000_000);
        let (stop, stopping) = watch::channel(false);
        let base = Arc::new(Base::new(engine, clock, Random::seeded(1), Arc::new(config), stopping));
        let key = SigningKey::from_seed([7; 32], "test").expect("a valid version");
        let rooms = Rooms::new(Arc::clone(&base), Arc::new(key));
        Self { base, rooms, hand, stop }
    }

    /// A private room of `creator`.
    pub async fn room(&self, creator: &UserId) -> OwnedRoomId {
        self.rooms.create(creation(creator)).await.expect("a plain room can be created")
    }

    /// A public room of `creator`.
    pub async fn public_room(&self, creator: &UserId) -> OwnedRoomId {
        let creation = Creation { preset: Preset::PublicChat, ..creation(creator) };
        self.rooms.create(creation).await.expect("a plain room can be created")
    }

    /// A text message.
    pub async fn say(&self, room: &RoomId, sender: &UserId, body: &str) -> OwnedEventId {
        self.send(room, sender, "m.room.message", json!({ "msgtype": "m.text", "body": body })).await
    }

    /// An event that is not state.
    pub async fn send(&self, room: &RoomId, sender: &UserId, kind: &str, content: Value) -> OwnedEventId {
        let message =
            Message { sender: sender.to_owned(), kind: kind.into(), content: object(content), transaction: None };
        self.rooms.submit(room, message).await.expect("the message is allowed").event_id
    }

    /// A text message about an event.
    pub async fn relate(&self, room: &RoomId, sender: &UserId, kind: &str, parent: &EventId) -> OwnedEventId {
        let relates_to = json!({ "rel_type": kind, "event_id": parent });
        let new = json!({ "msgtype": "m.text", "body": "new" });
        let content = json!({ "msgtype": "m.text", "body": kind, "m.new_content": new, "m.relates_to": relates_to });
        self.send(room, sender, "m.room.message", content).await
    }

    /// A redaction.
    pub async fn redact(&self, room: &RoomId, sender: &UserId, target: &EventId) -> OwnedEventId {
        let (sender, target) = (sender.to_owned(), target.to_owned());
        let redaction = Redaction { sender, target, reason: None, transaction: None };
        self.rooms.submit(room, redaction).await.expect("the redaction is allowed").event_id
    }

    /// Makes a user ignore others.
    pub async fn ignore(&self, user: &UserId, others: &[&UserId]) {
        let ignored: serde_json::Map<_, _> = others.iter().map(|other| (other.to_string(), json!({}))).collect();
        let content = to_raw_value(&json!({ "ignored_users": ignored })).expect("JSON");
        let data = AccountData::new(Arc::clone(&self.base));
        data.set(user, GLOBAL, IGNORED_USER_LIST, &content).await.expect("the list is allowed");
    }

    /// A state event.
    pub async fn set(&self, room: &RoomId, sender: &UserId, kind: StateEventType, content: Value) -> OwnedEventId {
        let state = State { sender: sender.to_owned(), kind, state_key: String::new(), content: object(content) };
        self.rooms.submit(room, state).await.expect("the state is allowed").event_id
    }

    /// A change of one's own or another's membership.
    pub async fn change(
        &self,
        room: &RoomId,
        actor: &UserId,
        target: &UserId,
        action: Action,
    ) -> Result<OwnedEventId, Refusal> {
        let (actor, target) = (actor.to_owned(), target.to_owned());
        let change = Change { actor, target, action, content: CanonicalJsonObject::new() };
        self.rooms.submit(room, change).await.map(|sent| sent.event_id)
    }

    /// Joins a public room, or one with an invite.
    pub async fn join(&self, room: &RoomId, user: &UserId) {
        self.change(room, user, user, Action::Join).await.expect("the join is allowed");
    }
}

/// The engine of the tests: in memory, or RocksDB where the feature `on-rocksdb` is on and `DEPESCHE_TEST_ENGINE` is
/// `rocksdb`.
pub fn engine(options: Options) -> Arc<dyn Engine> {
    #[cfg(feature = "on-rocksdb")]
    if std::env::var_os("DEPESCHE_TEST_ENGINE").is_some_and(|engine| engine == "rocksdb") {
        return Arc::new(depesche_store_rocksdb::testing::Temporary::new(options));
    }
    Arc::new(Memory::new(options))
}

/// A private room with nothing special.
pub fn creation(creator: &UserId) -> Creation {
    Creation {
        creator: creator.to_owned(),
        version: None,
        preset: Preset::PrivateChat,
        published: false,
        alias: None,
        name: None,
        topic: None,
        invite: Vec::new(),
        creation_content: CanonicalJsonObject::new(),
        initial_state: Vec::new(),
        power_levels: CanonicalJsonObject::new(),
    }
}

/// A user of this server.
pub fn user(localpart: &str) -> OwnedUserId {
    OwnedUserId::try_from(format!("@{localpart}:agency.test")).expect("a valid user id")
}

/// JSON as canonical JSON.
pub fn object(value: Value) -> CanonicalJsonObject {
    serde_json::from_value(value).expect("canonical JSON")
}

/// How many cases a property has: as many as usual, or as `PROPTEST_CASES` says if that is more.
pub fn cases(usual: u32) -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(usual).max(usual)
}
