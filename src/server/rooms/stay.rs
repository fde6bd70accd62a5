//! When somebody was last in a room, by their membership events.
//!
//! Invites and refusals since then are followed back, one by one and not without end: who went so long ago that it cannot
//! be found is answered like one who never was in the room.

use depesche_rules::visibility;
use ruma::{UserId, events::room::member::MembershipState};

use super::view::RoomView;
use crate::{keyspace::EventNo, tx::Fault};

/// The most membership events that are followed back from the newest.
pub(crate) const MEMBERSHIPS: usize = 500;

/// The last time that somebody, who is not in the room, was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stay {
    /// The last event that says they are in.
    pub joined: EventNo,
    /// The one by which they went.
    pub departure: EventNo,
}

impl RoomView {
    /// The last stay of a user whose newest membership event, this one, says they are not in the room. `None` if they
    /// never were, as far as is looked.
    pub async fn last_stay(&self, user: &UserId, newest: EventNo) -> Result<Option<Stay>, Fault> {
        let mut departure = newest;
        for _ in 0..MEMBERSHIPS {
            let before = self.root_before(departure).await?;
            let Some(earlier) = self.state_event(before, "m.room.member", user.as_str()).await? else { break };
            if visibility::membership(Some(&earlier.pdu)) == MembershipState::Join {
                return Ok(Some(Stay { joined: earlier.no, departure }));
            }
            departure = earlier.no;
        }
        Ok(None)
    }
}
