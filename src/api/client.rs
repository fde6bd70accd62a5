//! The client-server API: one module for each first segment after the version in the URL.

pub mod capabilities;
pub mod versions;
