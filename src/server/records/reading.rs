//! What people have read: tallies of what notifies and what of it was redacted, marks of how far somebody read, receipts.

use bytes::Bytes;
use depesche_store::{Position, Stamp, StampAt};
use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};

use super::events::Place;
use crate::{
    keyspace::EventNo,
    record,
    table::{self, Record},
};

/// How many events of a thread (or of the main timeline) notify by the default rules, up to somewhere.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// Those that notify every member.
    pub loud: u32,
    /// Those of them that highlight for every member: `@room`, a tombstone.
    pub room: u32,
}
record!(Tally, 1);

/// How far a member has read in a thread, in the main timeline, or in the whole room.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Mark {
    /// The event up to which everything is read.
    pub event: EventNo,
    /// The room's ordinal there.
    pub ordinal: u32,
    /// What the thread had counted there; of a mark for the whole room, what the main timeline had.
    pub tally: Tally,
}
record!(Mark, 1);

/// That an event names a member.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Named {
    /// The root of its thread; empty in the main timeline.
    pub thread: String,
    /// It notifies those alone whom it names: an edit, say.
    pub silent: bool,
    /// It names the whole room too.
    pub room: bool,
}

/// A row of the first version has no value: the event was loud, and threads were not told apart.
impl Record for Named {
    fn encode(&self) -> Bytes {
        table::encode(self, 2)
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        if bytes.is_empty() { Some(Self::default()) } else { table::decode(bytes, 2) }
    }
}

/// What an event had counted until it was redacted.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Uncounted {
    /// The root of its thread; empty in the main timeline.
    pub thread: String,
    /// What it had added to the tally of its thread.
    pub tally: Tally,
}
record!(Uncounted, 1);

/// A receipt of one type, in one thread or none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Receipt {
    /// Where it was last moved. The engine stamps it.
    pub position: Position,
    /// The place of the event, by which receipts only move forward.
    pub place: Place,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub ts_ms: u64,
    /// The event up to which everything is read.
    pub event_id: OwnedEventId,
}

impl Receipt {
    /// Where the position stands in the stored value.
    pub const POSITION: Stamp = Stamp { at: StampAt::Value, offset: 1 };
}

/// The position stands at a fixed place, because the engine stamps it.
impl Record for Receipt {
    fn encode(&self) -> Bytes {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&self.position.0.to_be_bytes());
        bytes.extend_from_slice(&self.place.anchor.0.to_be_bytes());
        bytes.extend_from_slice(&self.place.sub.to_be_bytes());
        bytes.extend_from_slice(&self.place.back.to_be_bytes());
        bytes.extend_from_slice(&self.ts_ms.to_be_bytes());
        bytes.extend_from_slice(self.event_id.as_bytes());
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let (fixed, id) = bytes.split_first_chunk::<31>()?;
        let place = Place {
            anchor: Position(u64::from_be_bytes(fixed[9..17].try_into().ok()?)),
            sub: u16::from_be_bytes(fixed[17..19].try_into().ok()?),
            back: i32::from_be_bytes(fixed[19..23].try_into().ok()?),
        };
        let receipt = Self {
            position: Position(u64::from_be_bytes(fixed[1..9].try_into().ok()?)),
            place,
            ts_ms: u64::from_be_bytes(fixed[23..31].try_into().ok()?),
            event_id: std::str::from_utf8(id).ok()?.try_into().ok()?,
        };
        (fixed[0] == 1).then_some(receipt)
    }
}
