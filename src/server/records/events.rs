//! What the server knows of an event beside its text.

use bytes::Bytes;
use depesche_store::Position;
use ruma::OwnedEventId;
use serde::{Deserialize, Serialize};

use crate::{
    codec::KeyPart,
    keyspace::{EventNo, KeyNo},
    table::{self, Record},
};

/// What the server knows of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meta {
    /// Its place in the timeline.
    pub place: Place,
    /// The rest.
    pub facts: Facts,
}

/// A place in a room's timeline, and the token of `/messages`: "just before this".
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The commit position of the live event itself, or of the one behind the gap it fills.
    pub anchor: Position,
    /// Its place in the batch of that commit.
    pub sub: u16,
    /// 0 for a live event; -1, -2, ... for those fetched later to fill the gap before it.
    pub back: i32,
}

impl Place {
    /// Before everything.
    pub const START: Self = Self { anchor: Position(0), sub: 0, back: i32::MIN };

    /// The first place behind this one.
    pub fn next(self) -> Self {
        match (self.back, self.sub.checked_add(1)) {
            (..0, _) => Self { back: self.back + 1, ..self },
            (_, Some(sub)) => Self { sub, back: i32::MIN, ..self },
            (_, None) => Self { anchor: Position(self.anchor.0 + 1), sub: 0, back: i32::MIN },
        }
    }
}

/// Sorts as places do. The anchor comes first: where an event is of the batch in the making, the engine stamps it.
impl KeyPart for Place {
    fn write(&self, out: &mut Vec<u8>) {
        self.anchor.write(out);
        self.sub.write(out);
        self.back.write(out);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        Some(Self { anchor: Position::read(input)?, sub: u16::read(input)?, back: i32::read(input)? })
    }
}

/// The unchanging and rarely changing facts of an event.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Facts {
    /// Its id.
    pub event_id: OwnedEventId,
    /// What became of it.
    pub status: Status,
    /// Its auth events.
    pub auth: Vec<EventNo>,
    /// Its previous events, as far as they are stored.
    pub prev: Vec<EventNo>,
    /// The state it sets, if it is a state event.
    pub key: Option<KeyNo>,
    /// The room's ordinal after it.
    pub ordinal: u32,
    /// The redaction that took its content.
    pub redacted_by: Option<EventNo>,
    /// The device and transaction id that sent it from here, for the echo in `unsigned.transaction_id`.
    pub sent_with: Option<SentWith>,
    /// Whether events about it were ever counted, so that it is worth asking for them.
    pub has_children: bool,
}

/// How a local event was sent.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SentWith {
    /// The device; the sender is the event's.
    pub device: String,
    /// Its transaction id.
    pub transaction: String,
}

/// What became of an event. All have numbers and edges.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Status {
    /// Part of the room.
    Accepted,
    /// Allowed where it was sent, not by the current state: known, not shown.
    SoftFailed,
    /// Not allowed by its own auth events.
    RejectedByAuth,
    /// Not allowed by the state before it.
    RejectedByState,
    /// Known for its place in the auth graph alone.
    Outlier,
}

impl Meta {
    /// Where the anchor stands in the stored value: the engine stamps it.
    pub const ANCHOR: usize = 1;
}

/// The place stands at a fixed offset, because the engine stamps the anchor. Before version 2 it was not said whether an
/// event has children: each of those may.
impl Record for Meta {
    fn encode(&self) -> Bytes {
        let mut bytes = vec![2];
        bytes.extend_from_slice(&self.place.anchor.0.to_be_bytes());
        bytes.extend_from_slice(&self.place.sub.to_be_bytes());
        bytes.extend_from_slice(&self.place.back.to_be_bytes());
        bytes.extend_from_slice(&table::encode(&self.facts, 2));
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let fixed: &[u8; 15] = bytes.first_chunk()?;
        let place = Place {
            anchor: Position(u64::from_be_bytes(fixed[1..9].try_into().ok()?)),
            sub: u16::from_be_bytes(fixed[9..11].try_into().ok()?),
            back: i32::from_be_bytes(fixed[11..15].try_into().ok()?),
        };
        let facts = match fixed[0] {
            2 => table::decode(&bytes.slice(15..), 2)?,
            // The first version has all but the last field: with it behind, it reads as the second.
            1 if bytes.get(15) == Some(&1) => table::decode(&[&[2], &bytes[16..], &[1]].concat().into(), 2)?,
            _ => return None,
        };
        Some(Self { place, facts })
    }
}
