//! What a gateway is told: the body of `POST /_matrix/push/v1/notify`.
//!
//! An app that asked for the format `event_id_only` gets no more than where and which; so does each, if the operator
//! does not let content out.
//!
//! Spec: [push gateway API](https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify).

use ruma::{
    OwnedUserId,
    push::{Action, Tweak},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    Fault,
    keyspace::PUSHER,
    pushers::PusherKey,
    records::push::{Notice, Pusher},
    rooms::{
        push::Context,
        view::{Event, RoomView},
    },
};

/// A pusher as its gateway is told of it.
pub struct Device {
    /// Where its gateway is.
    pub url: String,
    /// What stands under `devices`, without tweaks.
    wire: Map<String, Value>,
    /// Whether it asked to be told no content.
    event_id_only: bool,
    user: OwnedUserId,
}

impl Device {
    /// What the pusher's row says.
    pub fn new(key: &PusherKey, pusher: &Pusher) -> Result<Self, Fault> {
        let corrupt = || Fault::Corrupt { table: PUSHER.name, key: PUSHER.key(key) };
        let mut data: Map<String, Value> = serde_json::from_str(&pusher.data).map_err(|_| corrupt())?;
        let Some(Value::String(url)) = data.remove("url") else { return Err(corrupt()) };
        let event_id_only = data.get("format").and_then(Value::as_str) == Some("event_id_only");
        let mut device = Map::new();
        device.insert("app_id".to_owned(), key.1.clone().into());
        device.insert("pushkey".to_owned(), key.2.clone().into());
        device.insert("pushkey_ts".to_owned(), (pusher.set_ms / 1000).into());
        device.insert("data".to_owned(), data.into());
        Ok(Self { url, wire: device, event_id_only, user: key.0.clone() })
    }

    /// The body that tells of the count alone. A count of zero is said here: it is all there is to say, and gateways take
    /// a missing one for no news.
    pub fn count(&self, unread: u32) -> Vec<u8> {
        body(&json!({ "counts": { "unread": unread }, "devices": [self.wire] }))
    }

    /// The body that tells of an event. `None` if there is nothing to tell, because it was redacted.
    pub async fn event(
        &self,
        room: &RoomView,
        event: Event,
        notice: &Notice,
        unread: u32,
        include_content: bool,
    ) -> Result<Option<Vec<u8>>, Fault> {
        if event.meta.facts.redacted_by.is_some() {
            return Ok(None);
        }
        let tweaks = tweaks(&notice.actions);
        let is_encrypted = event.pdu.kind().to_string() == "m.room.encrypted";
        let is_urgent = is_encrypted || notice.highlight || tweaks.contains_key("sound");
        let mut told = Map::new();
        told.insert("event_id".to_owned(), event.pdu.event_id().as_str().into());
        told.insert("room_id".to_owned(), room.room_id().as_str().into());
        told.insert("prio".to_owned(), if is_urgent { "high" } else { "low" }.into());
        // "Counts whose value is zero should be omitted."
        told.insert("counts".to_owned(), if unread == 0 { json!({}) } else { json!({ "unread": unread }) });
        let mut device = self.wire.clone();
        if !self.event_id_only {
            device.insert("tweaks".to_owned(), tweaks.into());
            if include_content {
                self.describe(&mut told, room, &event).await?;
            }
        }
        told.insert("devices".to_owned(), Value::Array(vec![device.into()]));
        Ok(Some(body(&Value::Object(told))))
    }

    /// All that the specification lets a gateway know of an event.
    async fn describe(&self, told: &mut Map<String, Value>, room: &RoomView, event: &Event) -> Result<(), Fault> {
        let pdu = &event.pdu;
        let content: Value = pdu.content_as().unwrap_or_default();
        told.insert("type".to_owned(), pdu.kind().to_string().into());
        told.insert("sender".to_owned(), pdu.sender().as_str().into());
        told.insert("content".to_owned(), content);
        if pdu.is_state("m.room.member", self.user.as_str()) {
            told.insert("user_is_target".to_owned(), true.into());
        }
        if let Some(name) = Context::of(room).await?.display_name(pdu.sender()).await? {
            told.insert("sender_display_name".to_owned(), name.into());
        }
        for (field, kind) in [("room_name", "m.room.name"), ("room_alias", "m.room.canonical_alias")] {
            if let Some(text) = named(room, kind).await? {
                told.insert(field.to_owned(), text.into());
            }
        }
        Ok(())
    }
}

fn body(notification: &Value) -> Vec<u8> {
    json!({ "notification": notification }).to_string().into_bytes()
}

async fn named(room: &RoomView, kind: &str) -> Result<Option<String>, Fault> {
    #[derive(Deserialize)]
    struct Name {
        #[serde(alias = "alias")]
        name: Option<String>,
    }
    let event = room.state_event(room.root(), kind, "").await?;
    let event = event.map(|event| room.readable(event)).transpose()?;
    Ok(event.and_then(|event| event.content_as::<Name>().ok()?.name).filter(|name| !name.is_empty()))
}

/// The tweaks that the actions set, the last of each winning.
fn tweaks(actions: &str) -> Map<String, Value> {
    let actions: Vec<Action> = serde_json::from_str(actions).unwrap_or_default();
    let tweaks = actions.iter().filter_map(|action| match action {
        Action::SetTweak(tweak) => Some((tweak.set_tweak().to_owned(), value(tweak)?)),
        _ => None,
    });
    tweaks.collect()
}

fn value(tweak: &Tweak) -> Option<Value> {
    serde_json::from_str(tweak.value()?.get()).ok()
}
