//! `[media.previews]`: looking at web pages for users.

use std::time::Duration;

use ipnet::IpNet;

use crate::{
    section::{Source, optional, preset, section},
    value::section_as_value,
};

section! {
    /// What a link leads to.
    [previews]
    pub struct Previews {
        /// Whether users may ask what a link leads to. The server then fetches pages that users name: others see the
        /// server's address, and learn that somebody here was sent the link.
        enabled: bool = preset(false),
        /// If any are listed, only these hosts are fetched, by name: "*.example.org" stands for all below example.org.
        allowed_hosts: Vec<String> = preset(Vec::new()).shown_as("[\"example.org\", \"*.example.org\"]"),
        /// Hosts that are never fetched, written in the same way.
        denied_hosts: Vec<String> = preset(Vec::new()).shown_as("[\"*.internal.example.org\"]"),
        /// Networks that may be reached although they are not public. Those of [outgoing] do not count here. Every
        /// user can read what pages in them show.
        allow_networks: Vec<IpNet> = preset(Vec::new()).shown_as("[\"10.2.0.0/16\"]"),
        /// Networks that are never reached. Those that are not public need not be listed.
        deny_networks: Vec<IpNet> = preset(Vec::new()).shown_as("[\"198.18.0.0/15\"]"),
        /// Whether pages on other ports than 80 and 443 are fetched.
        any_port: bool = preset(false),
        /// How long a page, or its picture, may take to come, with all redirects.
        timeout: Duration = preset(Duration::from_secs(10)).within(Duration::from_secs(1)..=Duration::from_mins(1)),
        /// How much of a page is read, in kilobytes. What a preview needs stands at its beginning.
        page_kb: u64 = preset(1024).within(16..=16_384),
        /// The largest picture, in megabytes.
        picture_mb: u64 = preset(8).within(1..=64),
        /// What the server calls itself. Without this key: Depesche (bot), which names no version.
        user_agent: Option<String> = optional("\"Depesche (bot; +https://example.org/bot)\""),
        /// In which languages pages are wanted, as the header Accept-Language has it.
        accept_language: String = preset("en".to_owned()).shown_as("\"de, en;q=0.5\""),
        /// How long a preview is told again without looking.
        keep_for: Duration = preset(Duration::from_hours(1)).within(Duration::from_mins(1)..=Duration::from_hours(24)),
        /// Previews kept in memory.
        keep: usize = preset(1000).within(10..=100_000),
        /// How long the picture of a preview is kept.
        picture_keep_for: Duration = preset(Duration::from_hours(24 * 7))
            .within(Duration::from_hours(24 * 2)..=Duration::from_hours(24 * 365)),
        /// Pages fetched at the same time.
        concurrency: usize = preset(8).within(1..=256),
    }
}

impl Default for Previews {
    fn default() -> Self {
        Source::new("")
            .ok()
            .and_then(|mut source| source.section())
            .expect("no key must be set, so that an empty section is valid")
    }
}

section_as_value!(Previews);
