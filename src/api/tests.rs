//! The real router over a real server on the memory engine, asked without a network. The tests of an endpoint stand in the
//! module of its area.

use axum::body::Body;

mod account;
mod admin;
mod bounds;
mod common;
mod connection;
mod devices;
mod events;
mod fixture;
mod keys;
mod login;
mod media;
mod moderation;
mod pages;
mod people;
mod previews;
mod profile;
mod push;
mod rate_limits;
mod reading;
mod register;
mod related;
mod reports;
mod room_keys;
mod rooms;
mod search;
mod send_to_device;
mod sync;
mod table;
mod user;
mod voip;

use fixture::{Answer, CONFIG, Home, Person, ask, refused};
