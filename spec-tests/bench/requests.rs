//! The requests that make rooms and what is said in them, and what they hold.

use bytes::Bytes;
use depesche_spec_tests::client::encode;
use serde_json::{Value, json};

use crate::wire::{Connection, field};

/// What every room is called.
pub const NAME: &str = "Benchmark";

/// Creates a room that anyone may join; its id.
pub async fn create_room(wire: &mut Connection) -> String {
    let body = json!({ "preset": "public_chat", "name": NAME });
    let answer = wire.post("/_matrix/client/v3/createRoom", &body).await;
    field(&answer, "room_id").expect("a room id").to_owned()
}

/// Joins a room.
pub async fn join(wire: &mut Connection, room: &str) -> Bytes {
    wire.post(&format!("/_matrix/client/v3/rooms/{}/join", encode(room)), &json!({})).await
}

/// Sends the message of this number; its event id.
pub async fn say(wire: &mut Connection, room: &str, transaction: &str, number: usize) -> String {
    let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/{transaction}", encode(room));
    let answer = wire.put(&path, &message(number)).await;
    field(&answer, "event_id").expect("an event id").to_owned()
}

/// A message of a usual length.
pub fn message(number: usize) -> Value {
    let body = format!("{number}: an ordinary sentence, such as people write to each other");
    json!({ "msgtype": "m.text", "body": body })
}
