//! Which thread an event is in.
//!
//! An event is in a thread if it says so, or if an event that it is about is, over a few steps. Thread roots are in the
//! main timeline, and so is what is about them without being in their thread.
//!
//! Spec: [threaded read receipts](https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts).

use ruma::OwnedEventId;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::pdu::Pdu;

/// How many events are followed from an event to its thread. Spec: "a maximum of 3 hops is recommended".
pub const MAX_HOPS: usize = 3;

/// The event that another is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parent {
    /// Its id; it may be unknown.
    pub event_id: OwnedEventId,
    /// It is the root of the thread that the other is in.
    pub is_root: bool,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: &'a RawValue,
}

#[derive(Deserialize)]
struct RelatesTo {
    rel_type: String,
    event_id: OwnedEventId,
}

impl Parent {
    /// What an event is about. A rich reply alone is about nothing.
    pub fn of(event: &Pdu) -> Option<Self> {
        // Most events are about nothing: they are not parsed for that.
        if !event.content().get().contains("m.relates_to") {
            return None;
        }
        let content: Content<'_> = event.content_as().ok()?;
        let RelatesTo { rel_type, event_id } = serde_json::from_str(content.relates_to.get()).ok()?;
        Some(Self { event_id, is_root: rel_type == "m.thread" })
    }
}
