//! The form an event must have to be an event at all: fields, their types, their sizes.
//!
//! The first of the checks on receipt; what fails is dropped, not rejected. Also the last check on what we build, which
//! is why too large is told apart from malformed: a client learns `M_TOO_LARGE`. Applies to room versions 3 to 12.
//!
//! Spec: [checks on receipt](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu),
//! [size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits),
//! event format of the [room versions](https://spec.matrix.org/v1.19/rooms/v12/#event-format-1).

use ruma::{CanonicalJsonObject, CanonicalJsonValue, RoomId, UserId, room_version_rules::EventFormatRules};

use crate::{
    bounds::{
        MAX_AUTH_EVENTS, MAX_EVENT_ID_BYTES, MAX_EVENT_TYPE_BYTES, MAX_PDU_BYTES, MAX_PREV_EVENTS, MAX_ROOM_ID_BYTES,
        MAX_STATE_KEY_BYTES, MAX_USER_ID_BYTES,
    },
    json::JsonError,
};

/// Why something is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not canonical JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Larger than [`MAX_PDU_BYTES`], or a field longer than its limit (`M_TOO_LARGE`).
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// A field is missing, has the wrong type or no valid value (`M_BAD_JSON`).
    #[error("{field}: {problem}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it; quotes nothing of the event.
        problem: &'static str,
    },
}

impl FormatError {
    pub(crate) fn field(field: &'static str, problem: &'static str) -> Self {
        Self::Field { field, problem }
    }
}

/// Checks an event whose canonical text has `text_bytes` bytes, signatures included.
pub fn check(event: &CanonicalJsonObject, text_bytes: usize, rules: &EventFormatRules) -> Result<(), FormatError> {
    if text_bytes > MAX_PDU_BYTES {
        return Err(FormatError::TooLarge("the event"));
    }
    let kind = required_string(event, "type", MAX_EVENT_TYPE_BYTES)?;
    let sender = required_string(event, "sender", MAX_USER_ID_BYTES)?;
    if <&UserId>::try_from(sender).is_err() {
        return Err(FormatError::field("sender", "not a user ID"));
    }
    string(event, "state_key", MAX_STATE_KEY_BYTES)?;
    check_room_and_references(event, kind, rules)?;
    non_negative(event, "depth")?;
    non_negative(event, "origin_server_ts")?;
    object(event, "content")?;
    object(event, "hashes")?;
    object(event, "signatures")?;
    if event.contains_key("unsigned") {
        object(event, "unsigned")?;
    }
    Ok(())
}

/// `room_id`, `prev_events` and `auth_events`, which depend on each other from version 12 on: the create event *is* the
/// room ID, so it has none and nobody lists it.
fn check_room_and_references(
    event: &CanonicalJsonObject,
    kind: &str,
    rules: &EventFormatRules,
) -> Result<(), FormatError> {
    let room_id = if kind == "m.room.create" && !rules.require_room_create_room_id {
        string(event, "room_id", MAX_ROOM_ID_BYTES)?
    } else {
        Some(required_string(event, "room_id", MAX_ROOM_ID_BYTES)?)
    };
    if room_id.is_some_and(|id| <&RoomId>::try_from(id).is_err()) {
        return Err(FormatError::field("room_id", "not a room ID"));
    }
    references(event, "prev_events", MAX_PREV_EVENTS)?;
    let auth_events = references(event, "auth_events", MAX_AUTH_EVENTS)?;
    let create = room_id.and_then(|id| id.strip_prefix('!'));
    if !rules.allow_room_create_in_auth_events
        && auth_events.iter().any(|id| id.as_str().and_then(|id| id.strip_prefix('$')) == create && create.is_some())
    {
        return Err(FormatError::field("auth_events", "must not have the create event"));
    }
    Ok(())
}

fn string<'a>(event: &'a CanonicalJsonObject, field: &'static str, max: usize) -> Result<Option<&'a str>, FormatError> {
    match event.get(field) {
        None => Ok(None),
        Some(CanonicalJsonValue::String(value)) if value.len() > max => Err(FormatError::TooLarge(field)),
        Some(CanonicalJsonValue::String(value)) => Ok(Some(value)),
        Some(_) => Err(FormatError::field(field, "not a string")),
    }
}

fn required_string<'a>(
    event: &'a CanonicalJsonObject,
    field: &'static str,
    max: usize,
) -> Result<&'a str, FormatError> {
    string(event, field, max)?.ok_or(FormatError::field(field, "missing"))
}

fn references<'a>(
    event: &'a CanonicalJsonObject,
    field: &'static str,
    max: usize,
) -> Result<&'a [CanonicalJsonValue], FormatError> {
    let Some(CanonicalJsonValue::Array(ids)) = event.get(field) else {
        return Err(FormatError::field(field, "missing or not an array"));
    };
    if ids.len() > max {
        return Err(FormatError::field(field, "too many"));
    }
    for id in ids {
        let id = id.as_str().ok_or(FormatError::field(field, "not an array of strings"))?;
        if id.len() > MAX_EVENT_ID_BYTES {
            return Err(FormatError::TooLarge(field));
        }
        if !id.starts_with('$') {
            return Err(FormatError::field(field, "not an event ID"));
        }
    }
    Ok(ids)
}

fn non_negative(event: &CanonicalJsonObject, field: &'static str) -> Result<(), FormatError> {
    match event.get(field) {
        Some(CanonicalJsonValue::Integer(value)) if i64::from(*value) >= 0 => Ok(()),
        Some(CanonicalJsonValue::Integer(_)) => Err(FormatError::field(field, "negative")),
        _ => Err(FormatError::field(field, "missing or not an integer")),
    }
}

fn object(event: &CanonicalJsonObject, field: &'static str) -> Result<(), FormatError> {
    match event.get(field) {
        Some(CanonicalJsonValue::Object(_)) => Ok(()),
        _ => Err(FormatError::field(field, "missing or not an object")),
    }
}
