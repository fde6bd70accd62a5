//! One event, parsed.
//!
//! Holds the canonical text in federation format and the fields that rules ask for. Cheap to clone. Its identifier is
//! the hash of its redacted form, so redacting a [`Pdu`] keeps the identifier. Room versions 3 to 12.
//!
//! Not here: what clients see ([`crate::client_event`]) and whether the event was accepted, apart from the flag
//! [`Pdu::rejected`] that the auth rules need.
//!
//! Spec: [PDUs](https://spec.matrix.org/v1.19/server-server-api/#pdus).

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
};

use ruma::{
    CanonicalJsonObject, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UInt,
    UserId,
    events::{TimelineEventType, room::member::MembershipState},
    room_version_rules::RoomVersionRules,
    signatures::reference_hash,
    state_res::Event,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    event_type,
    format::{self, FormatError},
    json::{JsonError, canonical_text, check_depth, parse_object, stored_object},
};

/// An event of a room. Equal if the identifiers are.
#[derive(Clone)]
pub struct Pdu {
    event: Arc<Parsed>,
    rejected: bool,
}

struct Parsed {
    json: Box<str>,
    content: Box<RawValue>,
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    /// The create event of version 12 has no `room_id`: the room's is made of its hash.
    names_room: bool,
    sender: OwnedUserId,
    kind: TimelineEventType,
    state_key: Option<Box<str>>,
    redacts: Option<OwnedEventId>,
    depth: UInt,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    /// Read once they are asked for: of most events nobody does.
    edges: OnceLock<Edges>,
}

/// The events that an event names.
#[derive(Deserialize)]
struct Edges {
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
}

impl Pdu {
    /// An event from another server or any other untrusted source: parsed strictly, its form checked, its identifier
    /// computed. Hash and signatures are [`crate::auth::verify`]'s.
    pub fn from_json(bytes: &[u8], rules: &RoomVersionRules) -> Result<Self, FormatError> {
        Self::from_object(&parse_object(bytes)?, rules)
    }

    /// As [`Pdu::from_json`], from a parsed object.
    pub fn from_object(object: &CanonicalJsonObject, rules: &RoomVersionRules) -> Result<Self, FormatError> {
        let pdu = Self::whole(object, rules)?;
        let edges = Edges::read(pdu.json()).map_err(|_| FormatError::field("event", "names what is no event"))?;
        Ok(pdu.with_edges(edges))
    }

    /// An event that was built here and names these events.
    pub(crate) fn built(
        object: &CanonicalJsonObject,
        rules: &RoomVersionRules,
        prev_events: Vec<OwnedEventId>,
        auth_events: Vec<OwnedEventId>,
    ) -> Result<Self, FormatError> {
        Ok(Self::whole(object, rules)?.with_edges(Edges { prev_events, auth_events }))
    }

    /// With its form checked, but not what it names.
    fn whole(object: &CanonicalJsonObject, rules: &RoomVersionRules) -> Result<Self, FormatError> {
        let text = canonical_text(object);
        format::check(object, text.len(), &rules.event_format)?;
        // Content that was nested as deep as JSON may be is one level too deep inside of an event.
        check_depth(text.as_bytes())?;
        let event_id = event_id(object, rules)?;
        Self::read(text.into(), event_id, rules)
    }

    fn with_edges(self, edges: Edges) -> Self {
        // New, so nobody has asked for them yet.
        let _ = self.event.edges.set(edges);
        self
    }

    /// An event that this server stored: its text as [`Pdu::json`] gave it, and its identifier. Checks only what reading
    /// needs. A redacted text is read with the identifier of the whole event.
    pub fn from_stored(json: Box<str>, event_id: OwnedEventId, rules: &RoomVersionRules) -> Result<Self, FormatError> {
        Self::read(json, event_id, rules)
    }

    fn read(json: Box<str>, event_id: OwnedEventId, rules: &RoomVersionRules) -> Result<Self, FormatError> {
        let wire: Wire<'_> =
            serde_json::from_str(&json).map_err(|_| FormatError::field("event", "a field has no valid value"))?;
        let names_room = wire.room_id.is_some();
        let room_id = match wire.room_id {
            Some(room_id) => room_id,
            None => room_of_create(&event_id)?,
        };
        let redacts = redacts(&wire.kind, wire.redacts, wire.content, rules);
        let event = Parsed {
            content: wire.content.to_owned(),
            event_id,
            room_id,
            names_room,
            sender: wire.sender,
            kind: wire.kind,
            state_key: wire.state_key.map(Into::into),
            redacts,
            depth: wire.depth,
            origin_server_ts: wire.origin_server_ts,
            edges: OnceLock::new(),
            json,
        };
        Ok(Self { event: Arc::new(event), rejected: false })
    }

