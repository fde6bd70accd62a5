//! Which room versions this server has, and their rules.
//!
//! Versions 6 to 12 are offered as stable. 3 to 5 work and are offered as unstable: the JSON encoding of their events is
//! not fully specified, and they should take numbers that canonical JSON has not, such as floats, which this server
//! refuses in every version. 1 and 2 name events by an identifier that their server chooses, and 1 has a state resolution of
//! its own: they are not offered, and a request for one is `M_UNSUPPORTED_ROOM_VERSION`.
//!
//! Spec: <https://spec.matrix.org/v1.19/rooms/>.

use ruma::{RoomVersionId, room_version_rules::RoomVersionRules};

/// How a version is announced in `GET /capabilities`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Fully specified.
    Stable,
    /// Usable, not recommended for new rooms.
    Unstable,
}

/// Every version this server can create, join and resolve, oldest first.
pub const SUPPORTED: [(RoomVersionId, Stability); 10] = [
    (RoomVersionId::V3, Stability::Unstable),
    (RoomVersionId::V4, Stability::Unstable),
    (RoomVersionId::V5, Stability::Unstable),
    (RoomVersionId::V6, Stability::Stable),
    (RoomVersionId::V7, Stability::Stable),
    (RoomVersionId::V8, Stability::Stable),
    (RoomVersionId::V9, Stability::Stable),
    (RoomVersionId::V10, Stability::Stable),
    (RoomVersionId::V11, Stability::Stable),
    (RoomVersionId::V12, Stability::Stable),
];

/// The rules of a version; `None` if this server does not support it.
pub fn room_version_rules(version: &RoomVersionId) -> Option<&'static RoomVersionRules> {
    Some(match version {
        RoomVersionId::V3 => &RoomVersionRules::V3,
        RoomVersionId::V4 => &RoomVersionRules::V4,
        RoomVersionId::V5 => &RoomVersionRules::V5,
        RoomVersionId::V6 => &RoomVersionRules::V6,
        RoomVersionId::V7 => &RoomVersionRules::V7,
        RoomVersionId::V8 => &RoomVersionRules::V8,
        RoomVersionId::V9 => &RoomVersionRules::V9,
        RoomVersionId::V10 => &RoomVersionRules::V10,
        RoomVersionId::V11 => &RoomVersionRules::V11,
        RoomVersionId::V12 => &RoomVersionRules::V12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_announced_version_has_rules_and_no_other() {
        for (version, _) in &SUPPORTED {
            assert!(room_version_rules(version).is_some(), "{version}");
        }
        for other in ["1", "2", "13", "org.example.custom", ""] {
            assert!(RoomVersionId::try_from(other).ok().as_ref().and_then(room_version_rules).is_none(), "{other}");
        }
    }

    #[test]
    fn events_of_every_supported_version_are_named_by_their_hash() {
        for (version, _) in &SUPPORTED {
            let rules = room_version_rules(version).unwrap();
            assert!(!rules.event_format.require_event_id, "{version}");
            assert!(rules.state_res.v2_rules().is_some(), "{version}");
        }
    }
}
