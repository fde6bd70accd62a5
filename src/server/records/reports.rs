//! What users report to the administrators of the server.

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::record;

/// A report. It has no `Debug`: what a user wrote must not reach a log by accident.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Report {
    /// Who reports.
    pub reporter: OwnedUserId,
    /// What.
    pub subject: Subject,
    /// Why, in the reporter's words.
    pub reason: String,
    /// When; of the last time, if it was reported again before it was closed.
    pub reported_ms: u64,
    /// Set when an administrator has dealt with it.
    pub closed: Option<Closed>,
}
record!(Report, 1);

/// What is reported.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Subject {
    /// A room.
    Room(OwnedRoomId),
    /// An event.
    Event {
        /// Its room.
        room: OwnedRoomId,
        /// The event.
        event: OwnedEventId,
        /// Who sent it.
        sender: OwnedUserId,
    },
    /// A user.
    User(OwnedUserId),
}

/// That a report has been dealt with.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Closed {
    /// When.
    pub closed_ms: u64,
    /// What the administrator noted.
    pub note: String,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ruma::{owned_event_id, owned_room_id, owned_user_id};

    use super::*;
    use crate::table::Record;

    fn check(report: &Report, hex: &str) {
        let bytes = report.encode();
        let written: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written.concat(), hex);
        assert!(Report::decode(&bytes).is_some_and(|read| read == *report), "the bytes do not read back");
        assert!(Report::decode(&Bytes::from([&bytes[..], &[0xFF]].concat())).is_none(), "trailing bytes are accepted");
    }

    /// The bytes are those on disk of running servers: who changes them brings a new version and reads the old one.
    #[test]
    fn reports() {
        let (room, user) = (owned_room_id!("!r:b"), owned_user_id!("@a:b"));
        let open = Report {
            reporter: user.clone(),
            subject: Subject::Room(room.clone()),
            reason: "w".into(),
            reported_ms: 2,
            closed: None,
        };
        check(&open, "010440613a62000421723a6201770200");
        let event = Subject::Event { room, event: owned_event_id!("$e"), sender: user.clone() };
        let closed = Some(Closed { closed_ms: 3, note: "n".into() });
        check(
            &Report { subject: event, closed, ..open.clone() },
            "010440613a62010421723a6202246504\
            40613a620177020103016e",
        );
        check(&Report { subject: Subject::User(user), ..open }, "010440613a62020440613a6201770200");
    }
}
