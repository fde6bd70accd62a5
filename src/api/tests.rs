//! The real router over a real server on the memory engine, asked without a network. The tests of an endpoint stand in a
//! module that mirrors its URL.

use axum::body::Body;

mod admin;
mod common;
mod connection;
mod fixture;
mod table;

use fixture::{Answer, Home, ask, refused};
