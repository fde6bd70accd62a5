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
