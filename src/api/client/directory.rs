//! `/_matrix/client/v3/directory/...`

pub mod room;
