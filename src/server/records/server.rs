//! The database as a whole.

use ruma::OwnedServerName;
use serde::{Deserialize, Serialize};

use crate::record;

/// Who a database belongs to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Identity {
    /// The version of the tables and records; see [`crate::identity`].
    pub schema: u32,
    /// The server's name, which never changes.
    pub name: OwnedServerName,
}
record!(Identity, 1);

/// A row that ends at a time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Due {
    /// Its stored key, of whatever table.
    pub key: Vec<u8>,
    /// The first bytes of the SHA-256 of its value: a row that was written anew since does not end with the old one.
    pub value: [u8; 8],
}
record!(Due, 1);

/// How far a migration has come. As long as the row is there, the database is of neither schema.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MigrationState {
    /// The schema it leads to.
    pub to: u32,
    /// The stored key of the last row it went through; empty at its begin.
    pub after: Vec<u8>,
    /// How many rows it has gone through.
    pub rows: u64,
}
record!(MigrationState, 1);
