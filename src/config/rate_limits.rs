//! `[rate_limits]`: how often clients may ask.

use crate::section::{preset, section};

/// The most requests a minute that may be allowed.
const MOST_PER_MINUTE: u32 = 6_000_000;
/// The most requests at once that may be allowed.
const MOST_AT_ONCE: u32 = 1_000_000;

section! {
    /// How often clients may ask. Who asks more often is told to wait (429, M_LIMIT_EXCEEDED). Requests of users are
    /// counted by user, others by address: behind a reverse proxy that needs server.trusted_proxies. Each kind of request
    /// has a number allowed at once and the number that comes back in a minute. What is not listed is not limited: /sync,
    /// reading rooms, encryption keys.
    [rate_limits]
    pub struct RateLimits {
        /// Whether there are any.
        enabled: bool = preset(true),
        /// Whether administrators of the server are exempt.
        exempt_admins: bool = preset(false),
        /// Messages, other events, redactions, kicks and bans: at once.
        messages_burst: u32 = preset(60).within(1..=MOST_AT_ONCE),
        /// The same: a minute.
        messages_per_minute: u32 = preset(300).within(1..=MOST_PER_MINUTE),
        /// Logins and registrations, by address, and whatever else shows whether a password or a registration token is
        /// right: at once. Raise it where many people share an address. Wrong passwords are slowed down besides, by the name
        /// that is tried.
        logins_burst: u32 = preset(50).within(1..=MOST_AT_ONCE),
        /// The same: a minute.
        logins_per_minute: u32 = preset(30).within(1..=MOST_PER_MINUTE),
        /// Joins, knocks, invites, new rooms and reports: at once. Invites in a new room count as well, ten as one.
        joins_burst: u32 = preset(50).within(1..=MOST_AT_ONCE),
        /// The same: a minute.
        joins_per_minute: u32 = preset(60).within(1..=MOST_PER_MINUTE),
        /// Uploads, downloads, thumbnails and previews: at once. Opening a client can ask for hundreds.
        media_burst: u32 = preset(1000).within(1..=MOST_AT_ONCE),
        /// The same: a minute.
        media_per_minute: u32 = preset(1200).within(1..=MOST_PER_MINUTE),
        /// Messages to devices, which carry the keys of encrypted rooms: at once. A large room takes hundreds. A
        /// request counts once for each 64 KB that it sends.
        to_device_burst: u32 = preset(2000).within(1..=MOST_AT_ONCE),
        /// The same: a minute.
        to_device_per_minute: u32 = preset(2400).within(1..=MOST_PER_MINUTE),
        /// The room directory, aliases, names of devices, signatures on keys, and whatever else the Matrix specification wants
        /// limited, such as changes of profiles, typing and key backups: at once.
        other_burst: u32 = preset(500).within(1..=MOST_AT_ONCE),
        /// The same: a minute.
        other_per_minute: u32 = preset(1200).within(1..=MOST_PER_MINUTE),
    }
}
