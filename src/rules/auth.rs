//! Whether an event is allowed: selection of auth events, the auth rules, hash and signatures.
//!
//! The rules themselves are ruma's; this module gives them our error and our event. On receipt, in this order:
//! [`verify`] (drop on error), [`check_state_independent`] once, [`check_state_dependent`] with the state of the auth
//! events, with the state before the event (reject on error), and with the current state (soft-fail on error).
//!
//! Spec: [checks on receipt](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu),
//! [auth rules](https://spec.matrix.org/v1.19/server-server-api/#authorization-rules).

use std::collections::BTreeSet;

use ruma::{
    CanonicalJsonObject, EventId, OwnedServerName, OwnedUserId, UserId,
    canonical_json::redact,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
    signatures::{PublicKeyMap, Verified, required_server_signatures_to_verify_event, verify_event},
    state_res,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{bounds::MAX_USER_ID_BYTES, pdu::Pdu};

/// The auth rules said no; holds the rule in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Reject(String);

impl Reject {
    pub(crate) fn new(rule: impl Into<String>) -> Self {
        Self(rule.into())
    }
}

/// Which state entries authorise an event, by the auth events selection. In version 12 the create event is not among
/// them: the room ID stands for it.
pub fn auth_types(
    kind: &TimelineEventType,
    sender: &UserId,
    state_key: Option<&str>,
    content: &RawValue,
    rules: &RoomVersionRules,
) -> Result<Vec<(StateEventType, String)>, Reject> {
    state_res::auth_types_for_event(kind, sender, state_key, content, &rules.authorization).map_err(Reject)
}

/// As [`auth_types`], of a whole event.
pub fn auth_types_of(event: &Pdu, rules: &RoomVersionRules) -> Result<Vec<(StateEventType, String)>, Reject> {
    auth_types(event.kind(), event.sender(), event.state_key(), event.content(), rules)
}

/// The rules that need only the event and its auth events. `fetch_event` must know every one of them, and in version 12
/// the create event too.
pub fn check_state_independent(
    event: &Pdu,
    rules: &RoomVersionRules,
    fetch_event: impl Fn(&EventId) -> Option<Pdu>,
) -> Result<(), Reject> {
    state_res::check_state_independent_auth_rules(&rules.authorization, event, fetch_event).map_err(Reject)?;
    check_creators(event, rules)
}

/// "The same user ID validation applied to `sender`" holds for each additional creator. ruma's has no limit of length as
/// this server uses it.
fn check_creators(event: &Pdu, rules: &RoomVersionRules) -> Result<(), Reject> {
    #[derive(Deserialize)]
    struct Content {
        #[serde(default)]
        additional_creators: Vec<OwnedUserId>,
    }

    if !rules.authorization.additional_room_creators || *event.kind() != TimelineEventType::RoomCreate {
        return Ok(());
    }
    let content: Content = event.content_as().map_err(|why| Reject::new(why.to_string()))?;
    if content.additional_creators.iter().any(|user| user.as_str().len() > MAX_USER_ID_BYTES) {
        return Err(Reject::new("an additional creator has a user ID that is too long"));
    }
    Ok(())
}

/// The rules that judge the event by a state of the room. `fetch_state` answers for the entries of [`auth_types`] and
/// for the create event, in every version.
pub fn check_state_dependent(
    event: &Pdu,
    rules: &RoomVersionRules,
    fetch_state: impl Fn(&StateEventType, &str) -> Option<Pdu>,
) -> Result<(), Reject> {
    state_res::check_state_dependent_auth_rules(&rules.authorization, event, fetch_state).map_err(Reject)
}

/// Whether the rules look into events of this type, or treat them in a way of their own. Of all others that are no state
/// they ask for type and sender alone: two of them in the same state are both allowed, or neither is.
pub fn looks_into(kind: &TimelineEventType) -> bool {
    matches!(
        kind,
        TimelineEventType::RoomCreate
            | TimelineEventType::RoomMember
            | TimelineEventType::RoomPowerLevels
            | TimelineEventType::RoomRedaction
            | TimelineEventType::RoomThirdPartyInvite
    ) || kind.to_string() == "m.room.aliases"
}

/// The servers whose signatures [`verify`] will ask for, so that their keys can be fetched first.
pub fn required_signatures(
    event: &CanonicalJsonObject,
    rules: &RoomVersionRules,
) -> Result<BTreeSet<OwnedServerName>, Reject> {
    required_server_signatures_to_verify_event(event, &rules.signatures).map_err(|error| Reject(error.to_string()))
}

/// Verifies the signatures and the content hash of a received event. Returns the event to go on with: as it came, or
/// redacted if the hash does not match. The keys must be valid at the event's time, which the caller sees to where
/// `rules.enforce_key_validity` says so.
pub fn verify(
    event: CanonicalJsonObject,
    keys: &PublicKeyMap,
    rules: &RoomVersionRules,
) -> Result<CanonicalJsonObject, Reject> {
    match verify_event(keys, &event, rules).map_err(|error| Reject(error.to_string()))? {
        Verified::All => Ok(event),
        Verified::Signatures => redact(event, &rules.redaction, None).map_err(|error| Reject(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::json;

    use super::*;
    use crate::testing::{Room, member, message, server, state, user, versions};

    #[test]
    fn who_may_do_what_in_every_version() {
        for version in versions() {
            let mut room = Room::new(version.clone());
            assert!(room.try_send(message("ann", json!({}))).is_err(), "{version}: not joined");
            room.send(member("ann", "ann", "join"));
            room.send(message("ann", json!({})));
            assert!(room.try_send(state("ann", "m.room.topic", "", json!({}))).is_err(), "{version}: state needs 50");
            assert!(room.try_send(member("ann", "creator", "leave")).is_err(), "{version}: kicks upwards");
            room.send(member("creator", "ann", "ban"));
            assert!(room.try_send(member("ann", "ann", "join")).is_err(), "{version}: banned");
            let knock = room.try_send(state("ben", "m.room.member", "@ben:here", json!({ "membership": "knock" })));
            assert!(knock.is_err(), "{version}: a public room is not knocked at");
        }
    }

    #[test]
    fn the_create_event_is_among_the_auth_events_until_version_11() {
        for version in versions() {
            let mut room = Room::new(version.clone());
            let event = room.send(message("creator", json!({})));
            let listed = event.auth_events().contains(room.events[0].event_id());
            assert_eq!(listed, version != RoomVersionId::V12, "{version}");
            let types = auth_types_of(&event, room.rules).unwrap();
            assert_eq!(types.len(), event.auth_events().len());
        }
    }

    #[test]
    fn a_changed_content_is_redacted_and_a_changed_sender_refused() {
        let mut room = Room::new(RoomVersionId::V12);
        let event = room.send(message("creator", json!({ "body": "hello" })));
        let keys = room.key.public_key_map(server());
        assert!(required_signatures(&event.to_object().unwrap(), room.rules).unwrap().iter().eq([server()]));

        let mut changed = event.to_object().unwrap();
        changed.insert("content".to_owned(), crate::testing::object(json!({ "body": "bye" })).into());
        let kept = verify(changed, &keys, room.rules).unwrap();
        assert!(kept["content"].as_object().unwrap().is_empty());
        assert_eq!(crate::pdu::event_id(&kept, room.rules).unwrap(), *event.event_id());

        let mut forged = event.to_object().unwrap();
        forged.insert("sender".to_owned(), user("ann").to_string().into());
        assert!(verify(forged, &keys, room.rules).is_err());
        assert!(verify(event.to_object().unwrap(), &PublicKeyMap::new(), room.rules).is_err());
    }

    #[test]
    fn an_additional_creator_has_an_id_of_at_most_255_bytes() {
        for version in versions() {
            let room = Room::bare(version.clone());
            let creator = |bytes: usize| format!("@{}:here", "a".repeat(bytes - "@:here".len()));
            for (bytes, is_long) in [(MAX_USER_ID_BYTES, false), (MAX_USER_ID_BYTES + 1, true)] {
                let mut create = room.events[0].to_object().unwrap();
                let ruma::CanonicalJsonValue::Object(content) = create.get_mut("content").unwrap() else { panic!() };
                let others = ruma::CanonicalJsonValue::Array(vec![creator(bytes).into()]);
                content.insert("additional_creators".to_owned(), others);
                let create = Pdu::from_object(&create, room.rules).unwrap();
                let refused = check_state_independent(&create, room.rules, |_| None).is_err();
                assert_eq!(refused, is_long && version == RoomVersionId::V12, "{version}: {bytes}");
            }
        }
    }

    #[test]
    fn an_auth_event_that_was_rejected_or_is_not_known_rejects() {
        let mut room = Room::new(RoomVersionId::V11);
        let event = room.send(message("creator", json!({})));
        let fetch = |id: &EventId| room.event(id);
        assert_eq!(check_state_independent(&event, room.rules, fetch), Ok(()));
        assert!(check_state_independent(&event, room.rules, |_| None).is_err());
        let rejected = |id: &EventId| room.event(id).map(|event| event.with_rejected(true));
        assert!(check_state_independent(&event, room.rules, rejected).is_err());
    }
}
