//! The timeline of one room: the newest events of a span that pass the filter and that the viewer may see.

use std::ops::ControlFlow;

use depesche_rules::filter;
use depesche_store::Position;
use ruma::api::client::filter::RoomEventFilter;

use crate::{
    keyspace::{EventNo, RoomNo, TIMELINE},
    records::events::Place,
    rooms::{
        show::Viewer,
        view::{Event, RoomView},
    },
    tx::{Fault, View},
};

/// How many events are looked at, at most, for one that passes: a filter that lets little through ends here, and the
/// timeline is `limited` then.
const LOOKED_AT: usize = 1000;
/// How many of them in one step, at most; once some did not pass, so many. A scan reads as many, and one more, without a
/// thread of its own.
const STEP: usize = 127;

/// A part of a room's timeline.
pub struct Span {
    /// Behind everything at or below this; from the start of the room if `None`.
    pub after: Option<Position>,
    /// Up to before this.
    pub before: Place,
    /// An event that the viewer is shown whatever the rules of visibility say: their own leave.
    pub always: Option<EventNo>,
}

/// What was found of it.
#[derive(Default)]
pub struct Timeline {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Whether there is more before these in the span.
    pub limited: bool,
    /// Where these begin: the oldest event, or if there is none the oldest that was looked at.
    pub first: Option<(Place, EventNo)>,
    /// The oldest event of the span, shown or not, if all of it was looked at.
    pub oldest: Option<EventNo>,
    /// How many bytes they have.
    pub bytes: usize,
}

/// How much of a span is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Most {
    /// So many events.
    pub events: usize,
    /// No event more once they have so many bytes.
    pub bytes: usize,
}

impl Timeline {
    /// The newest events of a span.
    pub async fn read(
        room: &RoomView,
        viewer: &mut Viewer<'_>,
        wanted: &RoomEventFilter,
        span: &Span,
        most: Most,
    ) -> Result<Self, Fault> {
        let mut timeline = Self::default();
        if !filter::section(wanted, room.room_id()) {
            return Ok(timeline);
        }
        let (mut before, mut looked_at, mut oldest) = (span.before, 0, None);
        loop {
            // As long as all that is looked at is shown, no more than is wanted; then no longer row by row.
            let lacking = most.events + 1 - timeline.events.len();
            let page = if timeline.events.len() == looked_at { lacking.min(STEP) } else { STEP };
            let rows = room.timeline_between(span.begin(), before, page).await?;
            let numbers: Vec<_> = rows.iter().filter(|(place, _)| place.back == 0).map(|(_, no)| *no).collect();
            viewer.foresee(&numbers).await?;
            oldest = numbers.last().copied().or(oldest);
            for event in room.stretch(&numbers).await? {
                if timeline.take(viewer, wanted, span, event, most).await?.is_break() {
                    timeline.events.reverse();
                    return Ok(timeline);
                }
            }
            looked_at += rows.len();
            let Some((oldest, no)) = rows.last().filter(|_| rows.len() == page) else { break };
            before = *oldest;
            if looked_at >= LOOKED_AT {
                timeline.limited = true;
                timeline.first.get_or_insert((*oldest, *no));
                break;
            }
        }
        timeline.oldest = oldest.filter(|_| !timeline.limited);
        timeline.events.reverse();
        Ok(timeline)
    }

    /// Takes the next older event if it is one to show. Breaks if there is no room for it.
    async fn take(
        &mut self,
        viewer: &mut Viewer<'_>,
        wanted: &RoomEventFilter,
        span: &Span,
        event: Event,
        most: Most,
    ) -> Result<ControlFlow<()>, Fault> {
        let shown = event.passes(wanted) && (span.always == Some(event.no) || viewer.may_see(&event).await?);
        let is_full = self.events.len() == most.events || (self.bytes >= most.bytes && !self.events.is_empty());
        if shown && is_full {
            self.limited = true;
            return Ok(ControlFlow::Break(()));
        }
        if shown {
            self.first = Some((event.meta.place, event.no));
            self.bytes += event.pdu.json().len();
            self.events.push(event);
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Span {
    /// Whether nothing happened in it.
    pub async fn is_empty(&self, view: &View, room: RoomNo) -> Result<bool, Fault> {
        let key = |place: Place| (room, place.anchor, place.sub, place.back);
        let range = TIMELINE.between(&key(self.begin()), &key(self.before));
        Ok(view.scan(&TIMELINE, range, 1).await?.is_empty())
    }

    fn begin(&self) -> Place {
        self.after.map_or(Place { anchor: Position(0), sub: 0, back: i32::MIN }, RoomView::place_after)
    }
}
