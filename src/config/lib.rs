//! The configuration file: one module per section.

/// The whole configuration.
pub struct Config {}
