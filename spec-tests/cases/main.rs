//! The cases, one file for each area of the API. All share one server.

mod account;
mod devices;
mod discovery;
mod filters;
mod login;
mod registration;
