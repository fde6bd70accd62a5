//! The timeline of a room: which events stand before, behind and between places. What they say is not read here.

use depesche_store::Position;

use super::{RUN, RoomView};
use crate::{
    keyspace::{EventNo, META, RoomNo, TIMELINE},
    records::events::Place,
    tx::Fault,
};

impl RoomView {
    /// At most `limit` events at or after a place, oldest first.
    pub async fn timeline_from(&self, from: Place, limit: usize) -> Result<Vec<(Place, EventNo)>, Fault> {
        let rows = self.view.scan(&TIMELINE, TIMELINE.from(&(self.no,), &self.timeline_key(from)), limit).await?;
        Ok(stands(rows))
    }

    /// At most `limit` events before a place, newest first.
    pub async fn timeline_before(&self, before: Place, limit: usize) -> Result<Vec<(Place, EventNo)>, Fault> {
        if limit >= RUN
            && let Some(rows) = self.run_before(before, limit).await?
        {
            return Ok(rows);
        }
        self.steps_before(before, limit).await
    }

    async fn steps_before(&self, before: Place, limit: usize) -> Result<Vec<(Place, EventNo)>, Fault> {
        let range = TIMELINE.before(&(self.no,), &self.timeline_key(before));
        Ok(stands(self.view.scan_back(&TIMELINE, range, limit).await?))
    }

    /// As [`Self::steps_before`], read forwards: for each step backwards the engine searches its write buffer, and a step
    /// forwards is a fraction of that. Events mostly stand in the order of their numbers, so where to begin is guessed by
    /// those; `None` where the guess is wrong.
    async fn run_before(&self, before: Place, limit: usize) -> Result<Option<Vec<(Place, EventNo)>>, Fault> {
        let newest = if before >= Self::place_after(self.view.position()) {
            self.head.next_event.saturating_sub(1)
        } else {
            self.steps_before(before, 1).await?.first().map_or(0, |(_, no)| *no)
        };
        let oldest = newest.saturating_sub(EventNo::try_from(limit - 1).unwrap_or(EventNo::MAX)).max(1);
        let Some(oldest) = self.view.get(&META, &(self.no, oldest)).await? else { return Ok(None) };
        if oldest.place >= before {
            return Ok(None);
        }
        let range = TIMELINE.between(&self.timeline_key(oldest.place), &self.timeline_key(before));
        let mut rows = stands(self.view.scan(&TIMELINE, range, limit + 1).await?);
        if rows.is_empty() || rows.len() > limit {
            return Ok(None);
        }
        rows.reverse();
        if rows.len() < limit {
            rows.extend(self.steps_before(oldest.place, limit - rows.len()).await?);
        }
        Ok(Some(rows))
    }

    /// At most `limit` events from a place on and before another, newest first.
    pub async fn timeline_between(
        &self,
        from: Place,
        before: Place,
        limit: usize,
    ) -> Result<Vec<(Place, EventNo)>, Fault> {
        let range = TIMELINE.between(&self.timeline_key(from), &self.timeline_key(before));
        if limit < RUN {
            return Ok(stands(self.view.scan_back(&TIMELINE, range, limit).await?));
        }
        if from == Place::START {
            return self.timeline_before(before, limit).await;
        }
        // Mostly there are few, and forwards they are read for less.
        let mut rows = stands(self.view.scan(&TIMELINE, range, limit).await?);
        if rows.len() < limit {
            rows.reverse();
            return Ok(rows);
        }
        rows = self.timeline_before(before, limit).await?;
        rows.retain(|(place, _)| *place >= from);
        Ok(rows)
    }

    /// The place behind every event at or below a position.
    pub fn place_after(position: Position) -> Place {
        Place { anchor: Position(position.0.saturating_add(1)), sub: 0, back: i32::MIN }
    }

    fn timeline_key(&self, place: Place) -> (RoomNo, Position, u16, i32) {
        (self.no, place.anchor, place.sub, place.back)
    }
}

/// Rows of the timeline as events and where they stand.
fn stands(rows: Vec<((RoomNo, Position, u16, i32), EventNo)>) -> Vec<(Place, EventNo)> {
    rows.into_iter().map(|((_, anchor, sub, back), no)| (Place { anchor, sub, back }, no)).collect()
}