    /// The same event with the mark that the auth rules rejected it.
    pub fn with_rejected(mut self, rejected: bool) -> Self {
        self.rejected = rejected;
        self
    }

    /// Whether the auth rules rejected it.
    pub fn rejected(&self) -> bool {
        self.rejected
    }

    /// The canonical text in federation format, with hashes and signatures.
    pub fn json(&self) -> &str {
        &self.event.json
    }

    /// The text as an object. Fails only for a stored text that nothing here has written.
    pub fn to_object(&self) -> Result<CanonicalJsonObject, JsonError> {
        stored_object(self.json().as_bytes())
    }

    /// The event's identifier.
    pub fn event_id(&self) -> &OwnedEventId {
        &self.event.event_id
    }

    /// The room, also for the create event of version 12, which does not name it.
    pub fn room_id(&self) -> &OwnedRoomId {
        &self.event.room_id
    }

    /// Who sent it.
    pub fn sender(&self) -> &OwnedUserId {
        &self.event.sender
    }

    /// Its type.
    pub fn kind(&self) -> &TimelineEventType {
        &self.event.kind
    }

    /// Its state key; `None` for an event that is not state.
    pub fn state_key(&self) -> Option<&str> {
        self.event.state_key.as_deref()
    }

    /// Whether it is the state event of this type and key.
    pub fn is_state(&self, kind: &str, state_key: &str) -> bool {
        self.state_key() == Some(state_key) && self.event.kind.to_string() == kind
    }

    /// Its content as canonical text.
    pub fn content(&self) -> &RawValue {
        &self.event.content
    }

    /// Its content as `T`, for instance a content type of ruma or a struct with the one field that matters.
    pub fn content_as<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.event.content.get())
    }

    /// The membership that an `m.room.member` sets; `None` for every other event, and for one that says none.
    pub fn membership(&self) -> Option<MembershipState> {
        #[derive(Deserialize)]
        struct Content {
            membership: MembershipState,
        }

        if *self.kind() != TimelineEventType::RoomMember {
            return None;
        }
        self.content_as::<Content>().ok().map(|content| content.membership)
    }

    /// The events before it in the graph.
    pub fn prev_events(&self) -> &[OwnedEventId] {
        &self.edges().prev_events
    }

    /// The events that authorise it.
    pub fn auth_events(&self) -> &[OwnedEventId] {
        &self.edges().auth_events
    }

    fn edges(&self) -> &Edges {
        self.event.edges.get_or_init(|| Edges::read(self.json()).expect("read before it was stored"))
    }

    /// What a redaction redacts, from where the room's version has it; `None` for every other event.
    pub fn redacts(&self) -> Option<&OwnedEventId> {
        self.event.redacts.as_ref()
    }

    /// Its distance from the create event, as its server counted. Orders nothing here.
    pub fn depth(&self) -> u64 {
        self.event.depth.into()
    }

    /// When its server says it was made.
    pub fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.event.origin_server_ts
    }
}

impl fmt::Debug for Pdu {
    /// Without the content, which may end in a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Pdu({} {})", self.event.kind, self.event.event_id)
    }
}

impl PartialEq for Pdu {
    fn eq(&self, other: &Self) -> bool {
        self.event.event_id == other.event.event_id
    }
}

impl Eq for Pdu {}

impl Event for Pdu {
    type Id = OwnedEventId;

    fn event_id(&self) -> &Self::Id {
        &self.event.event_id
    }

    fn room_id(&self) -> Option<&RoomId> {
        self.event.names_room.then_some(&*self.event.room_id)
    }

    fn sender(&self) -> &UserId {
        &self.event.sender
    }

    fn origin_server_ts(&self) -> MilliSecondsSinceUnixEpoch {
        self.event.origin_server_ts
    }

    fn event_type(&self) -> &TimelineEventType {
        &self.event.kind
    }

    fn content(&self) -> &RawValue {
        &self.event.content
    }

