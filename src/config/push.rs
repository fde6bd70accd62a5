//! `[push]`: telling people's phones of events.

use std::time::Duration;

use crate::{
    section::{preset, section},
    value::choices,
};

section! {
    /// Telling people's phones of events, over the push gateways that their apps name.
    [push]
    pub struct Push {
        /// Whether to. Without it apps may still register, and nothing goes out.
        enabled: bool = preset(true),
        /// Whether gateways get the content of events (encrypted in encrypted rooms), where the app has not asked for
        /// less. Without it they get no more than which event it is.
        include_content: bool = preset(true),
        /// What the number on the app's icon counts.
        badge: Badge = preset(Badge::Messages),
        /// Whether a gateway may be named by http://, which the Matrix specification forbids: for one of your own on
        /// the same machine.
        allow_http: bool = preset(false),
        /// Apps and devices of one user that are told; one more is refused.
        pushers_per_user: usize = preset(100).within(1..=1000),
        /// Gateways asked at the same time.
        concurrency: usize = preset(64).within(1..=1000),
        /// How long an event is worth telling. While a gateway does not answer, it is asked again at growing
        /// intervals, of an hour at most.
        keep_for: Duration = preset(Duration::from_hours(24))
            .within(Duration::from_mins(1)..=Duration::from_hours(24 * 30)),
    }
}

choices! {
    /// What the number on an app's icon counts.
    pub enum Badge {
        /// unread messages that notify.
        Messages = "messages",
        /// rooms with such messages.
        Rooms = "rooms",
    }
}
