//! The cases, one file for each area of the API. All share one server.

mod account;
mod account_data;
mod aliases;
mod bad_input;
mod create_room;
mod devices;
mod discovery;
mod filters;
mod history_visibility;
mod key_backup;
mod keys;
mod login;
mod media;
mod membership;
mod profiles;
mod read;
mod registration;
mod send;
mod sync_filters;
mod sync_rooms;
mod sync_timeline;
mod thumbnails;
mod to_device;
