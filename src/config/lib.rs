//! The configuration file: one module per section.
