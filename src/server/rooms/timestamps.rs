//! The event closest to a time: `/timestamp_to_event`.
//!
//! The timeline is in the order in which this server took the events, and that is the order of their times as far as
//! clocks agree. So the place is found by halving, and among its neighbours the closest is taken. It costs the logarithm
//! of the timeline.
//!
//! Spec: [`timestamp_to_event`](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidtimestamp_to_event).

use depesche_store::Position;
use ruma::{MilliSecondsSinceUnixEpoch, OwnedEventId};

use super::{
    history::ReadRefusal,
    show::Viewer,
    view::{Event, RoomView},
};
use crate::{keyspace::EventNo, records::events::Place, tx::Fault};

/// Neighbours on either side of the place that are compared: clocks that were set, and events that came late.
const NEIGHBOURS: usize = 64;
/// Events looked at in one step on the way to one that the viewer may see.
const STEP: usize = 64;
/// Events looked at for one that the viewer may see, at most.
const LOOKED_AT: usize = 1000;

impl Viewer<'_> {
    /// The visible event at or after a time (at or before it, if `backwards`) that is closest to it.
    pub async fn event_near(
        &mut self,
        time: MilliSecondsSinceUnixEpoch,
        backwards: bool,
    ) -> Result<(OwnedEventId, MilliSecondsSinceUnixEpoch), ReadRefusal> {
        self.readable_root().await?;
        let place = self.first_from(time).await?;
        let mut near = self.room().timeline_before(place, NEIGHBOURS).await?;
        near.extend(self.room().timeline_from(place, NEIGHBOURS).await?);
        if let Some(found) = self.closest(&near, time, backwards).await? {
            return Ok(found);
        }
        // What is near is hidden: on in the direction asked for.
        let mut at = place;
        for _ in 0..LOOKED_AT / STEP {
            let rows = if backwards {
                self.room().timeline_before(at, STEP).await?
            } else {
                self.room().timeline_from(at, STEP).await?
            };
            if let Some(found) = self.closest(&rows, time, backwards).await? {
                return Ok(found);
            }
            let Some((last, _)) = rows.last().filter(|_| rows.len() == STEP) else { break };
            at = if backwards { *last } else { last.next() };
        }
        Err(ReadRefusal::NotFound)
    }

    /// Of these events, the visible one on the right side of a time that is closest to it; of several, the first in the
    /// direction.
    async fn closest(
        &mut self,
        rows: &[(Place, EventNo)],
        time: MilliSecondsSinceUnixEpoch,
        backwards: bool,
    ) -> Result<Option<(OwnedEventId, MilliSecondsSinceUnixEpoch)>, Fault> {
        let numbers: Vec<_> = rows.iter().map(|(_, no)| *no).collect();
        self.foresee(&numbers).await?;
        let mut events = self.room().events(&numbers).await?;
        let right = |event: &Event| {
            let at = event.pdu.origin_server_ts();
            if backwards { at <= time } else { at >= time }
        };
        events.retain(right);
        events.sort_by_key(|event| (event.pdu.origin_server_ts(), event.meta.place));
        if backwards {
            events.reverse();
        }
        for event in events {
            if self.may_see(&event).await? {
                return Ok(Some((event.pdu.event_id().clone(), event.pdu.origin_server_ts())));
            }
        }
        Ok(None)
    }

    /// The place of the first event at or after a time, if all clocks agreed.
    async fn first_from(&mut self, time: MilliSecondsSinceUnixEpoch) -> Result<Place, Fault> {
        let room = self.room();
        let (mut low, mut high) = (0, RoomView::place_after(room.view.position()).anchor.0);
        // Everything before `low` is earlier, everything from `high` on is not.
        while low < high {
            let middle = low.midpoint(high);
            let place = Place { anchor: Position(middle), sub: 0, back: i32::MIN };
            let Some((found, no)) = room.timeline_from(place, 1).await?.pop() else {
                high = middle;
                continue;
            };
            if room.event(no).await?.pdu.origin_server_ts() < time {
                low = found.anchor.0 + 1;
            } else {
                high = middle;
            }
        }
        Ok(Place { anchor: Position(low), sub: 0, back: i32::MIN })
    }
}
