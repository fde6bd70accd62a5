//! `/_matrix/client/v1/admin/` and `/_matrix/client/v3/admin/`: what a user who is a server administrator does to others.
//! <https://spec.matrix.org/v1.19/client-server-api/#server-administration>

pub mod lock;
pub mod suspend;
pub mod whois;
