//! How much a third-party invite may hold: the auth rules try each of its signatures with each key of the invited.
//!
//! Not here: whether one of them fits, which is [`crate::auth`]'s.
//!
//! Spec: `m.room.member` in the [authorization rules](https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules).

use ruma::events::room::member::MembershipState;
use serde_json::{Map, Value};

use crate::{
    bounds::{MAX_THIRD_PARTY_KEYS, MAX_THIRD_PARTY_SIGNATURES},
    format::FormatError,
    pdu::Pdu,
};

/// Refuses an invite whose signatures, or the keys of the `m.room.third_party_invite` that it goes back to, are more than
/// are to be tried. Every other event passes.
pub fn check_size(member: &Pdu, invited: Option<&Pdu>) -> Result<(), FormatError> {
    if member.membership() != Some(MembershipState::Invite) {
        return Ok(());
    }
    let content = member.content_as::<Value>().unwrap_or_default();
    let signatures = content.pointer("/third_party_invite/signed/signatures").and_then(Value::as_object);
    let signatures = signatures.into_iter().flat_map(Map::values).filter_map(Value::as_object);
    if signatures.map(Map::len).sum::<usize>() > MAX_THIRD_PARTY_SIGNATURES {
        return Err(FormatError::field("third_party_invite", "too many signatures"));
    }
    let keys: Value = invited.and_then(|event| event.content_as().ok()).unwrap_or_default();
    let more = keys.get("public_keys").and_then(Value::as_array).map_or(0, Vec::len);
    if usize::from(keys.get("public_key").is_some()) + more > MAX_THIRD_PARTY_KEYS {
        return Err(FormatError::field("third_party_invite", "goes back to an invite with too many keys"));
    }
    Ok(())
}
