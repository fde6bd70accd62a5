//! The client-server API: one module for each first segment after the version in the URL.

pub mod account;
pub mod admin;
pub mod capabilities;
pub mod create_room;
pub mod delete_devices;
pub mod devices;
pub mod directory;
pub mod join;
pub mod joined_rooms;
pub mod keys;
pub mod knock;
pub mod login;
pub mod logout;
pub mod media;
pub mod mutual_rooms;
pub mod profile;
pub mod pushrules;
pub mod refresh;
pub mod register;
pub mod room_keys;
pub mod rooms;
pub mod send_to_device;
pub mod sync;
pub mod user;
pub mod versions;
