//! A server under measurement, with the accounts that the scenarios share.

use std::cell::{Cell, RefCell};
use std::path::Path;

use depesche_spec_tests::client::encode;
use depesche_spec_tests::server::{Options, Registration};
use depesche_spec_tests::{Server, Target};
use futures::stream::{self, StreamExt as _};
use hyper::Method;
use serde_json::{Value, json};

use crate::wire::{Connection, field};

/// Registrations at a time.
const REGISTRATIONS: usize = 4;

/// A running server.
pub struct Site {
    /// What the table calls it.
    pub name: &'static str,
    server: Server,
    options: Options,
    /// The access tokens of the accounts made so far.
    tokens: RefCell<Vec<String>>,
    transactions: Cell<u64>,
}

/// An account with a connection of its own.
pub struct Person<'a> {
    site: &'a Site,
    /// Its connection.
    pub wire: Connection,
}

impl Site {
    /// Depesche, and Synapse unless alone.
    pub async fn start_all(alone: bool, processor: usize) -> Result<Vec<Self>, String> {
        let under = ["taskset", "-c", &processor.to_string()].map(str::to_owned);
        let mut sites = vec![Self::start("Depesche", Target::Depesche, &under)?];
        if !alone {
            sites.push(Self::start("Synapse", Target::Synapse, &under)?);
        }
        // The figures at rest are those of a server that has been asked something.
        for site in &sites {
            site.people(1).await;
        }
        Ok(sites)
    }

    /// A server as the argument of another command.
    pub fn start(name: &'static str, target: Target, under: &[String]) -> Result<Self, String> {
        let options = Options {
            registration: Registration::Open,
            target: Some(target),
            under: under.to_vec(),
            ..Options::default()
        };
        let server = Server::try_start(options.clone())?;
        Ok(Self { name, server, options, tokens: RefCell::default(), transactions: Cell::new(0) })
    }

    /// A server like this one, empty.
    pub fn another(&self) -> Self {
        let server = Server::start(self.options.clone());
        let options = self.options.clone();
        Self { name: self.name, server, options, tokens: RefCell::default(), transactions: Cell::new(0) }
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The server, to be restarted.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.server.id()
    }

    /// Where its data lies.
    pub fn directory(&self) -> &Path {
        self.server.directory()
    }

    /// The first accounts, as many as asked for, each on a connection of its own. Those that are missing are made.
    pub async fn people(&self, count: usize) -> Vec<Person<'_>> {
        let have = self.tokens.borrow().len();
        let made: Vec<String> =
            stream::iter(have..count).map(|number| self.register(number)).buffered(REGISTRATIONS).collect().await;
        self.tokens.borrow_mut().extend(made);
        let tokens = self.tokens.borrow();
        let address = self.server.address();
        tokens[..count].iter().map(|token| Person { site: self, wire: Connection::new(address, Some(token)) }).collect()
    }

    async fn register(&self, number: usize) -> String {
        let mut wire = Connection::new(self.server.address(), None);
        let body = json!({
            "username": format!("u{number}"), "password": "correct horse battery staple",
            "auth": { "type": "m.login.dummy" }
        });
        let answer = wire.request(Method::POST, "/_matrix/client/v3/register", body.to_string().into()).await;
        field(&answer, "access_token").expect("a token").to_owned()
    }

    fn transaction(&self) -> u64 {
        let next = self.transactions.get() + 1;
        self.transactions.set(next);
        next
    }
}

impl Person<'_> {
    /// Creates a room that anyone may join.
    pub async fn create_room(&mut self) -> String {
        let body = json!({ "preset": "public_chat", "name": "Benchmark" });
        let answer = self.wire.post("/_matrix/client/v3/createRoom", &body).await;
        field(&answer, "room_id").expect("a room id").to_owned()
    }

    /// Joins a room.
    pub async fn join(&mut self, room: &str) {
        self.wire.post(&format!("/_matrix/client/v3/rooms/{}/join", encode(room)), &json!({})).await;
    }

    /// Sends a message of a usual length; its event id.
    pub async fn say(&mut self, room: &str) -> String {
        let transaction = self.site.transaction();
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.message/t{transaction}", encode(room));
        let answer = self.wire.put(&path, &message(transaction)).await;
        field(&answer, "event_id").expect("an event id").to_owned()
    }

    /// `/sync` from a token with the filter of a usual client; the answer.
    pub async fn sync(&mut self, since: Option<&str>, timeout_ms: u32) -> bytes::Bytes {
        let filter = encode(r#"{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":20}}}"#);
        let mut path = format!("/_matrix/client/v3/sync?filter={filter}&timeout={timeout_ms}");
        if let Some(since) = since {
            path.push_str("&since=");
            path.push_str(&encode(since));
        }
        self.wire.get(&path).await
    }
}

fn message(number: u64) -> Value {
    json!({ "msgtype": "m.text", "body": format!("{number}: an ordinary sentence, such as people write to each other") })
}

/// The token for the next `/sync`.
pub fn next_batch(answer: &[u8]) -> String {
    field(answer, "next_batch").expect("next_batch").to_owned()
}

/// Has so many messages sent to a room, several at a time.
pub async fn fill(people: &mut [Person<'_>], room: &str, messages: usize) {
    let shares = people.len();
    let sending = people.iter_mut().enumerate().map(async |(place, person)| {
        for _ in (place..messages).step_by(shares) {
            person.say(room).await;
        }
    });
    futures::future::join_all(sending).await;
}

/// Joins all to a room, several at a time.
pub async fn join_all(people: &mut [Person<'_>], room: &str) {
    for part in people.chunks_mut(8) {
        futures::future::join_all(part.iter_mut().map(|person| person.join(room))).await;
    }
}
