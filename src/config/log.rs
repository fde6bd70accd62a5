//! `[log]`: what the server writes about itself.

use crate::{
    section::{preset, section},
    value::choices,
};

section! {
    /// What the server writes about itself, to standard error. Passwords, tokens and the content of messages are never
    /// written.
    [log]
    pub struct Log {
        /// For whom the lines are.
        format: LogFormat = preset(LogFormat::Text),
        /// What is written: a level (error, warn, info, debug, trace), or levels by part of the program, such as
        /// "info,depesche_server=debug". The default leaves out what the authorization rules and ruma's parsing say of each event.
        filter: String = preset("info,ruma_state_res=warn,ruma_common=warn".to_owned()),
    }
}

choices! {
    /// How log lines look.
    pub enum LogFormat {
        /// lines for people.
        Text = "text",
        /// one JSON object a line, for machines.
        Json = "json",
    }
}