    fn state_key(&self) -> Option<&str> {
        self.event.state_key.as_deref()
    }

    fn prev_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.edges().prev_events.iter())
    }

    fn auth_events(&self) -> Box<dyn DoubleEndedIterator<Item = &Self::Id> + '_> {
        Box::new(self.edges().auth_events.iter())
    }

    fn redacts(&self) -> Option<&Self::Id> {
        self.event.redacts.as_ref()
    }

    fn rejected(&self) -> bool {
        self.rejected
    }
}

/// The fields that are read out of the text.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(rename = "type", deserialize_with = "event_type::deserialize")]
    kind: TimelineEventType,
    sender: OwnedUserId,
    room_id: Option<OwnedRoomId>,
    #[serde(borrow)]
    state_key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: &'a RawValue,
    depth: UInt,
    origin_server_ts: MilliSecondsSinceUnixEpoch,
    #[serde(borrow)]
    redacts: Option<&'a RawValue>,
}

impl Edges {
    fn read(json: &str) -> serde_json::Result<Self> {
        serde_json::from_str(json)
    }
}

/// The identifier of an event: its reference hash.
pub fn event_id(object: &CanonicalJsonObject, rules: &RoomVersionRules) -> Result<OwnedEventId, FormatError> {
    let hash = reference_hash(object, rules).map_err(|_| FormatError::TooLarge("the event"))?;
    EventId::new_v2_or_v3(&hash).map_err(|_| FormatError::field("event", "cannot be hashed"))
}

/// The room that a create event of version 12 makes.
fn room_of_create(event_id: &EventId) -> Result<OwnedRoomId, FormatError> {
    RoomId::new_v2(event_id.localpart()).map_err(|_| FormatError::field("room_id", "missing"))
}

/// Reads the target of a redaction where the version has it. A target that is no event ID redacts nothing.
fn redacts(
    kind: &TimelineEventType,
    top_level: Option<&RawValue>,
    content: &RawValue,
    rules: &RoomVersionRules,
) -> Option<OwnedEventId> {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        redacts: Option<&'a RawValue>,
    }

    if *kind != TimelineEventType::RoomRedaction {
        return None;
    }
    let target = if rules.redaction.content_field_redacts {
        serde_json::from_str::<Content<'_>>(content.get()).ok()?.redacts
    } else {
        top_level
    };
    serde_json::from_str(target?.get()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Room, message, versions};

    #[test]
    fn what_is_stored_is_read_back() {
        for version in versions() {
            let mut room = Room::new(version);
            room.send(message("creator", json!({ "body": "hello" })));
            for event in &room.events {
                let stored = Pdu::from_stored(event.json().into(), event.event_id().clone(), room.rules).unwrap();
                let received = Pdu::from_json(event.json().as_bytes(), room.rules).unwrap();
                for read in [&stored, &received] {
                    assert_eq!(read, event);
                    assert_eq!(read.room_id(), room.id.as_ref().unwrap());
                    assert_eq!((read.json(), read.content().get()), (event.json(), event.content().get()));
                    assert_eq!((read.state_key(), read.depth()), (event.state_key(), event.depth()));
                    assert_eq!((read.prev_events(), read.auth_events()), (event.prev_events(), event.auth_events()));
                }
            }
        }
    }

    #[test]
    fn the_create_event_of_version_12_makes_the_room_and_names_none() {
        for version in versions() {
            let room = Room::bare(version.clone());
            let create = &room.events[0];
            let is_12 = version == ruma::RoomVersionId::V12;
            assert_eq!(create.json().contains("room_id"), !is_12, "{version}");
            assert_eq!(Event::room_id(create).is_none(), is_12, "{version}");
            let made = create.room_id().strip_sigil() == create.event_id().localpart();
            assert_eq!(made, is_12, "{version}");
        }
    }

    #[test]
    fn nothing_but_a_create_event_does_without_a_room() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        let mut event = room.send(message("creator", json!({}))).to_object().unwrap();
        event.remove("room_id");
        assert!(Pdu::from_object(&event, room.rules).is_err());
    }

    #[test]
    fn what_is_logged_has_no_content() {
        let mut room = Room::new(ruma::RoomVersionId::V11);
        let event = room.send(message("creator", json!({ "body": "hunter2" })));
        assert!(!format!("{event:?}").contains("hunter2"));
    }
}
