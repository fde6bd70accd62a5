//! The joint: engine, server and routers become one running node. The only file that knows all three.

use std::sync::Arc;

use axum::Router;
use depesche_config::Config;
use http::Response;

use crate::{data_dir::DataDir, failure::Failure, signing_key::SigningKey};

/// A homeserver on its database, without listeners.
pub struct Node {
    // Last, so that the folder is free only when the database is closed.
    _data: DataDir,
}

impl Node {
    /// Takes the data folder, opens or creates the database, and starts the server on it.
    pub async fn open(config: &Arc<Config>, new_signing_key: bool) -> Result<Self, Failure> {
        let data = DataDir::open(&config.server.data_dir)?;
        let _key = signing_key(config, &data, new_signing_key)?;
        Ok(Self { _data: data })
    }

    /// What clients reach.
    pub fn client_router(&self) -> Router {
        Router::new()
    }

    /// What the commands of the operator reach.
    pub fn admin_router(&self) -> Router {
        Router::new()
    }

    /// Ends what waits for something new (long polls). Requests in work go on.
    pub fn end_waits(&self) {}

    /// Finishes the work in hand and closes the database.
    pub async fn stop(&self) {}

    /// What the database says of itself.
    pub fn figures(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}

/// The user who asked, for the log; none if nobody was logged in.
pub fn caller_of<B>(_response: &Response<B>) -> Option<&str> {
    None
}

/// The key of the configuration. The first start makes it; later it must be there, because events signed with another
/// key would be doubted.
fn signing_key(config: &Config, data: &DataDir, new: bool) -> Result<SigningKey, Failure> {
    let path = config.server.signing_key_file();
    if path.exists() {
        if crate::signing_key::readable_by_others(&path) {
            tracing::warn!(path = %path.display(), "the signing key can be read by others; make it private: chmod 600");
        }
        return SigningKey::read(&path);
    }
    if data.has_database() && !new {
        return Err(Failure::Failed(format!(
            "the signing key {} is missing, though there is a database. Restore it from your backup, or point \
             server.signing_key_file to it. If it is lost for good: depesche serve --new-signing-key",
            path.display()
        )));
    }
    let key = SigningKey::generate();
    key.create(&path)?;
    tracing::info!(path = %path.display(), "made a signing key; keep a copy of this file in a safe place");
    Ok(key)
}
