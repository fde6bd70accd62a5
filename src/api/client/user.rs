//! `/_matrix/client/v3/user/{userId}/`: what users keep on the server for themselves.

pub mod account_data;
pub mod filter;
pub mod mutual_rooms;
pub mod openid;
pub mod rooms;
