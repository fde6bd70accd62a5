//! The state of a room as a viewer may read it: all of it, one event, the members; as it is, or as it was.
//!
//! Who is joined reads the room as it is; who was joined reads it as it was when they went; a world-readable room is
//! read by anyone. Pages of the timeline and single events are [`super::history`]'s.

use depesche_rules::{pdu::Pdu, visibility};
use ruma::{
    OwnedUserId,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
};
use serde_json::value::RawValue;

use super::{history::ReadRefusal, show::Viewer, shown::Format, tokens, view::Event};
use crate::{
    keyspace::EventNo,
    records::{events::Place, rooms::RootRecord},
    tx::Fault,
};

impl Viewer<'_> {
    /// The whole state that the viewer may read.
    pub async fn state(&mut self) -> Result<Vec<Box<RawValue>>, ReadRefusal> {
        let root = self.readable_root().await?;
        let events = self.room().events(&self.state_below(root).await?).await?;
        Ok(self.show(&events, Format::WithRoom).await?)
    }

    /// The events below a root.
    pub(super) async fn state_below(&self, root: RootRecord) -> Result<Vec<EventNo>, Fault> {
        Ok(self.room().state_all(root).await?.into_iter().map(|(_, event)| event).collect())
    }

    /// One state event that the viewer may read.
    pub async fn state_event(&mut self, kind: &str, state_key: &str) -> Result<Event, ReadRefusal> {
        let root = self.readable_root().await?;
        self.room().state_event(root, kind, state_key).await?.ok_or(ReadRefusal::NotFound)
    }

    /// The membership events of a room, now or at a token: of one membership, of all but one, or (with both) of those
    /// that are either.
    pub async fn members(
        &mut self,
        at: Option<&str>,
        only: Option<&MembershipState>,
        not: Option<&MembershipState>,
    ) -> Result<Vec<Box<RawValue>>, ReadRefusal> {
        let readable = self.readable_root().await?;
        let root = match at {
            Some(token) => self.readable_root_at(tokens::place(token)?).await?,
            None => readable,
        };
        let members = self.room().member_events(root).await?;
        let wanted: Vec<Event> = members
            .into_iter()
            .filter(|event| {
                let membership = visibility::membership(Some(&event.pdu));
                match (only, not) {
                    (None, None) => true,
                    _ => only.is_some_and(|only| membership == *only) || not.is_some_and(|not| membership != *not),
                }
            })
            .collect();
        Ok(self.show(&wanted, Format::WithRoom).await?)
    }

    /// Who is joined, with what can be read of the membership event. Only for who is joined.
    pub async fn joined(&mut self) -> Result<Vec<(OwnedUserId, Pdu)>, ReadRefusal> {
        if self.own().is_none_or(|own| own.state != MembershipState::Join) {
            return Err(ReadRefusal::Forbidden);
        }
        let members = self.room().member_events(self.room().root()).await?;
        let mut joined = Vec::with_capacity(members.len());
        for event in members {
            let user = event.pdu.state_key().and_then(|user| OwnedUserId::try_from(user).ok());
            let is_joined = visibility::membership(Some(&event.pdu)) == MembershipState::Join;
            if let Some(user) = user.filter(|_| is_joined) {
                joined.push((user, self.room().readable(event)?));
            }
        }
        Ok(joined)
    }

    /// The state that the viewer may read: as it is for who is joined, as it was for who went.
    pub async fn readable_root(&mut self) -> Result<RootRecord, ReadRefusal> {
        let (membership, was_joined) = match self.own().filter(|own| !own.forgotten) {
            Some(own) => (Some((own.state.clone(), own.event)), own.was_joined),
            None => (None, false),
        };
        match membership {
            Some((MembershipState::Join, _)) => Ok(self.room().root()),
            Some((_, event)) if was_joined => match self.room().last_stay(self.user(), event).await? {
                Some(stay) => Ok(self.room().root_after(stay.departure).await?),
                None => self.open_root().await,
            },
            _ => self.open_root().await,
        }
    }

    /// The state, as the room shows it to everyone.
    pub(super) async fn open_root(&self) -> Result<RootRecord, ReadRefusal> {
        let root = self.room().root();
        let visibility = self.room().state_event(root, "m.room.history_visibility", "").await?;
        match visibility::history_visibility(visibility.as_ref().map(|event| &event.pdu)) {
            HistoryVisibility::WorldReadable => Ok(root),
            _ => Err(ReadRefusal::Forbidden),
        }
    }

    /// The state at a place, for a viewer who may read the room: who left sees none from after that.
    async fn readable_root_at(&mut self, place: Place) -> Result<RootRecord, ReadRefusal> {
        let left = self.own().filter(|own| !own.forgotten && own.was_joined && own.state != MembershipState::Join);
        let place = match left.map(|own| own.event) {
            Some(newest) => match self.room().last_stay(self.user(), newest).await? {
                Some(stay) => place.min(self.behind(stay.departure).await?),
                None => return Err(ReadRefusal::Forbidden),
            },
            None => place,
        };
        if !self.may_know_state_at(place).await? {
            return Err(ReadRefusal::Forbidden);
        }
        Ok(self.room().root_at_place(place).await?)
    }

    /// Whether the state at a place is in the part of the history that is open to the viewer: an event on either side
    /// of it is. Of the one behind it because `/sync` tells who joined the state before the first event it shows, with a
    /// token for just that place.
    async fn may_know_state_at(&mut self, place: Place) -> Result<bool, Fault> {
        let before = self.room().timeline_before(place, 1).await?;
        let after = self.room().timeline_from(place, 1).await?;
        // Before the room's first event there is no state to tell.
        let mut may = before.is_empty();
        for (_, no) in before.into_iter().chain(after) {
            may = may || self.may_know(&self.room().event(no).await?).await?;
        }
        Ok(may)
    }
}
