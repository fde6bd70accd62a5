//! Whose database this is and which version of the tables it holds.
//!
//! The first start writes the row; each later one compares. A server name never changes, because every user, room and
//! event carries it: another name over the same data would be another server with somebody else's rooms. A database
//! that a newer program wrote is refused, because this one would misread it.

use depesche_store::{CommitError, Engine};
use ruma::{OwnedServerName, ServerName};

use crate::{
    keyspace::IDENTITY,
    records::server::Identity,
    tx::{Fault, Tx},
};

/// The version of tables and records that this program reads and writes. A change of either that older programs would
/// misread raises it and brings a migration (`schemas.rs`): a new version of a record too, which they take for damage.
pub const SCHEMA: u32 = 4;

/// Why a database is not opened.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It belongs to another server.
    #[error(
        "this database belongs to {stored}, but the configuration says {configured}: a server cannot be renamed, because \
         its users, rooms and events carry its name; correct `server.name`, or give the new server an empty database"
    )]
    OtherName {
        /// Whose it is.
        stored: OwnedServerName,
        /// Who wants it.
        configured: OwnedServerName,
    },
    /// A newer program wrote it.
    #[error("this database has schema {stored}, and this program knows schemas up to {SCHEMA}: use the newer program")]
    NewerSchema {
        /// The version of its tables.
        stored: u32,
    },
    /// It could not be read or written.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Takes an empty database for this server, or checks that a used one is this server's and readable.
pub async fn claim(engine: &dyn Engine, name: &ServerName) -> Result<Identity, IdentityError> {
    let tx = Tx::new(engine.snapshot());
    let Some(stored) = tx.read(&IDENTITY, &(0,)).await? else {
        let identity = Identity { schema: SCHEMA, name: name.to_owned() };
        tx.put(&IDENTITY, &(0,), &identity);
        return match engine.commit(tx.finish()).await {
            Ok(_) => Ok(identity),
            // Another process took it in the same moment: what it wrote decides.
            Err(CommitError::Conflict(_)) => Box::pin(claim(engine, name)).await,
            Err(error) => Err(Fault::from(error).into()),
        };
    };
    if stored.schema > SCHEMA {
        return Err(IdentityError::NewerSchema { stored: stored.schema });
    }
    if stored.name != name {
        return Err(IdentityError::OtherName { stored: stored.name, configured: name.to_owned() });
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use depesche_store::{Options, memory::Memory};
    use ruma::server_name;

    use super::*;

    #[tokio::test]
    async fn a_database_belongs_to_the_first_name() {
        let engine = Memory::new(Options::default());
        let first = claim(&engine, server_name!("a.test")).await.unwrap();
        assert_eq!(first, Identity { schema: SCHEMA, name: server_name!("a.test").to_owned() });
        assert_eq!(claim(&engine, server_name!("a.test")).await.unwrap(), first);
        let error = claim(&engine, server_name!("b.test")).await.unwrap_err();
        assert!(matches!(error, IdentityError::OtherName { .. }));
        let said = error.to_string();
        assert!(said.contains("a.test") && said.contains("b.test") && said.contains("server.name"), "{said}");
    }

    #[tokio::test]
    async fn a_newer_database_is_refused() {
        let engine = Memory::new(Options::default());
        let tx = Tx::new(engine.snapshot());
        let newer = Identity { schema: SCHEMA + 1, name: server_name!("a.test").to_owned() };
        tx.put(&IDENTITY, &(0,), &newer);
        engine.commit(tx.finish()).await.unwrap();
        let error = claim(&engine, server_name!("a.test")).await.unwrap_err();
        assert!(matches!(error, IdentityError::NewerSchema { stored } if stored == SCHEMA + 1));
    }
}
