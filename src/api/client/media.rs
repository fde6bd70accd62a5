//! `/_matrix/client/v1/media/`: files for those who show a token.

pub mod config;
pub mod download;
mod errors;
pub mod preview_url;
mod range;
pub(crate) mod show;
pub mod thumbnail;
