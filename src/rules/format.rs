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

#[cfg(test)]
mod tests {
    use ruma::room_version_rules::RoomVersionRules;
    use serde_json::{Value, json};

    use super::*;
    use crate::{bounds::MAX_INTEGER, json::canonical_text, testing::object};

    fn event() -> Value {
        json!({
            "auth_events": [], "content": {}, "depth": 1, "hashes": {}, "origin_server_ts": 0, "prev_events": [],
            "room_id": "!r:here", "sender": "@a:here", "signatures": {}, "type": "m.room.message",
        })
    }

    fn try_with(field: &str, value: Value, rules: &RoomVersionRules) -> Result<(), FormatError> {
        let mut event = event();
        event[field] = value;
        let event = object(event);
        check(&event, canonical_text(&event).len(), &rules.event_format)
    }

    fn ids(count: usize) -> Value {
        (0..count).map(|n| format!("${n}")).collect()
    }

    #[test]
    fn at_each_limit_and_one_beyond() {
        let rules = &RoomVersionRules::V11;
        let name = |prefix: &str, length: usize| json!(format!("{prefix}{}", "x".repeat(length - prefix.len())));
        let cases = [
            ("type", name("", MAX_EVENT_TYPE_BYTES), name("", MAX_EVENT_TYPE_BYTES + 1)),
            ("state_key", name("", MAX_STATE_KEY_BYTES), name("", MAX_STATE_KEY_BYTES + 1)),
            ("sender", name("@a:", MAX_USER_ID_BYTES), name("@a:", MAX_USER_ID_BYTES + 1)),
            ("room_id", name("!a:", MAX_ROOM_ID_BYTES), name("!a:", MAX_ROOM_ID_BYTES + 1)),
            ("prev_events", ids(MAX_PREV_EVENTS), ids(MAX_PREV_EVENTS + 1)),
            ("auth_events", ids(MAX_AUTH_EVENTS), ids(MAX_AUTH_EVENTS + 1)),
            ("prev_events", json!([name("$", MAX_EVENT_ID_BYTES)]), json!([name("$", MAX_EVENT_ID_BYTES + 1)])),
            ("depth", json!(0), json!(-1)),
            ("depth", json!(MAX_INTEGER), json!("1")),
        ];
        for (field, good, bad) in cases {
            assert_eq!(try_with(field, good, rules), Ok(()), "{field}");
            assert!(try_with(field, bad, rules).is_err(), "{field}");
        }
    }

    #[test]
    fn the_whole_at_its_limit_and_one_beyond() {
        let empty = canonical_text(&object(event())).len();
        let padded = |bytes: usize| json!({ "x": "y".repeat(bytes - empty - "\"x\":\"\"".len()) });
        assert_eq!(try_with("content", padded(MAX_PDU_BYTES), &RoomVersionRules::V12), Ok(()));
        let beyond = try_with("content", padded(MAX_PDU_BYTES + 1), &RoomVersionRules::V12);
        assert_eq!(beyond, Err(FormatError::TooLarge("the event")));
    }

    #[test]
    fn fields_that_are_missing_or_wrong() {
        for field in event().as_object().unwrap().keys() {
            let mut without = event();
            without.as_object_mut().unwrap().remove(field);
            let without = object(without);
            assert!(check(&without, 0, &RoomVersionRules::V11.event_format).is_err(), "{field}");
            assert!(try_with(field, json!(true), &RoomVersionRules::V11).is_err(), "{field}");
        }
        for (field, value) in [
            ("sender", json!("a:here")),
            ("room_id", json!("#r:here")),
            ("prev_events", json!([["$1", {}]])),
            ("auth_events", json!(["1"])),
            ("unsigned", json!([])),
            ("state_key", json!(null)),
        ] {
            assert!(try_with(field, value, &RoomVersionRules::V11).is_err(), "{field}");
        }
    }

    #[test]
    fn in_version_12_nobody_lists_the_create_event() {
        for (id, v11, v12) in [("$r:here", true, false), ("$s", true, true)] {
            assert_eq!(try_with("auth_events", json!([id]), &RoomVersionRules::V11).is_ok(), v11, "{id}");
            assert_eq!(try_with("auth_events", json!([id]), &RoomVersionRules::V12).is_ok(), v12, "{id}");
        }
        let mut create = event();
        create["type"] = json!("m.room.create");
        create.as_object_mut().unwrap().remove("room_id");
        let create = object(create);
        assert!(check(&create, 0, &RoomVersionRules::V11.event_format).is_err());
        assert!(check(&create, 0, &RoomVersionRules::V12.event_format).is_ok());
    }
}
