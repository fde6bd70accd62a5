//! What all rooms of one answer have in common: the question, and how much of the answer is used up.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
};

use depesche_rules::{bounds, filter};
use depesche_store::{Mutex, Position};
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt, UserId,
    api::client::filter::{FilterDefinition, LazyLoadOptions},
    events::room::member::MembershipState,
};

use super::membership;
use crate::{
    keyspace::RoomNo,
    records::rooms::Membership,
    rooms::{show::Viewer, unread::Counter, view::RoomView},
    sync::{
        Request,
        delta::Want,
        session::Own,
        shape::Shape,
        timeline::{Most, Span, Timeline},
    },
    tx::Fault,
};

/// What all rooms of an answer have in common.
pub struct Asked<'a> {
    /// Who asks for what.
    pub request: &'a Request,
    /// What the client has; `None` if nothing.
    pub since: Option<Position>,
    /// The client has something else than what is so now: it is told everything, and to forget what it had.
    pub anew: bool,
    pub(super) counter: &'a Counter,
    /// What the user's account data mean for every room.
    pub own: &'a Own,
    pub(super) shape: Shape,
    limit: usize,
    pub(super) want: Want,
    /// With lazy loading: whether to say again what was said.
    pub(super) redundant: bool,
    now: MilliSecondsSinceUnixEpoch,
    /// Bytes of timelines that are in the answer already.
    shown: AtomicUsize,
    /// Rooms in which something was said since, and whose state is as it was.
    unchanged: Mutex<BTreeSet<RoomNo>>,
}

impl<'a> Asked<'a> {
    /// From a request. `most` bounds the events of a timeline.
    pub fn new(
        request: &'a Request,
        since: Option<Position>,
        now: MilliSecondsSinceUnixEpoch,
        most: usize,
        (counter, own): (&'a Counter, &'a Own),
    ) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX).min(bounds::MAX_SYNC_TIMELINE_LIMIT);
        let wanted = &request.filter.room.timeline;
        // The specification wants more than 0; clients that say 0 want no events.
        let none = wanted.limit.is_some_and(|limit| limit == UInt::MIN);
        let limit = filter::limit(wanted, bounds::DEFAULT_SYNC_TIMELINE_LIMIT.min(most), most);
        let (lazy, redundant) = match request.filter.room.state.lazy_load_options {
            LazyLoadOptions::Disabled => (false, true),
            LazyLoadOptions::Enabled { include_redundant_members } => (true, include_redundant_members),
        };
        Self {
            request,
            since,
            counter,
            own,
            anew: false,
            shape: Shape::new(&request.filter, now),
            limit: if none { 0 } else { limit as usize },
            want: Want { after: request.use_state_after, lazy },
            redundant,
            now,
            shown: AtomicUsize::new(0),
            unchanged: Mutex::default(),
        }
    }

    /// The newest events of a span, as many as the request asks for, within what fits into the answer.
    pub(super) async fn timeline(
        &self,
        room: &RoomView,
        viewer: &mut Viewer<'_>,
        span: &Span,
    ) -> Result<Timeline, Fault> {
        let most = Most { events: self.limit, bytes: self.left().min(bounds::MAX_PAGE_BYTES) };
        let timeline = Timeline::read(room, viewer, &self.filter().room.timeline, span, most).await?;
        self.count(timeline.bytes);
        Ok(timeline)
    }

    /// How many bytes of timelines still fit into the answer.
    pub(super) fn left(&self) -> usize {
        bounds::MAX_SYNC_BYTES.saturating_sub(self.shown.load(Ordering::Relaxed))
    }

    /// Counts bytes that a timeline has in the answer.
    pub(super) fn count(&self, bytes: usize) {
        self.shown.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What the client wants to see.
    pub(super) fn filter(&self) -> &FilterDefinition {
        &self.request.filter
    }

    /// Who asks.
    pub(super) fn user(&self) -> &UserId {
        &self.request.user
    }

    /// Who asks, as a viewer of a room.
    pub(super) fn viewer<'r>(&self, room: &'r RoomView, member: &Membership) -> Viewer<'r> {
        let (user, device) = (self.request.user.clone(), Some(self.request.device.clone()));
        Viewer::of(room, user, device, self.now, Some(member.clone())).ignoring(&self.own.ignored)
    }

    /// Notes that the state of a room is as it was at the token.
    pub(super) fn note_unchanged(&self, room: RoomNo) {
        self.unchanged.lock().insert(room);
    }

    /// Of the rooms that were looked at, those whose state has not changed since the token.
    pub fn unchanged(&self) -> BTreeSet<RoomNo> {
        self.unchanged.lock().clone()
    }

    /// Up to where the client knows the room: the position of its token, if the user was joined there.
    pub async fn known(&self, room: &RoomView, member: &Membership) -> Result<Option<Position>, Fault> {
        let Some(since) = self.since else { return Ok(None) };
        // A row from before the token says what was so at the token.
        let joined = if member.position <= since.0 {
            member.state == MembershipState::Join
        } else {
            membership(room, room.root_at(since).await?, self.user()).await? == MembershipState::Join
        };
        Ok(joined.then_some(since))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ruma::presence::PresenceState;
    use serde_json::json;

    use super::*;
    use crate::testing::{Fixture, user};

    #[tokio::test]
    async fn the_timelines_of_an_answer_have_so_many_bytes_and_each_room_one_event() {
        let server = Fixture::new();
        let alice = user("alice");
        let id = server.room(&alice).await;
        for body in ["one", "two", "three"] {
            server.say(&id, &alice, body).await;
        }
        let room = server.rooms.find(&id).await.unwrap().unwrap();
        let member = room.membership(&alice).await.unwrap().unwrap();
        let filter: FilterDefinition = serde_json::from_value(json!({})).unwrap();
        let request = Request {
            user: alice.clone(),
            device: "PHONE".into(),
            filter,
            since: None,
            full_state: false,
            timeout: Duration::ZERO,
            use_state_after: false,
            set_presence: PresenceState::Offline,
        };
        let counter = Counter::default();
        let own = Own { reader: counter.reader(&room.view, &alice).await.unwrap(), ignored: BTreeSet::new() };
        let span = Span { after: None, before: RoomView::place_after(room.view.position()), always: None };
        // How many events a timeline has that is made behind so many bytes, and how many bytes there are then.
        let behind = async |bytes: usize| {
            let asked = Asked::new(&request, None, server.base.now(), 1000, (&counter, &own));
            asked.shown.store(bytes, Ordering::Relaxed);
            let timeline = asked.timeline(&room, &mut asked.viewer(&room, &member), &span).await.unwrap();
            (timeline.events.len(), asked.shown.load(Ordering::Relaxed))
        };
        let newest = behind(bounds::MAX_SYNC_BYTES).await.1 - bounds::MAX_SYNC_BYTES;
        assert!(newest > 100, "{newest}: the bytes are counted");
        for (left, events) in [(0, 1), (newest, 1), (newest + 1, 2)] {
            assert_eq!(behind(bounds::MAX_SYNC_BYTES - left).await.0, events, "{left} left");
        }
        assert_eq!(behind(bounds::MAX_SYNC_BYTES + newest).await.0, 1);
        assert!(behind(0).await.0 > 5);
    }
}
