//! The joint: engine, server and routers become one running node. The only file that knows all three.

mod backup;
mod db;
pub mod long;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use axum::Router;
use depesche_api::{AnsweredTo, App};
use depesche_config::Config;
use depesche_net::{pages::Pages, push::Gateways};
use depesche_rules::signing::SigningKey;
use depesche_server::{
    Clock, Parts, Random, Server, StartError,
    identity::{self, IdentityError},
    migrations,
};
use depesche_store::{Engine, Options};
use depesche_store_rocksdb::{OpenError, RocksDb, RocksOptions};
use http::Response;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::{data_dir::DataDir, failure::Failure, media, signing_key, turn};

/// How long work may take for which no client waits any more.
const FINISHING: Duration = Duration::from_secs(5);

/// What a database is opened for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// A command: a database of an older version, or a copy that did not go on yet, is left as it is.
    Command,
    /// It goes on: it is brought up to date, and a copy is made fit.
    GoOn,
    /// It goes on with a new signing key, because the old one is lost.
    GoOnWithNewKey,
}

/// A homeserver on its database, without listeners.
pub struct Node {
    app: Arc<App>,
    engine: Arc<RocksDb>,
    /// What the operator asked for and takes long.
    long: TaskTracker,
    /// Held by whoever copies the database: of two copies into one folder, one would clear away the other's.
    copying: Arc<Mutex<()>>,
    // Last, so that the folder is free only when the database is closed.
    _data: DataDir,
}

impl Node {
    /// Opens or creates the database in a data folder, and starts the server on it.
    pub async fn open(config: &Arc<Config>, data: DataDir, purpose: Purpose) -> Result<Self, Failure> {
        let key = own_key(config, &data, purpose == Purpose::GoOnWithNewKey)?;
        let engine = open_engine(config, &data, purpose).await?;
        let parts = Parts {
            config: Arc::clone(config),
            engine: Arc::<RocksDb>::clone(&engine),
            key,
            clock: Clock::system(),
            random: Random::system(),
            blobs: media::blobs(config).await?,
            thumbnailer: media::thumbnailer(config),
            turn: turn::secret(config)?,
            copied: engine.copied(),
        };
        let server = Server::start(parts).await.map_err(|error| not_started(&error))?;
        engine.accept_copy().map_err(|error| Failure::failed("the database stays marked as a copy", error))?;
        let app = App::new(server);
        Ok(Self { app, engine, long: TaskTracker::new(), copying: Arc::default(), _data: data })
    }

    /// What clients reach.
    pub fn client_router(&self) -> Router {
        depesche_api::router(&self.app)
    }

    /// What the commands of the operator reach.
    pub fn admin_router(&self) -> Router {
        depesche_api::admin_router(&self.app)
            .merge(db::router(&self.engine, &self.app.server, &self.long, &self.copying))
            .merge(backup::router(&self.engine, &self.app.config, &self.long, &self.copying))
    }

    /// Begins to send what others are to be told of, push notifications, and to fetch what users want to see. For a server that runs, not for a command.
    pub fn send_out(&self, config: &Config) {
        match Gateways::new(config) {
            Ok(gateways) => self.app.server.push_through(Arc::new(gateways)),
            Err(why) => tracing::error!(%why, "nobody is told by push notifications"),
        }
        if config.media.previews.enabled {
            match Pages::new(config) {
                Ok(pages) => self.app.server.look_through(Arc::new(pages)),
                Err(why) => tracing::error!(%why, "there are no previews"),
            }
        }
    }

    /// Begins to index what is said. For a server that runs, not for a command.
    pub fn index_messages(&self) {
        self.app.server.index_messages();
    }

    /// Ends what waits for something new (long polls). Requests in work go on.
    pub fn end_waits(&self) {
        self.app.server.end_waits();
    }

