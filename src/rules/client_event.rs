//! Events as clients see them.
//!
//! The content's text is copied as it stands, not parsed and written again: this runs for every event of every answer.
//! What goes into `unsigned` depends on who asks, so the caller hands it in; nothing of the `unsigned` that came over
//! federation is passed on.
//!
//! Spec: [client event format](https://spec.matrix.org/v1.19/client-server-api/#room-event-format),
//! [stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state); `redacts` in both places by
//! [room version 11](https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property).

use std::{borrow::Cow, collections::BTreeMap};

use ruma::{
    EventId, MilliSecondsSinceUnixEpoch, RoomId, TransactionId, UserId,
    events::{TimelineEventType, room::member::MembershipState},
    serde::Raw,
};
use serde::Serialize;
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::pdu::Pdu;

/// What a client learns about an event besides the event. All optional.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Unsigned<'a> {
    /// Milliseconds since the event was made; see [`age`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// The membership of the asking user at the event, the event included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<&'a MembershipState>,
    /// The content of the state event that this one replaced, if the user may see that event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<&'a RawValue>,
    /// The sender of the state event that this one replaced. Not in the specification; clients read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_sender: Option<&'a UserId>,
    /// The redaction, as a client event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_because: Option<&'a RawValue>,
    /// Its identifier. Not in the specification; nheko knows redacted events by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_by: Option<&'a EventId>,
    /// The state event that this one replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_state: Option<&'a EventId>,
    /// The transaction ID, for the device that sent the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<&'a TransactionId>,
    /// Bundled aggregations.
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    pub relations: Option<&'a RawValue>,
}

impl Unsigned<'_> {
    /// Whether there is nothing to say. `unsigned` is left out then.
    pub fn is_empty(&self) -> bool {
        let Self {
            age,
            membership,
            prev_content,
            prev_sender,
            redacted_because,
            redacted_by,
            replaces_state,
            transaction_id,
            relations,
        } = self;
        age.is_none()
            && membership.is_none()
            && prev_content.is_none()
            && prev_sender.is_none()
            && redacted_because.is_none()
            && redacted_by.is_none()
            && replaces_state.is_none()
            && transaction_id.is_none()
            && relations.is_none()
    }
}

/// The age of an event at `now`, which may be negative if its server's clock is ahead.
pub fn age(event: &Pdu, now: MilliSecondsSinceUnixEpoch) -> i64 {
    i64::from(now.get()) - i64::from(event.origin_server_ts().get())
}

/// Whether the answer says elsewhere which room it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomField {
    /// With `room_id`: everything but `/sync`.
    Present,
    /// Without: `/sync`.
    Absent,
}

/// The event in client format. `T` is the ruma type the answer wants, for instance `AnySyncTimelineEvent`; nothing is
/// checked against it.
pub fn client_event<T>(event: &Pdu, room: RoomField, unsigned: &Unsigned<'_>) -> Raw<T> {
    Raw::from_json(client_json(event, room, unsigned))
}

/// As [`client_event`], as JSON.
pub fn client_json(event: &Pdu, room: RoomField, unsigned: &Unsigned<'_>) -> Box<RawValue> {
    written(&client_format(event, room, unsigned))
}

/// As [`client_event`], to be written into a larger text: an event on its own is a text that grows several times.
pub fn client_format<'a>(event: &'a Pdu, room: RoomField, unsigned: &'a Unsigned<'a>) -> impl Serialize {
    Wire {
        content: content(event),
        event_id: event.event_id(),
        origin_server_ts: event.origin_server_ts(),
        redacts: event.redacts().map(|id| &**id),
        room_id: (room == RoomField::Present).then_some(event.room_id()),
        sender: event.sender(),
        state_key: event.state_key(),
        kind: event.kind(),
        unsigned: (!unsigned.is_empty()).then_some(unsigned),
    }
}

