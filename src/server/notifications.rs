//! What a user was notified of, newest first, in all rooms the user is in.
//!
//! Nothing of it is stored: the user's rules of today run on the newest events of the rooms, which are walked as one
//! list. What has one place in all rooms is the commit position, so that is their order, and the token of a page.
//!
//! Spec: [listing notifications](https://spec.matrix.org/v1.19/client-server-api/#listing-notifications).

#[cfg(test)]
mod tests;

use std::{
    cmp::Ordering,
    collections::{BTreeSet, BinaryHeap, VecDeque},
};

use depesche_rules::push::{self, EventFields};
use depesche_store::MAX_SCAN;
use ruma::{
    DeviceId, OwnedRoomId, OwnedUserId, UInt, UserId,
    events::room::member::MembershipState,
    push::{Action, Ruleset},
};
use serde_json::value::RawValue;

use crate::{
    Base, Fault, account_data,
    keyspace::{EventNo, MEMBER, RoomNo},
    push_rules,
    records::{
        events::{Place, Status},
        rooms::Membership,
    },
    rooms::{
        push::{Context, concerns},
        show::Viewer,
        shown::Format,
        tokens::{self, BadToken},
        unread,
        view::{Event, RoomView},
    },
    sync::stripped,
    tx::{Pages, View},
};

/// Events of one room read in one step.
const STEP: usize = 16;
/// Events that one page looks at, at most: where most do not notify, the client asks again.
const LOOKED_AT: usize = 1000;
/// Bytes of events that one page looks at; then, too, the client asks again.
const LOOKED_AT_BYTES: usize = 4 << 20;
/// Events judged before others have a turn: rules may be many, and events long.
const AT_ONCE: usize = 8;

/// Which notifications.
pub struct Query<'a> {
    /// Whose.
    pub user: &'a UserId,
    /// On which device, which is told its own transaction ids.
    pub device: &'a DeviceId,
    /// Where to go on; the newest if `None`.
    pub from: Option<&'a str>,
    /// How many at most.
    pub limit: usize,
    /// Only highlights.
    pub highlights: bool,
}

/// An event that notified.
pub struct Notification {
    /// What the deciding rule says.
    pub actions: Vec<Action>,
    /// The event, without the room's id.
    pub event: Box<RawValue>,
    /// Whether the user has read it.
    pub read: bool,
    /// The room.
    pub room: OwnedRoomId,
    /// When the event was sent, in milliseconds.
    pub ts: UInt,
}

