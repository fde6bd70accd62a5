//! The cases, one file for each area of the API. All share one server.

mod discovery;