/// The event as stripped state. `T` is the ruma type the answer wants, for instance `AnyStrippedStateEvent`.
pub fn stripped<T>(event: &Pdu) -> Raw<T> {
    #[derive(Serialize)]
    struct Stripped<'a> {
        content: &'a RawValue,
        sender: &'a UserId,
        state_key: &'a str,
        #[serde(rename = "type")]
        kind: &'a TimelineEventType,
    }

    Raw::from_json(written(&Stripped {
        content: event.content(),
        sender: event.sender(),
        state_key: event.state_key().unwrap_or_default(),
        kind: event.kind(),
    }))
}

/// The event in federation format, for filters with `event_format: federation`. It carries its identifier as well,
/// which that format leaves to the reader to compute.
///
/// Only the outermost level is read, each field is copied as it stands.
pub fn federation_format(event: &Pdu) -> impl Serialize + use<> {
    // The text is that of an object, or it had been no event.
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(event.json()).unwrap_or_default();
    fields.insert("event_id".to_owned(), written(event.event_id()));
    fields.insert("room_id".to_owned(), written(event.room_id()));
    fields
}

#[derive(Serialize)]
struct Wire<'a> {
    content: Cow<'a, RawValue>,
    event_id: &'a EventId,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomId>,
    sender: &'a UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a TimelineEventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    unsigned: Option<&'a Unsigned<'a>>,
}

/// The content; a redaction's with its target, which versions before 11 have outside of the content.
fn content(event: &Pdu) -> Cow<'_, RawValue> {
    let as_it_is = Cow::Borrowed(event.content());
    let Some(target) = event.redacts() else { return as_it_is };
    let Ok(mut content) = event.content_as::<serde_json::Map<String, Value>>() else { return as_it_is };
    if content.get("redacts").and_then(Value::as_str) == Some(target.as_str()) {
        return as_it_is;
    }
    content.insert("redacts".to_owned(), target.as_str().into());
    Cow::Owned(written(&content))
}

fn written(value: &impl Serialize) -> Box<RawValue> {
    to_raw_value(value).expect("strings, integers and text that is JSON already always serialise")
}

#[cfg(test)]
mod tests {
    use ruma::events::AnyStrippedStateEvent;
    use serde_json::json;

    use super::*;
    use crate::{
        build::EventDraft,
        redaction::redact,
        testing::{Room, message, object, state, user, versions},
    };

    fn parsed(json: &RawValue) -> Value {
        serde_json::from_str(json.get()).unwrap()
    }

