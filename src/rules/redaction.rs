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
    let redacted = canonical_json::redact(event.to_object(), &rules.redaction, None)
        .map_err(|_| FormatError::field("event", "cannot be redacted"))?;
    let pdu = Pdu::from_stored(canonical_text(&redacted).into(), event.event_id().clone(), rules)?;
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
