//! `/_matrix/client/v3/directory/...`

pub mod list;
pub mod room;
