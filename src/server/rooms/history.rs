//! What a user may read of a room: pages of its timeline, one event with what stands around it, state, members.
//!
//! Who is joined reads the room as it is; who was joined reads it as it was when they went; a world-readable room is
//! read by anyone. What single events show is [`super::show`]'s.

use std::collections::{BTreeSet, HashSet};

use depesche_rules::{bounds::MAX_PAGE_BYTES, pdu::Pdu, visibility};
use depesche_store::Position;
use ruma::{
    EventId, OwnedUserId,
    api::client::filter::RoomEventFilter,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
};
use serde_json::value::RawValue;

use super::{
    show::Viewer,
    shown::{Format, Shown},
    tokens,
    view::{Event, RoomView},
};
use crate::{
    keyspace::EventNo,
    records::{events::Place, rooms::RootRecord},
    tx::Fault,
};

/// Events looked at in one step, at most. So many rows, and one more, a scan reads without a thread of its own.
const STEP: usize = 127;
/// Events that one page looks at, at most: where most are hidden or filtered out, the client asks again.
const LOOKED_AT: usize = 2000;

/// Why something is not shown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadRefusal {
    /// The user is not, and was not, in the room.
    #[error("you are not in this room, and it is not open to everyone")]
    Forbidden,
    /// There is no such event or state, as far as the user may know.
    #[error("there is no such event or state here")]
    NotFound,
    /// A token is not one of ours.
    #[error(transparent)]
    BadToken(#[from] tokens::BadToken),
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A question for a page of the timeline.
pub struct PageQuery<'a> {
    /// Where to begin; the end or the start of the room if `None`.
    pub from: Option<&'a str>,
    /// Where to stop at the latest.
    pub to: Option<&'a str>,
    /// Towards the past, newest first.
    pub backwards: bool,
    /// The most events.
    pub limit: usize,
    /// Which events.
    pub filter: &'a RoomEventFilter,
}

/// A page of the timeline.
pub struct Page {
    /// Where it begins.
    pub start: String,
    /// Where the next one begins; `None` if nothing follows.
    pub end: Option<String>,
    /// The events.
    pub events: Vec<Shown>,
    /// The members who sent them, for clients that load members as they meet them.
    pub state: Vec<Shown>,
}

/// What stands around an event.
pub struct Stretch {
    /// Before the events before.
    pub start: String,
    /// Behind the events after.
    pub end: String,
    /// Those before it, newest first.
    pub before: Vec<Event>,
    /// Those after it, oldest first.
    pub after: Vec<Event>,
}

/// An event and what stands around it.
pub struct Context {
    /// Before the events before.
    pub start: String,
    /// Behind the events after.
    pub end: String,
    /// The event asked for.
    pub event: Box<RawValue>,
    /// Those before it, newest first.
    pub before: Vec<Box<RawValue>>,
    /// Those after it, oldest first.
    pub after: Vec<Box<RawValue>>,
    /// The state behind the last event.
    pub state: Vec<Box<RawValue>>,
}

