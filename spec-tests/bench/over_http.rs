//! Synapse is filled over HTTP: only it writes its database. It knows an application service meanwhile, so that no
//! password is hashed; where it is measured it has none, since it would ask for each event whether to tell it.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use depesche_spec_tests::Server;
use depesche_spec_tests::server::Options;
use hyper::Method;

use crate::contents::Wanted;
use crate::fill::{self, Maker, Stock};
use crate::site::END;
use crate::wire::{Connection, field};
use crate::{app_service, requests};

/// Fills the database in the folder of a Synapse that has ended.
pub async fn fill(directory: &Path, options: &Options, wanted: &Wanted) -> Result<Stock, String> {
    let file = directory.join("app-service.yaml");
    fs::write(&file, app_service::registration().to_string())
        .map_err(|error| format!("{}: {error}", file.display()))?;
    let options = Options { data_dir: Some(directory.to_owned()), app_services: vec![file], ..options.clone() };
    let mut server = Server::try_start(options)?;
    let maker = OverHttp { address: server.address(), idle: RefCell::default() };
    let stock = fill::fill(&maker, wanted, "Synapse").await;
    server.terminate(END).ok_or("Synapse does not end when told")?;
    Ok(stock)
}

/// A server that runs.
struct OverHttp {
    address: SocketAddr,
    /// Connections that nobody uses now. There are as many as there were requests at a time, however many accounts.
    idle: RefCell<Vec<Connection>>,
}

impl OverHttp {
    /// Does something on a connection that has this access token.
    async fn with<T>(&self, token: &str, work: impl AsyncFnOnce(&mut Connection) -> T) -> T {
        let idle = self.idle.borrow_mut().pop();
        let mut wire = idle.unwrap_or_else(|| Connection::new(self.address, None));
        wire.authorize(token);
        let done = work(&mut wire).await;
        self.idle.borrow_mut().push(wire);
        done
    }
}

impl Maker for OverHttp {
    /// The access token.
    type Account = String;

    async fn account(&self, name: &str) -> String {
        let body = app_service::register(name).to_string();
        let register =
            async |wire: &mut Connection| wire.request(Method::POST, "/_matrix/client/v3/register", body.into()).await;
        let answer = self.with(app_service::TOKEN, register).await;
        field(&answer, "access_token").expect("a token").to_owned()
    }

    fn token(&self, account: &String) -> String {
        account.clone()
    }

    async fn create_room(&self, creator: &String) -> String {
        self.with(creator, requests::create_room).await
    }

    async fn join(&self, account: &String, room: &str) {
        self.with(account, async |wire: &mut Connection| requests::join(wire, room).await).await;
    }

    async fn say(&self, account: &String, room: &str, number: usize) {
        let transaction = format!("fill{number}");
        let say = async |wire: &mut Connection| requests::say(wire, room, &transaction, number).await;
        self.with(account, say).await;
    }
}
