//! The cases, one file for each area of the API. All share one server.

mod account;
mod account_data;
mod aliases;
mod create_room;
mod devices;
mod discovery;
mod filters;
mod login;
mod membership;
mod profiles;
mod read;
mod registration;
mod send;
mod sync_filters;
mod sync_rooms;
mod sync_timeline;
