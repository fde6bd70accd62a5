//! The Matrix specification as pure functions.
