//! `/_matrix/client/v3/account/`: one's own account.

pub mod deactivate;
pub mod password;
pub mod whoami;
