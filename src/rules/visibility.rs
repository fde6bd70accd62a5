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
