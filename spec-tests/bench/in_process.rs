//! Depesche is filled in this process, before it serves: on its own database, by the functions that its requests come
//! to, so that the same rows are written.

use std::cell::Cell;
use std::fs;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use depesche_config::Config;
use depesche_rules::signing::SigningKey;
use depesche_server::accounts::{Credentials, Door, LoggedIn, NewAccount, NewSession};
use depesche_server::keyspace::FOLLOWED;
use depesche_server::media::memory::{MemoryBlobs, NoThumbnails};
use depesche_server::rooms::lane::Transaction;
use depesche_server::rooms::membership::{Action, Change, WithProfile};
use depesche_server::rooms::send::Message;
use depesche_server::workflows::create::{Creation, Preset};
use depesche_server::{Clock, Parts, Random, Server};
use depesche_store::{Options, Position};
use depesche_store_rocksdb::{RocksDb, RocksOptions};
use ruma::{CanonicalJsonObject, RoomId};

use crate::contents::Wanted;
use crate::fill::{self, Maker, Stock};
use crate::requests::{NAME, message};

/// How long search may take to index what was said last. Where it ends with nothing to index it makes no note of that,
/// and this is waited for in vain.
const INDEXING: Duration = Duration::from_secs(30);
/// How often it is asked.
const LOOK: Duration = Duration::from_millis(100);

/// Fills the database in the folder of a Depesche that has ended.
pub fn fill(directory: &Path, wanted: &Wanted) -> Result<Stock, String> {
    inside(directory, async |maker| {
        let stock = fill::fill(maker, wanted, "Depesche").await;
        // Otherwise the server would do it while something is measured.
        let _ = tokio::time::timeout(INDEXING, maker.indexed()).await;
        stock
    })
}

/// Works on the database of a server that does not run. On a thread and a runtime of its own: with that ends whatever
/// the server had begun, such as the lanes of rooms, and would keep the database open.
fn inside<T: Send>(directory: &Path, work: impl AsyncFnOnce(&InProcess) -> T + Send) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(async {
            let maker = InProcess::open(directory).await?;
            let done = work(&maker).await;
            maker.server.end_waits();
            maker.engine.close();
            Ok::<T, String>(done)
        })
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| resume_unwind(panic))
}

/// A server without listeners.
struct InProcess {
    server: Arc<Server>,
    engine: Arc<RocksDb>,
    /// Where the newest message lies.
    newest: Cell<Position>,
}

impl InProcess {
    /// As the program opens it: by its configuration, with its key.
    async fn open(directory: &Path) -> Result<Self, String> {
        let config = Config::load(&directory.join("depesche.toml")).map_err(|error| error.to_string())?;
        let key = fs::read_to_string(config.server.signing_key_file()).map_err(|error| error.to_string())?;
        let store = &config.store;
        let options = RocksOptions {
            cache_bytes: store.cache_mb << 20,
            write_buffer_bytes: store.write_buffer_mb << 20,
            read_threads: store.read_threads,
            common: Options { keep_changes: store.keep_changes, ..Options::default() },
            ..RocksOptions::default()
        };
        let engine = RocksDb::open(&config.server.data_dir.join("db"), &options).map_err(|error| error.to_string())?;
        let engine = Arc::new(engine);
        let parts = Parts {
            config: Arc::new(config),
            engine: Arc::<RocksDb>::clone(&engine),
            key: SigningKey::parse(&key).map_err(|error| error.to_string())?,
            clock: Clock::system(),
            random: Random::system(),
            // Nobody uploads anything.
            blobs: Arc::new(MemoryBlobs::default()),
            thumbnailer: Arc::new(NoThumbnails),
            turn: None,
            copied: engine.copied(),
        };
        let server = Server::start(parts).await.map_err(|error| error.to_string())?;
        server.index_messages();
        Ok(Self { server, engine, newest: Cell::default() })
    }

    /// Waits until search has indexed all messages.
    async fn indexed(&self) {
        loop {
            let followed = self.server.base.view().get(&FOLLOWED, &(0,)).await.expect("the database is read");
            let position = followed.filter(|followed| followed.walk.is_none()).map(|followed| followed.position());
            if position.unwrap_or_default() >= self.newest.get() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Maker for InProcess {
    type Account = LoggedIn;

    async fn account(&self, name: &str) -> LoggedIn {
        let accounts = &self.server.accounts;
        let new = NewAccount { localpart: Some(name.to_owned()), ..NewAccount::default() };
        let user = accounts.create(&Door::Operator, &new).await.expect("the name is free");
        let issued = accounts.issue_login_token(&user).await.expect("the configuration allows it");
        let credentials = Credentials::Token(&issued.token);
        accounts.login(credentials, &NewSession::default()).await.expect("the token is valid")
    }

    fn token(&self, account: &LoggedIn) -> String {
        account.tokens.access.clone()
    }

    async fn create_room(&self, creator: &LoggedIn) -> String {
        let creation = Creation {
            creator: creator.user.clone(),
            version: None,
            preset: Preset::PublicChat,
            published: false,
            alias: None,
            name: Some(NAME.to_owned()),
            topic: None,
            invite: Vec::new(),
            creation_content: CanonicalJsonObject::new(),
            initial_state: Vec::new(),
            power_levels: CanonicalJsonObject::new(),
        };
        self.server.rooms.create(creation).await.expect("a plain room can be created").to_string()
    }

    async fn join(&self, account: &LoggedIn, room: &str) {
        let (room, user) = (room_id(room), account.user.clone());
        let content = CanonicalJsonObject::new();
        let change = Change { actor: user.clone(), target: user, action: Action::Join, content };
        self.server.rooms.submit(room, WithProfile(change)).await.expect("anyone may join");
        self.server.has_joined(&account.user, room).await;
    }

    async fn say(&self, account: &LoggedIn, room: &str, number: usize) {
        let LoggedIn { user, device, .. } = account.clone();
        // As the endpoint names it, so that the rows are as long.
        let scope = format!("send m.room.message {room}");
        let transaction = Transaction { user, device, scope, id: format!("fill{number}") };
        let content = serde_json::from_value(message(number)).expect("canonical JSON");
        let (sender, kind) = (account.user.clone(), "m.room.message".into());
        let message = Message { sender, kind, content, transaction: Some(transaction) };
        let sent = self.server.rooms.submit(room_id(room), message).await.expect("a member may speak");
        self.newest.set(self.newest.get().max(sent.position));
    }
}

fn room_id(room: &str) -> &RoomId {
    room.try_into().expect("a room id")
}

#[cfg(test)]
mod tests;
