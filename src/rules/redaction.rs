//! Redaction: what is left of an event, and whether a redaction takes effect.
//!
//! From version 3 on the auth rules let every redaction pass that its sender may send; whether it is *performed* is
//! judged apart, when both events are here.
//!
//! Spec: [redactions](https://spec.matrix.org/v1.19/client-server-api/#redactions),
//! [handling redactions](https://spec.matrix.org/v1.19/rooms/v12/#handling-redactions).

use ruma::{canonical_json, room_version_rules::RoomVersionRules};

use crate::{format::FormatError, json::canonical_text, pdu::Pdu, power_levels::PowerLevels};

/// The event without what its version does not protect. Identifier and signatures stay valid, since both cover the
/// redacted form only.
pub fn redact(event: &Pdu, rules: &RoomVersionRules) -> Result<Pdu, FormatError> {
    let redacted = canonical_json::redact(event.to_object()?, &rules.redaction, None)
        .map_err(|_| FormatError::field("event", "cannot be redacted"))?;
    let pdu = Pdu::from_stored(canonical_text(&redacted).into(), event.event_id().clone(), rules)?;
    Ok(pdu.with_rejected(event.rejected()))
}

/// The event with nothing in its content but what its version protects, and all that stands beside it: before version 11 a
/// redaction names its target there, which [`redact`] takes away.
pub fn empty_content(event: &Pdu, rules: &RoomVersionRules) -> Result<Pdu, FormatError> {
    let mut object = event.to_object()?;
    let content = redact(event, rules)?.to_object()?.remove("content");
    object.extend(content.map(|content| ("content".to_owned(), content)));
    let pdu = Pdu::from_stored(canonical_text(&object).into(), event.event_id().clone(), rules)?;
    Ok(pdu.with_rejected(event.rejected()))
}

/// Whether the redaction is performed on the event it names: its sender reaches the redact level at the redaction, or
/// is of the same server as the event's sender.
pub fn applies(redaction: &Pdu, target: &Pdu, levels_at_redaction: &PowerLevels) -> bool {
    redaction.redacts() == Some(target.event_id())
        && redaction.room_id() == target.room_id()
        && (redaction.sender().server_name() == target.sender().server_name()
            || levels_at_redaction.can_redact_others(redaction.sender()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        bounds::MAX_JSON_DEPTH,
        build::EventDraft,
        client_event::federation_format,
        json::JsonError,
        testing::{Room, member, message, object, state, user, versions},
    };

    fn content(event: &Pdu) -> Value {
        serde_json::from_str(event.content().get()).unwrap()
    }

    #[test]
    fn what_is_left_and_that_the_name_stays() {
        for version in versions() {
            let mut room = Room::new(version.clone());
            let said = room.send(message("creator", json!({ "body": "hello" })));
            let joined = room.send(state(
                "ann",
                "m.room.member",
                "@ann:here",
                json!({ "membership": "join", "displayname": "Ann" }),
            ));
            for (event, left) in [(said, json!({})), (joined, json!({ "membership": "join" }))] {
                let redacted = redact(&event.clone().with_rejected(true), room.rules).unwrap();
                assert_eq!((content(&redacted), redacted.rejected()), (left, true), "{version}");
                assert_eq!(
                    crate::pdu::event_id(&redacted.to_object().unwrap(), room.rules).unwrap(),
                    *event.event_id()
                );
            }
            let create = redact(&room.events[0], room.rules).unwrap();
            let whole = room.rules.redaction.keep_room_create_content;
            assert_eq!(content(&create) == content(&room.events[0]), whole, "{version}");
            assert_eq!(create.room_id(), room.events[0].room_id(), "{version}");
        }
    }

    /// A content of this many levels.
    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }))
    }

    /// The event around the content is a level of its own.
    #[test]
    fn what_is_accepted_however_deep_can_be_redacted_and_shown() {
        for version in versions() {
            let mut room = Room::new(version.clone());
            let deepest = nested(MAX_JSON_DEPTH - 1);
            let event = room.send(message("creator", deepest.clone()));
            assert_eq!(serde_json::to_value(federation_format(&event)).unwrap()["content"], deepest, "{version}");
            assert_eq!(content(&redact(&event, room.rules).unwrap()), json!({}), "{version}");

            let mut deeper = event.to_object().unwrap();
            deeper.insert("content".to_owned(), object(nested(MAX_JSON_DEPTH)).into());
            let refused = Pdu::from_object(&deeper, room.rules);
            assert!(matches!(refused, Err(FormatError::Json(JsonError::TooDeep))), "{version}");
            // Such ones were stored once.
            let stored = canonical_text(&deeper);
            let stored = Pdu::from_stored(stored.into(), event.event_id().clone(), room.rules).unwrap();
            let shown = serde_json::to_value(federation_format(&stored)).unwrap();
            assert_eq!(shown["content"], nested(MAX_JSON_DEPTH), "{version}");
            assert_eq!(content(&redact(&stored, room.rules).unwrap()), json!({}), "{version}");
        }
    }

    #[test]
    fn who_may_take_what_away() {
        let mut room = Room::new(ruma::RoomVersionId::V11);
        for name in ["ann", "bob:there", "eve:there"] {
            room.send(member(name, name, "join"));
        }
        let bobs = room.send(message("bob:there", json!({ "body": "x" })));
        let mut try_by = |name: &str, target: &Pdu| {
            let draft = EventDraft::redaction(user(name), target.event_id().clone(), object(json!({})));
            let redaction = room.send(draft);
            applies(&redaction, target, &room.levels())
        };
        assert!(try_by("bob:there", &bobs), "one's own");
        assert!(try_by("eve:there", &bobs), "of the same server");
        assert!(try_by("creator", &bobs), "by level");
        assert!(!try_by("ann", &bobs), "neither");
        let other = room.send(message("bob:there", json!({ "body": "y" })));
        let redaction = EventDraft::redaction(user("bob:there"), bobs.event_id().clone(), object(json!({})));
        let redaction = room.send(redaction);
        assert!(!applies(&redaction, &other, &room.levels()), "names another");
    }
}
