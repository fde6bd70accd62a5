//! A local event: from what is to be said to the signed event.
//!
//! The caller chooses `prev_events`, `auth_events`, `depth` and the time; nothing here looks at a room. What is built
//! has the right form and size ([`crate::format`]); whether it is allowed is [`crate::auth`]'s.
//!
//! Spec: [PDUs](https://spec.matrix.org/v1.19/server-server-api/#pdus),
//! [signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events).

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedUserId, RoomId,
    RoomVersionId, ServerName,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::value::RawValue;

use crate::{
    auth::{Reject, auth_types},
    bounds::{MAX_AUTH_EVENTS, MAX_INTEGER, MAX_PREV_EVENTS},
    format::FormatError,
    json::canonical_text,
    pdu::Pdu,
    signing::SigningKey,
};

/// What a user or this server wants to say in a room.
#[derive(Clone, Debug)]
pub struct EventDraft {
    /// The event's type.
    pub kind: TimelineEventType,
    /// `Some` makes it a state event.
    pub state_key: Option<String>,
    /// A user of this server.
    pub sender: OwnedUserId,
    /// The content. A redaction's target is in `redacts` only.
    pub content: CanonicalJsonObject,
    /// The target of an `m.room.redaction`.
    pub redacts: Option<OwnedEventId>,
    /// What the federation format carries in `unsigned`, such as `invite_room_state`.
    pub unsigned: Option<CanonicalJsonObject>,
}

impl EventDraft {
    /// An event that is not state.
    pub fn message(sender: OwnedUserId, kind: TimelineEventType, content: CanonicalJsonObject) -> Self {
        Self { kind, state_key: None, sender, content, redacts: None, unsigned: None }
    }

    /// A state event.
    pub fn state(
        sender: OwnedUserId,
        kind: StateEventType,
        state_key: impl Into<String>,
        content: CanonicalJsonObject,
    ) -> Self {
        let state_key = Some(state_key.into());
        Self { kind: kind.into(), state_key, sender, content, redacts: None, unsigned: None }
    }

    /// A redaction of `target`.
    pub fn redaction(sender: OwnedUserId, target: OwnedEventId, content: CanonicalJsonObject) -> Self {
        let redacts = Some(target);
        Self { redacts, ..Self::message(sender, TimelineEventType::RoomRedaction, content) }
    }

    /// The state entries whose events become its `auth_events`, as far as the room has them.
    pub fn auth_types(&self, rules: &RoomVersionRules) -> Result<Vec<(StateEventType, String)>, Reject> {
        // Only a membership is looked into; do not write out the content of a message for nothing.
        let content =
            if self.kind == TimelineEventType::RoomMember { canonical_text(&self.content) } else { "{}".into() };
        let content = RawValue::from_string(content).map_err(|error| Reject::new(error.to_string()))?;
        auth_types(&self.kind, &self.sender, self.state_key.as_deref(), &content, rules)
    }
}

/// Where in the room an event is placed, and who signs it.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    /// The rules of the room's version.
    pub rules: &'a RoomVersionRules,
    /// The room; `None` for the create event of version 12.
    pub room_id: Option<&'a RoomId>,
    /// The room's forward extremities.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that the state has for [`EventDraft::auth_types`].
    pub auth_events: Vec<OwnedEventId>,
    /// One more than the greatest depth of `prev_events`.
    pub depth: u64,
    /// Now.
    pub origin_server_ts: MilliSecondsSinceUnixEpoch,
    /// This server.
    pub server_name: &'a ServerName,
    /// Its key.
    pub key: &'a SigningKey,
}

/// Builds, hashes and signs an event.
pub fn build(draft: EventDraft, place: Placement<'_>) -> Result<Pdu, FormatError> {
    if place.prev_events.len() > MAX_PREV_EVENTS {
        return Err(FormatError::field("prev_events", "too many"));
    }
    if place.auth_events.len() > MAX_AUTH_EVENTS {
        return Err(FormatError::field("auth_events", "too many"));
    }
    let mut event = assemble(draft, &place);
    place
        .key
        .hash_and_sign_event(place.server_name, &mut event, &place.rules.redaction)
        .map_err(|_| FormatError::TooLarge("the event"))?;
    Pdu::built(&event, place.rules, place.prev_events, place.auth_events)
}

