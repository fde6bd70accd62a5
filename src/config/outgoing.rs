//! `[outgoing]`: requests that the server makes to others.

use std::time::Duration;

use ipnet::IpNet;

use crate::section::{preset, section};

section! {
    /// Requests that the server makes to others, such as push gateways.
    [outgoing]
    pub struct Outgoing {
        /// Networks that may be reached although they are not public. Users name the servers that are asked, so
        /// whatever stands here can be asked on their word.
        allow_networks: Vec<IpNet> = preset(Vec::new()).shown_as("[\"10.1.0.0/16\"]"),
        /// How long a request may take, answer included.
        timeout: Duration = preset(Duration::from_secs(30))
            .within(Duration::from_secs(1)..=Duration::from_mins(5)),
    }
}
