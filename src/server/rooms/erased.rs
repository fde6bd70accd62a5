//! What is shown of who asked for erasure with the end of their account.
//!
//! Who comes to a room after that is served what they said without its content; who could read it before still can. What
//! they set for the room stays whole: it is the room's, and an encrypted one must not look otherwise to who joins.
//!
//! Nothing in the room says that somebody asked for it. Their account does, and as it leaves all rooms with it, the room
//! as they left it says who was there before.
//!
//! Spec: [deactivation](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate), `erase`.

use std::{collections::BTreeSet, slice::from_ref};

use depesche_rules::pdu::Pdu;
use ruma::{
    UserId,
    events::{TimelineEventType, room::member::MembershipState},
};

use super::{show::Viewer, view::Event};
use crate::{keyspace::ACCOUNT, records::rooms::RootRecord, tx::Fault};

impl Viewer<'_> {
    /// The event as the viewer may have it: without its content's unprotected part if it was redacted or erased.
    pub async fn served(&mut self, event: &Event) -> Result<Pdu, Fault> {
        if event.meta.facts.redacted_by.is_some() || self.is_erased(event).await? {
            return self.room().without_content(&event.pdu);
        }
        Ok(event.pdu.clone())
    }

    /// Whether an event is shown without its content because its sender asked for that before the viewer came.
    pub async fn is_erased(&mut self, event: &Event) -> Result<bool, Fault> {
        if !self.may_be_erased(event).await? {
            return Ok(false);
        }
        self.foresee_erased(from_ref(event)).await?;
        match self.erased.get(event.pdu.sender()).copied().flatten() {
            Some(left_behind) => Ok(self.membership_at(left_behind).await? != MembershipState::Join),
            None => Ok(false),
        }
    }

    /// Asks in one step which senders of these events asked for erasure. Of events at which the viewer was in the room
    /// nothing is asked.
    pub(super) async fn foresee_erased(&mut self, events: &[Event]) -> Result<(), Fault> {
        let mut unknown = BTreeSet::new();
        for event in events {
            if self.may_be_erased(event).await? && !self.erased.contains_key(event.pdu.sender()) {
                unknown.insert((event.pdu.sender().clone(),));
            }
        }
        let unknown: Vec<_> = unknown.into_iter().collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let accounts = self.room().view.get_many(&ACCOUNT, &unknown).await?;
        for ((user,), account) in unknown.into_iter().zip(accounts) {
            let left_behind = match account {
                Some(account) if account.erased => self.left_behind(&user).await?,
                _ => None,
            };
            self.erased.insert(user, left_behind);
        }
        Ok(())
    }

    /// The state in which a user was last in the room.
    async fn left_behind(&self, user: &UserId) -> Result<Option<RootRecord>, Fault> {
        let Some(member) = self.room().membership(user).await? else { return Ok(None) };
        let stay = self.room().last_stay(user, member.event).await?;
        let departure = stay.map_or(member.event, |stay| stay.departure);
        self.room().root_before(departure).await.map(Some)
    }

    /// Whether it matters at all if an event's sender asked for erasure: not where the viewer was in the room as it came.
    async fn may_be_erased(&mut self, event: &Event) -> Result<bool, Fault> {
        if !is_personal(&event.pdu) {
            return Ok(false);
        }
        let root = self.root_before(event.no).await?;
        Ok(self.membership_at(root).await? != MembershipState::Join)
    }
}

/// Whether an event is what its sender says, of anything or of themselves, and not what they set for the room.
fn is_personal(pdu: &Pdu) -> bool {
    match pdu.state_key() {
        None => true,
        Some(key) => *pdu.kind() == TimelineEventType::RoomMember && key == pdu.sender().as_str(),
    }
}