    #[test]
    fn a_message_with_and_without_its_room() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        let event = room.send(message("creator", json!({ "body": "ä\"\n", "msgtype": "m.text" })));
        let mut expected = json!({
            "content": { "body": "ä\"\n", "msgtype": "m.text" },
            "event_id": event.event_id(),
            "origin_server_ts": event.origin_server_ts(),
            "room_id": room.id,
            "sender": "@creator:here",
            "type": "m.room.message",
        });
        assert_eq!(parsed(&client_json(&event, RoomField::Present, &Unsigned::default())), expected);
        expected.as_object_mut().unwrap().remove("room_id");
        assert_eq!(parsed(&client_json(&event, RoomField::Absent, &Unsigned::default())), expected);
    }

    #[test]
    fn all_that_unsigned_can_say() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        let because = room.send(message("creator", json!({})));
        let event = room.send(state("creator", "m.room.topic", "", json!({ "topic": "new" })));
        let old = RawValue::from_string(r#"{"topic":"old"}"#.to_owned()).unwrap();
        let because_json = client_json(&because, RoomField::Absent, &Unsigned::default());
        let now = MilliSecondsSinceUnixEpoch(event.origin_server_ts().get() + ruma::uint!(5));
        let unsigned = Unsigned {
            age: Some(age(&event, now)),
            membership: Some(&MembershipState::Join),
            prev_content: Some(&old),
            prev_sender: Some(event.sender()),
            redacted_because: Some(&because_json),
            redacted_by: Some(because.event_id()),
            replaces_state: Some(because.event_id()),
            transaction_id: Some("txn".into()),
            relations: Some(&old),
        };
        let json = parsed(&client_json(&event, RoomField::Absent, &unsigned));
        assert_eq!(json["state_key"], "");
        assert_eq!(
            json["unsigned"],
            json!({
                "age": 5,
                "membership": "join",
                "prev_content": { "topic": "old" },
                "prev_sender": "@creator:here",
                "redacted_because": parsed(&because_json),
                "redacted_by": because.event_id(),
                "replaces_state": because.event_id(),
                "transaction_id": "txn",
                "m.relations": { "topic": "old" },
            })
        );
    }

    #[test]
    fn a_clock_that_is_ahead_makes_a_negative_age() {
        let room = Room::bare(ruma::RoomVersionId::V12);
        assert_eq!(age(&room.events[0], MilliSecondsSinceUnixEpoch(ruma::uint!(400))), -600);
    }

    #[test]
    fn what_a_redaction_redacts_stands_in_both_places() {
        for version in versions() {
            let mut room = Room::new(version.clone());
            let target = room.send(message("creator", json!({ "body": "x" })));
            let content = object(json!({ "reason": "spam" }));
            let draft = EventDraft::redaction(user("creator"), target.event_id().clone(), content);
            let redaction = room.send(draft);
            let shown = parsed(&client_json(&redaction, RoomField::Absent, &Unsigned::default()));
            let id = target.event_id();
            assert_eq!(shown["redacts"], json!(id), "{version}");
            assert_eq!(shown["content"], json!({ "reason": "spam", "redacts": id }), "{version}");
        }
    }

    #[test]
    fn a_content_that_contradicts_the_target_is_set_right() {
        let mut room = Room::new(ruma::RoomVersionId::V10);
        let target = room.send(message("creator", json!({}))).event_id().clone();
        let lie = object(json!({ "redacts": "$other" }));
        let redaction = room.send(EventDraft::redaction(user("creator"), target.clone(), lie));
        let shown = parsed(&client_json(&redaction, RoomField::Absent, &Unsigned::default()));
        assert_eq!(shown["content"]["redacts"], json!(target));
    }

    #[test]
    fn a_redacted_event_shows_what_is_left() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        let event = room.send(message("creator", json!({ "body": "gone" })));
        let shown = client_json(&redact(&event, room.rules).unwrap(), RoomField::Present, &Unsigned::default());
        assert_eq!((&parsed(&shown)["content"], &parsed(&shown)["room_id"]), (&json!({}), &json!(room.id)));
    }

    #[test]
    fn the_unsigned_of_other_servers_is_not_passed_on() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        let mut draft = message("creator", json!({}));
        draft.unsigned = Some(object(json!({ "prev_content": { "lie": true } })));
        let event = room.send(draft);
        assert!(event.json().contains("lie"));
        assert!(!client_json(&event, RoomField::Present, &Unsigned::default()).get().contains("lie"));
    }

    #[test]
    fn stripped_state_has_four_fields() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        let event = room.send(state("creator", "m.room.name", "", json!({ "name": "Room" })));
        let stripped = stripped::<AnyStrippedStateEvent>(&event);
        let expected = json!({
            "content": { "name": "Room" }, "sender": "@creator:here", "state_key": "", "type": "m.room.name",
        });
        assert_eq!(parsed(stripped.json()), expected);
        assert!(stripped.deserialize().is_ok());
    }

    #[test]
    fn the_federation_format_has_the_graph() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        let event = room.send(message("creator", json!({ "body": "x" })));
        let json = serde_json::to_value(federation_format(&event)).unwrap();
        assert_eq!(json["auth_events"], json!(event.auth_events()));
        assert_eq!((&json["event_id"], &json["room_id"]), (&json!(event.event_id()), &json!(room.id)));
        assert!(json["signatures"].is_object() && json["hashes"].is_object());
    }
}
