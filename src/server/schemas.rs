//! The ways from one schema of the database to the next: what each changes. How they are gone is `migrations.rs`.
//!
//! A change that older records can be read through (a new version of a record, a new table) needs none: see
//! [`crate::table::record`].

mod expiry;
mod relations;
#[cfg(test)]
mod tests;

use crate::migrations::Migration;

/// All of them, by the schema they lead to.
pub const MIGRATIONS: &[Migration] = &[relations::MIGRATION, expiry::MIGRATION];