impl Viewer<'_> {
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

    /// A page of the timeline.
    pub async fn page(&mut self, query: &PageQuery<'_>) -> Result<Page, ReadRefusal> {
        self.readable_root().await?;
        let end_of_room = RoomView::place_after(self.room().view.position());
        let from = match query.from {
            Some(token) => tokens::place(token)?,
            None if query.backwards => end_of_room,
            None => Place::START,
        };
        let to = query.to.map(tokens::place).transpose()?;
        // Who left is not led through all that came later: there is nothing of it to show.
        let seen_from = if query.backwards { from.min(self.horizon().await?) } else { from };
        let (events, end) = self.collect(seen_from, to, query, MAX_PAGE_BYTES).await?;
        let state =
            if query.filter.lazy_load_options.is_disabled() { Vec::new() } else { self.senders(&events).await? };
        let state = self.shown(&state, Format::WithRoom).await?;
        Ok(Page {
            start: query.from.map_or_else(|| from.to_string(), str::to_owned),
            end: end.map(|place| place.to_string()),
            events: self.shown(&events, Format::WithRoom).await?,
            state,
        })
    }

    /// The events above a position, oldest first, as far as the viewer may read, and up to which position these are all:
    /// at least about as many as asked for, and those of one commit together.
    pub(crate) async fn since(&mut self, after: Position, limit: usize) -> Result<(Vec<Event>, Position), ReadRefusal> {
        self.readable_root().await?;
        let filter = &RoomEventFilter::default();
        let query = |limit| PageQuery { from: None, to: None, backwards: false, limit, filter };
        let (mut events, cut) = self.collect(RoomView::place_after(after), None, &query(limit), MAX_PAGE_BYTES).await?;
        let mut through = self.room().view.position();
        if let Some(at) = cut {
            through = at.anchor;
            // A commit has its bound.
            let behind = Some(RoomView::place_after(through));
            let rest = self.collect(at, behind, &query(usize::MAX), usize::MAX).await?;
            events.extend(rest.0);
        }
        Ok((events, through))
    }

    /// Visible, wanted events from a place on, until they have `bytes`, and where to go on.
    async fn collect(
        &mut self,
        from: Place,
        to: Option<Place>,
        query: &PageQuery<'_>,
        bytes: usize,
    ) -> Result<(Vec<Event>, Option<Place>), Fault> {
        let horizon = self.horizon().await?;
        if to.is_some_and(|to| if query.backwards { to >= from } else { to <= from }) {
            return Ok((Vec::new(), None));
        }
        if query.limit == 0 {
            return Ok((Vec::new(), Some(from)));
        }
        let (mut at, mut found, mut looked_at, mut left) = (from, Vec::new(), 0, bytes);
        loop {
            if !query.backwards && at >= horizon {
                return Ok((found, None));
            }
            // As long as all that is looked at is shown, no more than is wanted.
            let wanted = if found.len() == looked_at { query.limit - found.len() } else { STEP };
            let step = wanted.clamp(1, STEP);
            let rows = if query.backwards {
                self.room().timeline_before(at, step).await?
            } else {
                self.room().timeline_from(at, step).await?
            };
            let last_step = rows.len() < step;
            let within = |place: Place| to.is_none_or(|to| if query.backwards { place >= to } else { place < to });
            let kept: Vec<_> = rows.iter().copied().take_while(|(place, _)| within(*place)).collect();
            let stopped = kept.len() < rows.len();
            let numbers: Vec<_> = kept.iter().map(|(_, no)| *no).collect();
            self.foresee(&numbers).await?;
            let events = self.room().stretch(&numbers).await?;
            for ((place, _), event) in kept.into_iter().zip(events) {
                at = if query.backwards { place } else { place.next() };
                if event.passes(query.filter) && self.may_see(&event).await? {
                    left = left.saturating_sub(event.pdu.json().len());
                    found.push(event);
                    if found.len() >= query.limit || left == 0 {
                        return Ok((found, Some(at)));
                    }
                }
            }
            looked_at += step;
            if stopped {
                // There is more, though not for this question; whoever asks on from there has it all.
                return Ok((found, to.filter(|to| *to != from)));
            }
            if last_step {
                return Ok((found, None));
            }
            if looked_at >= LOOKED_AT {
                return Ok((found, Some(at)));
            }
        }
    }

    /// The membership events of those who sent these events, as they were before the first of these.
    async fn senders(&self, events: &[Event]) -> Result<Vec<Event>, Fault> {
        let mut seen = HashSet::new();
        let mut members = Vec::new();
        for event in events {
            if !seen.insert(event.pdu.sender().clone()) {
                continue;
            }
            let root = self.room().root_before(event.no).await?;
            let member = self.room().state_event(root, "m.room.member", event.pdu.sender().as_str()).await?;
            members.extend(member);
        }
        Ok(members)
    }

    /// One event, if the viewer may see it. Of ignored users there is none but state.
    pub async fn event(&mut self, id: &EventId) -> Result<Event, ReadRefusal> {
        let event = self.known_event(id).await?;
        if self.is_spared(&event).await? { Err(ReadRefusal::NotFound) } else { Ok(event) }
    }

    /// One event of the history that is open to the viewer, whomever they ignore: to be asked about, not to be shown.
    pub(crate) async fn known_event(&mut self, id: &EventId) -> Result<Event, ReadRefusal> {
        if self.own().is_some_and(|own| own.forgotten) {
            // Who forgot a room sees of it what a stranger does.
            self.readable_root().await.map_err(|refusal| match refusal {
                ReadRefusal::Forbidden => ReadRefusal::NotFound,
                other => other,
            })?;
        }
        let no = self.room().event_no(id).await?.ok_or(ReadRefusal::NotFound)?;
        let event = self.room().event(no).await?;
        if self.may_know(&event).await? { Ok(event) } else { Err(ReadRefusal::NotFound) }
    }

    /// An event with at most `limit` events around it.
    pub async fn context(
        &mut self,
        id: &EventId,
        limit: usize,
        filter: &RoomEventFilter,
    ) -> Result<Context, ReadRefusal> {
        self.readable_root().await?;
        let event = self.event(id).await?;
        let Stretch { start, end, before, after } =
            self.around(&event, (limit / 2, limit - limit / 2), filter, MAX_PAGE_BYTES).await?;
        let last = after.last().unwrap_or(&event);
        let root = self.room().root_after(last.no).await?;
        let mut state = if filter.lazy_load_options.is_disabled() {
            self.room().events(&self.state_below(root).await?).await?
        } else {
            let others = self.room().state_without_members(root).await?;
            let others: Vec<_> = others.into_iter().map(|(_, event)| event).collect();
            let mut state = self.room().events(&others).await?;
            let around = before.iter().chain([&event]).chain(&after);
            for sender in around.map(|event| event.pdu.sender()).collect::<BTreeSet<_>>() {
                state.extend(self.room().state_event(root, "m.room.member", sender.as_str()).await?);
            }
            state
        };
        state.retain(|event| event.passes(filter));
        Ok(Context {
            start,
            end,
            before: self.show(&before, Format::WithRoom).await?,
            after: self.show(&after, Format::WithRoom).await?,
            event: self.show_one(&event, Format::WithRoom).await?,
            state: self.show(&state, Format::WithRoom).await?,
        })
    }

    /// At most so many visible, wanted events before and after one that the viewer may see, on each side until they have
    /// `bytes`.
    pub async fn around(
        &mut self,
        event: &Event,
        (before, after): (usize, usize),
        filter: &RoomEventFilter,
        bytes: usize,
    ) -> Result<Stretch, Fault> {
        let place = event.meta.place;
        let query = |backwards, limit| PageQuery { from: None, to: None, backwards, limit, filter };
        let (before, start) = match before {
            0 => (Vec::new(), Some(place)),
            most => self.collect(place, None, &query(true, most), bytes).await?,
        };
        let (after, end) = match after {
            0 => (Vec::new(), Some(place.next())),
            most => self.collect(place.next(), None, &query(false, most), bytes).await?,
        };
        let end = end.unwrap_or_else(|| RoomView::place_after(self.room().view.position()));
        Ok(Stretch { start: start.unwrap_or(Place::START).to_string(), end: end.to_string(), before, after })
    }

    /// The whole state that the viewer may read.
    pub async fn state(&mut self) -> Result<Vec<Box<RawValue>>, ReadRefusal> {
        let root = self.readable_root().await?;
        let events = self.room().events(&self.state_below(root).await?).await?;
        Ok(self.show(&events, Format::WithRoom).await?)
    }

    async fn state_below(&self, root: RootRecord) -> Result<Vec<EventNo>, Fault> {
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
}
