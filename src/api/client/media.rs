//! `/_matrix/client/v1/media/`: files for those who show a token.

pub mod config;
pub mod download;
mod errors;
mod range;
pub(crate) mod show;
pub mod thumbnail;
