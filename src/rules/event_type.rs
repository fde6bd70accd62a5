//! The type of an event as its text says it.
//!
//! ruma reads some unstable types as the stable ones that came of them. An event keeps the type that it was sent with:
//! who sent it, and who waits for it, know it by that.

use std::fmt::{self, Write};

use ruma::{
    events::{MessageLikeEventType, StateEventType, TimelineEventType},
    serde::deserialize_cow_str,
};
use serde::Deserializer;

/// The type with this text, and no other: what ruma takes for an alias becomes a type of its own.
pub fn timeline(text: &str) -> TimelineEventType {
    // Each of ruma's enums knows the aliases of its own types alone, and the others' as custom types.
    let readings: [fn(&str) -> TimelineEventType; 3] =
        [|text| text.into(), |text| StateEventType::from(text).into(), |text| MessageLikeEventType::from(text).into()];
    readings.into_iter().map(|read| read(text)).find(|kind| says(kind, text)).unwrap_or_else(|| text.into())
}

/// As [`timeline`], for a field that is deserialised.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimelineEventType, D::Error> {
    deserialize_cow_str(deserializer).map(|text| timeline(&text))
}

/// Whether a type is written as this text. Without writing it out: this runs for every event that is read.
fn says(kind: &TimelineEventType, text: &str) -> bool {
    struct Rest<'a>(&'a str);

    impl Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    let mut rest = Rest(text);
    write!(rest, "{kind}").is_ok() && rest.0.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_keeps_its_text() {
        for text in [
            "m.room.message",
            "m.room.member",
            "m.call.sdp_stream_metadata_changed",
            "org.matrix.call.sdp_stream_metadata_changed",
            "org.example.own",
            "m.room",
            "",
        ] {
            assert_eq!(timeline(text).to_string(), text);
        }
        assert_eq!(timeline("m.room.message"), TimelineEventType::RoomMessage);
        assert_eq!(timeline("m.room.member"), TimelineEventType::RoomMember);
    }

    #[test]
    fn ruma_reads_one_type_as_another() {
        // Where it no longer does, this module has nothing left to do.
        let read = TimelineEventType::from("org.matrix.call.sdp_stream_metadata_changed");
        assert_eq!(read.to_string(), "m.call.sdp_stream_metadata_changed");
    }
}
