//! `[metrics]`: figures for monitoring.

use std::net::SocketAddr;

use crate::section::{optional, section};

section! {
    /// Figures for monitoring.
    [metrics]
    pub struct Metrics {
        /// The address on which Prometheus fetches /metrics. Off unless set. The figures name no users and no
        /// rooms, but keep the address private all the same.
        listen: Option<SocketAddr> = optional("\"127.0.0.1:9008\""),
    }
}
