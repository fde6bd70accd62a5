//! `/_matrix/client/v3/user_directory/...`

pub mod search;
