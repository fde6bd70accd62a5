//! The ways from one schema of the database to the next: what each changes. How they are gone is `migrations.rs`.
//!
//! Where the older records can be read through (a new version of a record, see [`crate::table::record`]), no row has to
//! change; but older programs cannot read the new ones, and would take them for damage. So that they refuse the database,
//! the schema is raised all the same, by a migration without rows: [`new_records`]. A test holds that
//! (`spec-tests/house.rs`). So it is with a table whose rows must agree with others, which older programs go on to write.

mod expiry;
mod relations;
#[cfg(test)]
mod tests;

use crate::migrations::{Migration, ROWS};

/// All of them, by the schema they lead to.
pub const MIGRATIONS: &[Migration] = &[
    relations::MIGRATION,
    expiry::MIGRATION,
    // Facts of events, sessions, login tokens and key backups, in their second versions.
    new_records(4),
];

/// To a schema that has new versions of records, or new tables, and older rows as they were.
const fn new_records(to: u32) -> Migration {
    Migration {
        to,
        what: "older programs open the database no more",
        ends: Vec::new,
        rows: Vec::new,
        at_a_time: ROWS,
        change: |_| Box::pin(async { Ok(()) }),
    }
}
