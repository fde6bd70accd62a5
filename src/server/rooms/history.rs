//! What a user may read of a room's history: pages of its timeline, one event, what stands around it.
//!
//! Who may read the room at all is decided in [`super::viewed_state`], what single events show in [`super::show`]. What one
//! question looks at is bounded, and its answer says where to go on.

use std::collections::{BTreeSet, HashSet};

use depesche_rules::bounds::MAX_PAGE_BYTES;
use depesche_store::Position;
use ruma::{EventId, OwnedUserId, api::client::filter::RoomEventFilter};
use serde_json::value::RawValue;

use super::{
    show::Viewer,
    shown::{Format, Shown},
    tokens,
    view::{Event, RoomView},
};
use crate::{
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

/// What is behind the events of one step.
enum Behind {
    /// There is more on the way.
    More,
    /// There is more, though not for this question.
    Unasked,
    /// The end of the timeline.
    Nothing,
}

impl Viewer<'_> {
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
        while query.backwards || at < horizon {
            // As long as all that is looked at is shown, no more than is wanted.
            let wanted = if found.len() == looked_at { query.limit - found.len() } else { STEP };
            let most = wanted.clamp(1, STEP);
            let (events, behind) = self.step(at, to, query.backwards, most).await?;
            for (place, event) in events {
                at = if query.backwards { place } else { place.next() };
                if event.passes(query.filter) && self.may_see(&event).await? {
                    left = left.saturating_sub(event.pdu.json().len());
                    found.push(event);
                    if found.len() >= query.limit || left == 0 {
                        return Ok((found, Some(at)));
                    }
                }
            }
            looked_at += most;
            match behind {
                // Whoever asks on from there has it all.
                Behind::Unasked => return Ok((found, to.filter(|to| *to != from))),
                Behind::Nothing => return Ok((found, None)),
                Behind::More if looked_at >= LOOKED_AT => return Ok((found, Some(at))),
                Behind::More => {}
            }
        }
        Ok((found, None))
    }

    /// The next events with their places, at most `most` and none beyond `to`, and what is behind them.
    async fn step(
        &mut self,
        at: Place,
        to: Option<Place>,
        backwards: bool,
        most: usize,
    ) -> Result<(Vec<(Place, Event)>, Behind), Fault> {
        let rows = if backwards {
            self.room().timeline_before(at, most).await?
        } else {
            self.room().timeline_from(at, most).await?
        };
        let within = |place: Place| to.is_none_or(|to| if backwards { place >= to } else { place < to });
        let asked = rows.iter().take_while(|(place, _)| within(*place)).count();
        let behind = if asked < rows.len() {
            Behind::Unasked
        } else if rows.len() < most {
            Behind::Nothing
        } else {
            Behind::More
        };
        let (places, numbers): (Vec<_>, Vec<_>) = rows.into_iter().take(asked).unzip();
        self.foresee(&numbers).await?;
        let events = self.room().stretch(&numbers).await?;
        Ok((places.into_iter().zip(events).collect(), behind))
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
        let shown = before.iter().chain([&event]).chain(&after);
        let mut state = if filter.lazy_load_options.is_disabled() {
            self.room().events(&self.state_below(root).await?).await?
        } else {
            self.state_to_show(root, shown.map(|event| event.pdu.sender()).collect()).await?
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

    /// Of the state below a root what is needed to show the events of these users.
    async fn state_to_show(&self, root: RootRecord, senders: BTreeSet<&OwnedUserId>) -> Result<Vec<Event>, Fault> {
        let others = self.room().state_without_members(root).await?;
        let others: Vec<_> = others.into_iter().map(|(_, event)| event).collect();
        let mut state = self.room().events(&others).await?;
        for sender in senders {
            state.extend(self.room().state_event(root, "m.room.member", sender.as_str()).await?);
        }
        Ok(state)
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
}
