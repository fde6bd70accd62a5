//! What is kept of events that are about others.

use serde::{Deserialize, Serialize};

use crate::{codec::KeyPart, keyspace::EventNo, record};

/// A list of the events about an event.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum List {
    /// Those that name it as their parent.
    Direct,
    /// Those whose parent, or whose parent's parent, does: not the direct ones.
    Indirect,
    /// The direct ones of one `rel_type`.
    Of(String),
}

/// A byte for the list, and the type behind it.
impl KeyPart for List {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Direct => 0u8.write(out),
            Self::Indirect => 1u8.write(out),
            Self::Of(kind) => {
                2u8.write(out);
                kind.write(out);
            }
        }
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        Some(match u8::read(input)? {
            0 => Self::Direct,
            1 => Self::Indirect,
            2 => Self::Of(String::read(input)?),
            _ => return None,
        })
    }
}

/// An event in such a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Listed {
    /// The event.
    pub no: EventNo,
    /// The events between it and the one the list is of. Where one of them was redacted, the event is not in the list.
    pub via: Vec<EventNo>,
}
record!(Listed, 1);

/// How many events are about an event. Redacted ones do not count.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Related {
    /// Those that may replace it, valid or not.
    pub replacing: u32,
    /// Those of `m.reference`.
    pub referring: u32,
    /// Those of `m.thread`.
    pub in_thread: u32,
}
record!(Related, 1);
