//! The cases, one file for each area of the API. All share one server.

mod account;
mod aliases;
mod create_room;
mod devices;
mod discovery;
mod filters;
mod login;
mod membership;
mod read;
mod registration;
mod send;
