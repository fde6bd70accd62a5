//! What moved for a member in a room since something was counted there: how far they have read in threads, and what was
//! taken back. It costs what happened since, and nothing for each thread of the room.
//!
//! Receipts are logged by the position of their last move. What a member does is among the events that came, and so is
//! each redaction.

use std::collections::BTreeSet;

use depesche_store::Position;
use ruma::UserId;

use crate::{
    keyspace::EventNo,
    rooms::{receipts, view::RoomView},
    tx::Fault,
};

/// Events, and moves of receipts, that are looked at. Where more came, counting anew costs no more.
const MOST: usize = 256;

/// Up to where a room was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Everything at or below.
    pub at: Position,
    /// The number of the first event behind that.
    pub next_event: EventNo,
}

impl Seen {
    /// All that a view shows.
    pub fn all(room: &RoomView) -> Self {
        Self { at: room.view.position(), next_event: room.head.next_event }
    }
}

/// The threads (the main timeline under an empty name) in which the member may have read on since, or of which
/// something was redacted; `None` if too much happened to say. Receipts for what is no thread, and events of the
/// member's own in the main timeline, have marks that each count reads: they may be missing.
pub async fn since(room: &RoomView, user: &UserId, seen: Seen) -> Result<Option<BTreeSet<String>>, Fault> {
    let Some(mut moved) = receipts::moved(room, user, seen.at, MOST).await? else { return Ok(None) };
    if room.head.next_event == seen.next_event {
        return Ok(Some(moved));
    }
    let (from, before) = (RoomView::place_after(seen.at), RoomView::place_after(room.view.position()));
    let rows = room.timeline_between(from, before, MOST).await?;
    if rows.len() == MOST {
        return Ok(None);
    }
    let numbers: Vec<_> = rows.iter().filter(|(place, _)| place.back == 0).map(|(_, no)| *no).collect();
    for event in room.events(&numbers).await? {
        if event.pdu.sender() == user {
            moved.extend(receipts::thread_of(room, &event.pdu).await?.map(|root| root.to_string()));
        }
        let Some(target) = event.pdu.redacts() else { continue };
        let Some(target) = room.event_no(target).await? else { continue };
        let thread = receipts::thread_of(room, &room.event(target).await?.pdu).await?;
        // What is about an event that the room did not have then was counted in the main timeline.
        moved.insert(String::new());
        moved.extend(thread.map(|root| root.to_string()));
    }
    Ok(Some(moved))
}
