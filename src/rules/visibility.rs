//! Which events of a room a user may see, and which state stands for a room that the user is not in.
//!
//! Spec: [history visibility](https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-5),
//! [stripped state](https://spec.matrix.org/v1.19/client-server-api/#stripped-state).

use ruma::events::{
    StateEventType,
    room::{history_visibility::HistoryVisibility, member::MembershipState},
};
use serde::Deserialize;

use crate::pdu::Pdu;

/// What is known about an event and a user, to decide whether the one may see the other.
#[derive(Clone, Debug)]
pub struct Sight {
    /// `m.room.history_visibility` in the state before the event.
    pub visibility: HistoryVisibility,
    /// If the event is itself the room's `m.room.history_visibility`: what it sets.
    pub visibility_after: Option<HistoryVisibility>,
    /// The user's membership in the state before the event.
    pub membership: MembershipState,
    /// If the event is the user's own `m.room.member`: what it sets.
    pub membership_after: Option<MembershipState>,
    /// Whether the user joined at any time after the event, and be it only once and long ago.
    pub joined_later: bool,
}

impl Sight {
    /// Whether the user may see the event.
    pub fn allows(&self) -> bool {
        let visibilities = [Some(&self.visibility), self.visibility_after.as_ref()];
        let memberships = [Some(&self.membership), self.membership_after.as_ref()];
        visibilities
            .into_iter()
            .flatten()
            .any(|visibility| memberships.into_iter().flatten().any(|membership| self.rule(visibility, membership)))
    }

    /// The five rules of the specification for one visibility and one membership.
    fn rule(&self, visibility: &HistoryVisibility, membership: &MembershipState) -> bool {
        match (visibility, membership) {
            (HistoryVisibility::WorldReadable, _)
            | (_, MembershipState::Join)
            | (HistoryVisibility::Invited, MembershipState::Invite) => true,
            (HistoryVisibility::Invited | HistoryVisibility::Joined, _) => false,
            // `shared`, and every value that is not understood.
            _ => self.joined_later,
        }
    }
}

/// The visibility that a state entry sets; `shared` if there is none or it is not understood.
pub fn history_visibility(event: Option<&Pdu>) -> HistoryVisibility {
    #[derive(Deserialize)]
    struct Content {
        history_visibility: HistoryVisibility,
    }

    let content = event.and_then(|event| event.content_as::<Content>().ok());
    match content.map(|content| content.history_visibility) {
        Some(
            known @ (HistoryVisibility::Invited
            | HistoryVisibility::Joined
            | HistoryVisibility::Shared
            | HistoryVisibility::WorldReadable),
        ) => known,
        _ => HistoryVisibility::Shared,
    }
}

/// The membership that a state entry sets; `leave` if there is none.
pub fn membership(event: Option<&Pdu>) -> MembershipState {
    event.and_then(Pdu::membership).unwrap_or(MembershipState::Leave)
}

/// The state that an invited or knocking user, or the directory, is shown of a room; all with an empty state key. An
/// invite or knock adds the user's own member event, and the create event must be there.
pub const STRIPPED_STATE: [StateEventType; 7] = [
    StateEventType::RoomCreate,
    StateEventType::RoomName,
    StateEventType::RoomAvatar,
    StateEventType::RoomTopic,
    StateEventType::RoomJoinRules,
    StateEventType::RoomCanonicalAlias,
    StateEventType::RoomEncryption,
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Room, member, state};

    fn sight(visibility: &str, membership: &str, joined_later: bool) -> Sight {
        Sight {
            visibility: visibility.into(),
            visibility_after: None,
            membership: membership.into(),
            membership_after: None,
            joined_later,
        }
    }

    #[test]
    fn an_ordinary_event() {
        // Visibility; then for join, invite, leave, ban, knock: seen if never joined later, and if joined later.
        let table = [
            ("world_readable", [[true; 2]; 5]),
            ("shared", [[true; 2], [false, true], [false, true], [false, true], [false, true]]),
            ("what?", [[true; 2], [false, true], [false, true], [false, true], [false, true]]),
            ("invited", [[true; 2], [true; 2], [false; 2], [false; 2], [false; 2]]),
            ("joined", [[true; 2], [false; 2], [false; 2], [false; 2], [false; 2]]),
        ];
        for (visibility, row) in table {
            for (membership, expected) in ["join", "invite", "leave", "ban", "knock"].into_iter().zip(row) {
                for (joined_later, expected) in [false, true].into_iter().zip(expected) {
                    let allowed = sight(visibility, membership, joined_later).allows();
                    assert_eq!(allowed, expected, "{visibility} {membership} {joined_later}");
                }
            }
        }
    }

    #[test]
    fn a_change_of_visibility_is_seen_by_whoever_either_side_allows() {
        for (before, after, expected) in [
            ("world_readable", "joined", true),
            ("joined", "world_readable", true),
            ("joined", "invited", false),
            ("joined", "shared", false),
        ] {
            let sight = Sight { visibility_after: Some(after.into()), ..sight(before, "leave", false) };
            assert_eq!(sight.allows(), expected, "{before} {after}");
        }
    }

    #[test]
    fn ones_own_membership_is_seen_if_either_side_allows() {
        for (visibility, before, after, expected) in [
            ("joined", "leave", "join", true),
            ("joined", "join", "leave", true),
            ("joined", "join", "ban", true),
            ("joined", "leave", "invite", false),
            ("invited", "leave", "invite", true),
            ("invited", "invite", "leave", true),
            ("joined", "leave", "ban", false),
        ] {
            let sight = Sight { membership_after: Some(after.into()), ..sight(visibility, before, false) };
            assert_eq!(sight.allows(), expected, "{visibility} {before} {after}");
        }
    }

    #[test]
    fn what_is_not_said_or_not_understood() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        assert_eq!(history_visibility(None), HistoryVisibility::Shared);
        for (value, expected) in [
            (json!({ "history_visibility": "joined" }), HistoryVisibility::Joined),
            (json!({ "history_visibility": "org.example" }), HistoryVisibility::Shared),
            (json!({ "history_visibility": 1 }), HistoryVisibility::Shared),
            (json!({}), HistoryVisibility::Shared),
        ] {
            let event = room.send(state("creator", "m.room.history_visibility", "", value));
            assert_eq!(history_visibility(Some(&event)), expected);
            assert_eq!(membership(Some(&event)), MembershipState::Leave);
        }
        let invite = room.send(member("creator", "ann", "invite"));
        assert_eq!((membership(Some(&invite)), membership(None)), (MembershipState::Invite, MembershipState::Leave));
    }
}
