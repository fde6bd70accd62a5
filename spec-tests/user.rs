//! A registered person with one device, and the requests that nearly every case makes on the way to its own.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::{Client, Syncer};

/// The password of every test user.
pub const PASSWORD: &str = "correct horse battery staple";

/// A user on one device. Dereferences to the [`Client`] with its access token.
#[derive(Clone, Debug)]
pub struct User {
    client: Client,
    /// The user id.
    pub id: String,
    /// The device id.
    pub device: String,
}

impl Deref for User {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl User {
    /// Registers `localpart` with [`PASSWORD`] and `m.login.dummy`.
    pub async fn register(client: &Client, localpart: &str) -> Self {
        let body = json!({
            "username": localpart, "password": PASSWORD, "initial_device_display_name": "first",
            "auth": { "type": "m.login.dummy" }
        });
        Self::from_answer(client, &client.post("/_matrix/client/v3/register", &[]).json(body).await.ok())
    }

    /// Logs in again, on another device.
    pub async fn another_device(&self) -> Self {
        let body = json!({
            "type": "m.login.password", "password": PASSWORD,
            "identifier": { "type": "m.id.user", "user": self.id }
        });
        let client = Client::new(self.address());
        Self::from_answer(&client, &client.post("/_matrix/client/v3/login", &[]).json(body).await.ok())
    }

    /// The user and device of an answer to registration or login.
    pub fn from_answer(client: &Client, answer: &Value) -> Self {
        let text = |key: &str| answer[key].as_str().unwrap_or_else(|| panic!("no {key} in {answer}")).to_owned();
        Self { client: client.with_token(&text("access_token")), id: text("user_id"), device: text("device_id") }
    }

    /// The part of the user id between `@` and `:`.
    pub fn localpart(&self) -> &str {
        self.id[1..].split(':').next().unwrap_or_default()
    }

    /// Follows `/sync` from the beginning.
    pub fn syncer(&self) -> Syncer {
        Syncer::new(self.client.clone())
    }

    /// Creates a room and gives its id.
    pub async fn create_room(&self, body: Value) -> String {
        let answer = self.post("/_matrix/client/v3/createRoom", &[]).json(body).await.ok();
        answer["room_id"].as_str().expect("a room id").to_owned()
    }

    /// A room that anyone may join.
    pub async fn public_room(&self) -> String {
        self.create_room(json!({ "preset": "public_chat" })).await
    }

    /// Joins a room.
    pub async fn join(&self, room: &str) {
        self.post("/_matrix/client/v3/rooms/{roomId}/join", &[room]).json(json!({})).await.ok();
    }

    /// Leaves a room.
    pub async fn leave(&self, room: &str) {
        self.post("/_matrix/client/v3/rooms/{roomId}/leave", &[room]).json(json!({})).await.ok();
    }

    /// Invites a user.
    pub async fn invite(&self, room: &str, user: &Self) {
        let body = json!({ "user_id": user.id });
        self.post("/_matrix/client/v3/rooms/{roomId}/invite", &[room]).json(body).await.ok();
    }

    /// Sends a text message and gives its event id.
    pub async fn say(&self, room: &str, text: &str) -> String {
        self.send(room, "m.room.message", json!({ "msgtype": "m.text", "body": text })).await
    }

    /// Sends an event with a transaction id of its own and gives its event id.
    pub async fn send(&self, room: &str, kind: &str, content: Value) -> String {
        let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
        let answer = self.put(path, &[room, kind, &txn()]).json(content).await.ok();
        answer["event_id"].as_str().expect("an event id").to_owned()
    }

    /// Sets state and gives the event id.
    pub async fn set_state(&self, room: &str, kind: &str, key: &str, content: Value) -> String {
        let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
        let answer = self.put(path, &[room, kind, key]).json(content).await.ok();
        answer["event_id"].as_str().expect("an event id").to_owned()
    }

    /// The content of a state event.
    pub async fn state(&self, room: &str, kind: &str, key: &str) -> Value {
        self.get("/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}", &[room, kind, key]).await.ok()
    }

    /// Changes the room's power levels.
    pub async fn change_power_levels(&self, room: &str, change: impl FnOnce(&mut Value)) {
        let mut levels = self.state(room, "m.room.power_levels", "").await;
        change(&mut levels);
        self.set_state(room, "m.room.power_levels", "", levels).await;
    }

    /// The membership of a user as the room's state has it; none if there is no such state.
    pub async fn membership(&self, room: &str, user: &Self) -> Option<String> {
        let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
        let answer = self.get(path, &[room, "m.room.member", &user.id]).await;
        answer.body["membership"].as_str().map(str::to_owned)
    }
}

/// A transaction id that was not used before.
pub fn txn() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed))
}
