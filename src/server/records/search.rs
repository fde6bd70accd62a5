//! What is kept of the words of rooms.

use depesche_store::Position;
use serde::{Deserialize, Serialize};

use crate::{
    codec::KeyPart,
    keyspace::{EventNo, RoomNo},
    record,
};

/// What of an event has words.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Part {
    /// `content.body` of `m.room.message`.
    Body,
    /// `content.name` of `m.room.name`.
    Name,
    /// `content.topic` of `m.room.topic`, and its plain text in `m.topic`.
    Topic,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Body, Self::Name, Self::Topic];
}

impl KeyPart for Part {
    fn write(&self, out: &mut Vec<u8>) {
        let byte: u8 = match self {
            Self::Body => 0,
            Self::Name => 1,
            Self::Topic => 2,
        };
        byte.write(out);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        Some(match u8::read(input)? {
            0 => Self::Body,
            1 => Self::Name,
            2 => Self::Topic,
            _ => return None,
        })
    }
}

/// Events that have a word: those that one batch of the index found. Written as the steps between them, which are small.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Posting {
    steps: Vec<u32>,
}
record!(Posting, 1);

impl Posting {
    /// Of these events, in ascending order.
    pub fn of(events: &[EventNo]) -> Self {
        let mut last = 0;
        let steps = events.iter().map(|no| {
            let step = no.wrapping_sub(last);
            last = *no;
            step
        });
        Self { steps: steps.collect() }
    }

    /// The events, in ascending order.
    pub fn events(&self) -> Vec<EventNo> {
        let mut last = 0u32;
        let events = self.steps.iter().map(|step| {
            last = last.wrapping_add(*step);
            last
        });
        events.collect()
    }
}

/// Which events of a room are in the index: from `below` to before `next`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Indexed {
    /// The first of them; 0 once the history is done.
    pub below: EventNo,
    /// The one behind the last.
    pub next: EventNo,
}
record!(Indexed, 1);

/// How far the index has come.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Followed {
    /// All changes at or below are in it.
    pub position: u64,
    /// The next room whose history is to be indexed, while the rooms are gone through.
    pub walk: Option<RoomNo>,
}
record!(Followed, 1);

impl Followed {
    /// The position of the last change that is in the index.
    pub fn position(&self) -> Position {
        Position(self.position)
    }
}
