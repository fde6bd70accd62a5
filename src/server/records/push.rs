//! Pushers, and what waits for them.

use serde::{Deserialize, Serialize};

use crate::{
    keyspace::{EventNo, RoomNo},
    record,
};

/// A pusher: over which gateway an app of the user is told of events. All are of the kind `http`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pusher {
    /// The device that set it: the pusher ends with it.
    pub device: String,
    /// What the app is called.
    pub app_display_name: String,
    /// What the device is called.
    pub device_display_name: String,
    /// Which set of rules it executes: kept for the client, no rules depend on it.
    pub profile_tag: Option<String>,
    /// The language of notifications.
    pub lang: String,
    /// What the client said for its gateway, a JSON object with the `url` in it.
    pub data: String,
    /// When it was last set.
    pub set_ms: u64,
}
record!(Pusher, 1);

/// An event that a pusher is to tell of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Notice {
    /// The room.
    pub room: RoomNo,
    /// The event.
    pub event: EventNo,
    /// The actions of the rule that decided, as JSON.
    pub actions: String,
    /// Whether it is a highlight.
    pub highlight: bool,
    /// When the event was found to notify.
    pub since_ms: u64,
}
record!(Notice, 1);

/// How a pusher's gateway did of late.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Delivery {
    /// Attempts that failed since the last success.
    pub failures: u32,
    /// Not to be tried before.
    pub retry_at_ms: u64,
    /// The unread count that the gateway was last told.
    pub told: u32,
}
record!(Delivery, 1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::testing::check;

    #[test]
    fn push() {
        let pusher = Pusher {
            device: "D".to_owned(),
            app_display_name: "a".to_owned(),
            device_display_name: "d".to_owned(),
            profile_tag: Some("p".to_owned()),
            lang: "de".to_owned(),
            data: "{}".to_owned(),
            set_ms: 300,
        };
        check(&pusher, "01014401610164010170026465027b7dac02");
        let notice = Notice { room: 1, event: 2, actions: "[]".to_owned(), highlight: true, since_ms: 300 };
        check(&notice, "010102025b5d01ac02");
        check(&Delivery { failures: 1, retry_at_ms: 300, told: 2 }, "0101ac0202");
    }
}
