//! `[limits]`: bounds on what clients may ask for. Those of the Matrix specification are not here: they are no choice.

use std::time::Duration;

use crate::section::{preset, section};

section! {
    /// Bounds on what clients may ask for. Those that the Matrix specification sets are no choice and not listed.
    [limits]
    pub struct Limits {
        /// Connections at a time; more wait until one closes. Each client holds one or two.
        connections: usize = preset(10_000).within(1..=1_000_000),
        /// Connections at a time from one address (of IPv6, from one network of 64 bits); more are closed. Addresses of
        /// server.trusted_proxies and of this machine have no such bound.
        connections_per_address: usize = preset(1000).within(1..=1_000_000),
        /// How long a connection may take to send the head of its next request. Keep it above the time for which the
        /// reverse proxy keeps idle connections.
        head_timeout: Duration = preset(Duration::from_secs(75))
            .within(Duration::from_secs(1)..=Duration::from_hours(1)),
        /// The longest that /sync waits for something new, whatever the client asks for.
        sync_timeout: Duration = preset(Duration::from_mins(1))
            .within(Duration::from_secs(1)..=Duration::from_mins(10)),
        /// The most events in one answer, and in one room's part of a /sync.
        events_per_page: usize = preset(1000).within(10..=10_000),
        /// Devices of one user; a login beyond is refused.
        devices_per_user: usize = preset(500).within(1..=10_000),
        /// The largest entry of account data, in kilobytes. The database takes no larger ones.
        account_data_kb: usize = preset(64).within(1..=64),
        /// Entries of account data of one user, those of rooms included.
        account_data_per_user: usize = preset(10_000).within(10..=1_000_000),
        /// How much account data one user may have in all, in megabytes. A first /sync answers with all of it.
        account_data_mb_per_user: u64 = preset(10).within(1..=1024),
        /// Filters that are kept for one user.
        filters_per_user: usize = preset(1000).within(1..=100_000),
        /// Reports of one user (of events, rooms or users) that wait for an administrator.
        reports_per_user: u32 = preset(100).within(1..=10_000),
        /// Confirmations (user-interactive authentication) under way at a time.
        confirmations: usize = preset(10_000).within(10..=1_000_000),
    }
}