/// The event before hash and signature.
fn assemble(draft: EventDraft, place: &Placement<'_>) -> CanonicalJsonObject {
    let EventDraft { kind, state_key, sender, mut content, redacts, unsigned } = draft;
    let mut event = CanonicalJsonObject::new();
    if let Some(target) = redacts {
        let holder = if place.rules.redaction.content_field_redacts { &mut content } else { &mut event };
        holder.insert("redacts".to_owned(), target.to_string().into());
    }
    event.insert("auth_events".to_owned(), ids(&place.auth_events));
    event.insert("content".to_owned(), content.into());
    event.insert("depth".to_owned(), integer(place.depth));
    event.insert("origin_server_ts".to_owned(), CanonicalJsonValue::Integer(place.origin_server_ts.get().into()));
    event.insert("prev_events".to_owned(), ids(&place.prev_events));
    if let Some(room_id) = place.room_id {
        event.insert("room_id".to_owned(), room_id.to_string().into());
    }
    event.insert("sender".to_owned(), sender.to_string().into());
    if let Some(state_key) = state_key {
        event.insert("state_key".to_owned(), state_key.into());
    }
    event.insert("type".to_owned(), kind.to_string().into());
    if let Some(unsigned) = unsigned {
        event.insert("unsigned".to_owned(), unsigned.into());
    }
    event
}

fn ids(ids: &[OwnedEventId]) -> CanonicalJsonValue {
    CanonicalJsonValue::Array(ids.iter().map(|id| id.to_string().into()).collect())
}

/// `depth` stops at the largest integer of canonical JSON, as the room versions say.
fn integer(value: u64) -> CanonicalJsonValue {
    let value = i64::try_from(value).unwrap_or(MAX_INTEGER).min(MAX_INTEGER);
    CanonicalJsonValue::Integer(value.try_into().expect("at most 2^53 - 1"))
}

/// Completes the content of a create event: `room_version` always, `creator` where the version wants it. What the
/// client put there under these names is overwritten, as `POST /createRoom` says.
pub fn complete_create_content(
    content: &mut CanonicalJsonObject,
    creator: &OwnedUserId,
    version: &RoomVersionId,
    rules: &RoomVersionRules,
) {
    content.insert("room_version".to_owned(), version.to_string().into());
    content.remove("creator");
    if !rules.authorization.use_room_create_sender {
        content.insert("creator".to_owned(), creator.to_string().into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        auth::verify,
        bounds::MAX_PDU_BYTES,
        testing::{Room, message, object, server, user, versions},
    };

    #[test]
    fn what_is_built_verifies_and_has_the_hash_for_a_name() {
        for version in versions() {
            let mut room = Room::new(version);
            room.send(message("creator", json!({ "body": "hello" })));
            let keys = room.key.public_key_map(server());
            for event in &room.events {
                assert_eq!(verify(event.to_object().unwrap(), &keys, room.rules).unwrap(), event.to_object().unwrap());
                assert_eq!(Pdu::from_json(event.json().as_bytes(), room.rules).unwrap(), *event);
            }
        }
    }

    #[test]
    fn a_redaction_names_its_target_where_the_version_has_it() {
        for version in versions() {
            let mut room = Room::new(version.clone());
            let target = room.send(message("creator", json!({ "body": "hello" }))).event_id().clone();
            let redaction = room.send(EventDraft::redaction(user("creator"), target.clone(), object(json!({}))));
            assert_eq!(redaction.redacts(), Some(&target), "{version}");
            let in_content = redaction.content().get().contains(target.as_str());
            assert_eq!(in_content, room.rules.redaction.content_field_redacts, "{version}");
        }
    }

    #[test]
    fn the_largest_event_and_one_byte_more() {
        let mut room = Room::new(RoomVersionId::V12);
        let small = room.send(message("creator", json!({ "body": "" }))).json().len();
        let body = |bytes: usize| object(json!({ "body": "x".repeat(bytes - small) }));
        let place = Placement {
            rules: room.rules,
            room_id: room.id.as_deref(),
            prev_events: room.events.last().unwrap().prev_events().to_vec(),
            auth_events: room.events.last().unwrap().auth_events().to_vec(),
            depth: room.events.last().unwrap().depth(),
            origin_server_ts: room.events.last().unwrap().origin_server_ts(),
            server_name: server(),
            key: &room.key,
        };
        let largest = EventDraft::message(user("creator"), "m.room.message".into(), body(MAX_PDU_BYTES));
        assert_eq!(build(largest, place.clone()).unwrap().json().len(), MAX_PDU_BYTES);
        let larger = EventDraft::message(user("creator"), "m.room.message".into(), body(MAX_PDU_BYTES + 1));
        assert_eq!(build(larger, place), Err(FormatError::TooLarge("the event")));
    }

    #[test]
    fn depth_stops_at_the_largest_integer() {
        assert_eq!(integer(u64::MAX).as_integer().map(i64::from), Some(MAX_INTEGER));
    }

    #[test]
    fn the_creator_is_named_where_the_version_wants_it() {
        for version in versions() {
            let room = Room::bare(version.clone());
            let named = room.events[0].content().get().contains(r#""creator":"@creator:here""#);
            assert_eq!(named, !room.rules.authorization.use_room_create_sender, "{version}");
            assert!(room.events[0].content().get().contains(&format!(r#""room_version":"{version}""#)));
        }
    }
}