/// A page of notifications.
pub struct Page {
    /// Newest first.
    pub notifications: Vec<Notification>,
    /// Where the next one begins, if there may be more.
    pub next: Option<String>,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum NotificationsError {
    /// The token is not one of ours.
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A page of what a user was notified of.
pub async fn page(base: &Base, query: &Query<'_>) -> Result<Page, NotificationsError> {
    let view = base.view();
    let from = query.from.map(tokens::place).transpose()?.unwrap_or_else(|| RoomView::place_after(view.position()));
    let ignored = account_data::ignored_users(&view, query.user).await?;
    let rules = Rules { rules: push_rules::of(&view, query.user).await?.rules, ignored };
    let mut rooms = BinaryHeap::new();
    for (count, (no, member)) in of_interest(&view, query.user).await?.into_iter().enumerate() {
        if count % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let room = match member.state {
            MembershipState::Invite => {
                Walked::invited(&view, no, member.event, from, query.user, &rules.ignored).await?
            }
            _ => Walked::new(&view, no, from).await?,
        };
        rooms.extend(room);
    }
    let (mut notifications, mut last, mut bytes) = (Vec::new(), None, 0);
    for looked_at in 0..LOOKED_AT {
        if notifications.len() == query.limit || bytes > LOOKED_AT_BYTES {
            break;
        }
        if looked_at % AT_ONCE == AT_ONCE - 1 {
            tokio::task::yield_now().await;
        }
        let Some(mut room) = rooms.pop() else { break };
        let Some((place, no)) = room.ahead.pop_front() else { continue };
        last = Some(place);
        let event = room.room.event(no).await?;
        let notification = room.notification(base, query, &rules, &event).await?;
        bytes += notification.as_ref().map_or(event.pdu.json().len(), |shown| shown.event.get().len());
        notifications.extend(notification);
        if !room.ahead.is_empty() || room.fill().await? {
            rooms.push(room);
        }
    }
    let next = last.filter(|_| !rooms.is_empty()).map(|place| place.to_string());
    Ok(Page { notifications, next })
}

/// What a user wants to hear, and of whom not.
struct Rules {
    rules: Ruleset,
    ignored: BTreeSet<OwnedUserId>,
}

/// A room whose timeline is walked back.
struct Walked {
    room: RoomView,
    /// Its next events, newest first.
    ahead: VecDeque<(Place, EventNo)>,
    /// Before which to read on.
    at: Place,
    /// How many to read next: one to begin with, since most rooms have no part in a page.
    step: usize,
    context: Option<Context>,
}

impl Walked {
    /// A room that the user is in; `None` if nothing is in it before a place.
    async fn new(view: &View, no: RoomNo, from: Place) -> Result<Option<Self>, Fault> {
        let room = RoomView::open(view, no).await?;
        let mut room = Self { room, ahead: VecDeque::new(), at: from, step: 1, context: None };
        Ok(if room.fill().await? { Some(room) } else { None })
    }

    /// A room that the user is invited to: all they may know of it is the invite.
    async fn invited(
        view: &View,
        no: RoomNo,
        invite: EventNo,
        from: Place,
        user: &UserId,
        ignored: &BTreeSet<OwnedUserId>,
    ) -> Result<Option<Self>, Fault> {
        let room = RoomView::open(view, no).await?;
        let event = room.event(invite).await?;
        let place = event.meta.place;
        if place >= from || stripped::is_hidden(&room, user, &event, ignored).await? {
            return Ok(None);
        }
        Ok(Some(Self { room, ahead: [(place, invite)].into(), at: Place::START, step: 1, context: None }))
    }

    /// Reads on. Says whether there was more.
    async fn fill(&mut self) -> Result<bool, Fault> {
        self.ahead = self.room.timeline_before(self.at, self.step).await?.into();
        self.step = STEP;
        if let Some((place, _)) = self.ahead.back() {
            self.at = *place;
        }
        Ok(!self.ahead.is_empty())
    }

    /// The notification of an event, if it was one to this user.
    async fn notification(
        &mut self,
        base: &Base,
        query: &Query<'_>,
        rules: &Rules,
        event: &Event,
    ) -> Result<Option<Notification>, Fault> {
        let facts = &event.meta.facts;
        if event.pdu.sender() == query.user
            || rules.ignored.contains(event.pdu.sender())
            || facts.status != Status::Accepted
            || facts.redacted_by.is_some()
        {
            return Ok(None);
        }
        if self.context.is_none() {
            self.context = Some(Context::of(&self.room).await?);
        }
        let Some(context) = &self.context else { return Ok(None) };
        let condition = context.for_user(query.user, &rules.rules).await?;
        let outcome = push::outcome(&rules.rules, &EventFields::new(&event.pdu), &condition);
        let wanted = outcome.notify && (outcome.highlight || !query.highlights);
        if !wanted || !concerns(&self.room, event, query.user).await? {
            return Ok(None);
        }
        let viewer = Viewer::new(&self.room, query.user.to_owned(), Some(query.device.to_owned()), base.now());
        let mut viewer = viewer.await?;
        // An invite is theirs to know, whatever else of the room is.
        let is_invite = event.pdu.is_state("m.room.member", query.user.as_str());
        if !is_invite && !viewer.may_see(event).await? {
            return Ok(None);
        }
        Ok(Some(Notification {
            actions: outcome.actions.to_vec(),
            read: unread::is_read(&self.room, query.user, event).await?,
            ts: event.pdu.origin_server_ts().0,
            event: viewer.show_one(event, Format::WithoutRoom).await?,
            room: self.room.room_id().to_owned(),
        }))
    }

    /// What orders rooms: where their next event stands.
    fn front(&self) -> Option<Place> {
        self.ahead.front().map(|(place, _)| *place)
    }
}

impl Ord for Walked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.front().cmp(&other.front())
    }
}

impl PartialOrd for Walked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Walked {
    fn eq(&self, other: &Self) -> bool {
        self.front() == other.front()
    }
}

impl Eq for Walked {}

/// The rooms a user is in or invited to.
async fn of_interest(view: &View, user: &UserId) -> Result<Vec<(RoomNo, Membership)>, Fault> {
    let mut rooms = Pages::new(&MEMBER, MEMBER.under(&(user.to_owned(),)), MAX_SCAN);
    let mut found = Vec::new();
    while let Some(rows) = rooms.next(view).await? {
        let rows = rows.into_iter().map(|((_, room), member)| (room, member));
        let current = rows.filter(|(_, row)| matches!(row.state, MembershipState::Join | MembershipState::Invite));
        found.extend(current);
    }
    Ok(found)
}