    /// Finishes the work in hand and closes the database.
    pub async fn stop(&self) {
        self.long.close();
        let finished = async { tokio::join!(self.app.finished(), self.long.wait()) };
        if tokio::time::timeout(FINISHING, finished).await.is_err() {
            tracing::warn!("what was begun for clients that have gone is cut off");
        }
        let engine = Arc::clone(&self.engine);
        if let Err(error) = tokio::task::spawn_blocking(move || engine.close()).await {
            tracing::error!(%error, "the database did not close");
        }
    }

    /// What the database says of itself.
    pub fn figures(&self) -> Vec<(String, u64)> {
        self.engine.statistics()
    }
}

/// How the configuration wants the engine.
pub fn rocksdb_options(config: &Config) -> RocksOptions {
    let store = &config.store;
    RocksOptions {
        cache_bytes: store.cache_mb << 20,
        write_buffer_bytes: store.write_buffer_mb << 20,
        read_threads: store.read_threads,
        common: Options { keep_changes: store.keep_changes, now_ms: Clock::system().now_ms(), ..Options::default() },
        ..RocksOptions::default()
    }
}

/// The embedded engine, as the configuration wants it. For a command, only if that changes nothing that an older program
/// could not go back to.
async fn open_engine(config: &Config, data: &DataDir, purpose: Purpose) -> Result<Arc<RocksDb>, Failure> {
    let options = rocksdb_options(config);
    let path = data.database();
    let is_copy = RocksDb::is_copy(&path).map_err(|error| Failure::failed(path.display(), error))?;
    if purpose == Purpose::Command && is_copy {
        return Err(Failure::Failed(format!(
            "the database in {} is a copy that did not go on yet: start the server, which makes it fit to",
            path.display()
        )));
    }
    // After a crash under load this reads the log of the last writes, which takes its time.
    let opened = tokio::task::spawn_blocking(move || RocksDb::open(&path, &options)).await;
    let opened = opened.map_err(|error| Failure::failed("the database did not open", error))?;
    let engine = opened.map_err(|error| match error {
        OpenError::Newer { .. } => Failure::Usage(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    })?;
    if purpose == Purpose::Command {
        let due = migrations::is_due(&engine, identity::SCHEMA).await;
        if due.map_err(|fault| Failure::Failed(fault.to_string()))? {
            return Err(Failure::Failed(
                "this database is of an older version, and this program would change it for good: back it up with the old \
                 program, or start the server, which brings it up to date"
                    .to_owned(),
            ));
        }
    }
    Ok(Arc::new(engine))
}

/// A database that is not for this server, or not for this program, stays so.
fn not_started(error: &StartError) -> Failure {
    match error {
        StartError::Identity(IdentityError::OtherName { .. } | IdentityError::NewerSchema { .. }) => {
            Failure::Usage(error.to_string())
        }
        _ => Failure::Failed(error.to_string()),
    }
}

/// The user who asked, for the log; none if nobody was logged in.
pub fn caller_of<B>(response: &Response<B>) -> Option<&str> {
    response.extensions().get::<AnsweredTo>().map(|AnsweredTo(user)| user.as_str())
}

/// The key of the configuration. The first start makes it; later it must be there, because events signed with another
/// key would be doubted.
fn own_key(config: &Config, data: &DataDir, new: bool) -> Result<SigningKey, Failure> {
    let path = config.server.signing_key_file();
    // What cannot be looked at is not missing.
    if path.try_exists().unwrap_or(true) {
        if new {
            tracing::warn!(
                path = %path.display(),
                "there is a signing key, so --new-signing-key makes none; move the file away if it is to be replaced"
            );
        }
        return signing_key::read(&path);
    }
    if data.has_database() && !new {
        return Err(Failure::Usage(format!(
            "the signing key {} is missing, though there is a database. Restore it from your backup, or point \
             server.signing_key_file to it. If it is lost for good: depesche serve --new-signing-key",
            path.display()
        )));
    }
    let key = signing_key::create(&path)?;
    tracing::info!(path = %path.display(), "made a signing key; keep a copy of this file in a safe place");
    Ok(key)
}
