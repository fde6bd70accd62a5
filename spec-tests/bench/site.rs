//! A server under measurement, with the accounts and rooms that the scenarios find.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use depesche_spec_tests::client::encode;
use depesche_spec_tests::server::{Options, Registration};
use depesche_spec_tests::{Server, Target};

use crate::contents::{Contents, Wanted};
use crate::fill::{Part, Stock};
use crate::wire::{Connection, field};
use crate::{in_process, over_http, requests};

/// How long a server may take to end.
pub const END: Duration = Duration::from_secs(60);
/// The scenario of the account that asks each server something before it counts as idle.
const IDLE: &str = "idle";

/// A running server.
pub struct Site {
    /// What the table calls it.
    pub name: &'static str,
    server: Server,
    target: Target,
    options: Options,
    stock: Stock,
    transactions: Cell<usize>,
}

/// An account with a connection of its own.
pub struct Person<'a> {
    site: &'a Site,
    /// Its connection.
    pub wire: Connection,
}

impl Site {
    /// Depesche, and Synapse unless alone, both with what is wanted.
    pub async fn start_all(alone: bool, processor: usize, wanted: &Wanted) -> Result<Vec<Self>, String> {
        let under = ["taskset", "-c", &processor.to_string()].map(str::to_owned);
        let mut sites = vec![Self::start("Depesche", Target::Depesche, &under)?];
        if !alone {
            sites.push(Self::start("Synapse", Target::Synapse, &under)?);
        }
        let wanted: Vec<_> = [(IDLE, Contents::people(1))].into_iter().chain(wanted.iter().cloned()).collect();
        for site in &mut sites {
            site.fill(&wanted).await?;
        }
        // The figures at rest are those of a server that has been asked something.
        for site in &sites {
            site.people(IDLE)[0].wire.get("/_matrix/client/v3/account/whoami").await;
        }
        Ok(sites)
    }

    /// A server with nothing in it, as the argument of another command.
    pub fn start(name: &'static str, target: Target, under: &[String]) -> Result<Self, String> {
        let options = Options {
            registration: Registration::Closed,
            target: Some(target),
            under: under.to_vec(),
            ..Options::default()
        };
        let server = Server::try_start(options.clone())?;
        Ok(Self { name, server, target, options, stock: Stock::new(), transactions: Cell::new(0) })
    }

    /// A server like this one, with nothing in it.
    pub fn another(&self) -> Self {
        Self::start(self.name, self.target, &self.options.under).unwrap_or_else(|why| panic!("{why}"))
    }

    /// Gives the server what is wanted, and starts it anew on that.
    pub async fn fill(&mut self, wanted: &Wanted) -> Result<(), String> {
        self.end();
        let directory = self.server.directory();
        let stock = match self.target {
            Target::Depesche => in_process::fill(directory, wanted)?,
            Target::Synapse => over_http::fill(directory, &self.options, wanted).await?,
        };
        self.stock.extend(stock);
        self.server.restart();
        Ok(())
    }

    /// An orderly end and a new start, so that nothing is left in logs that are read at the start alone.
    pub fn restart(&mut self) {
        self.end();
        self.server.restart();
    }

    fn end(&mut self) {
        self.server.terminate(END).expect("the server ends when told");
    }

    /// How long it took from its last start to its first answer.
    pub fn started_in(&self) -> Duration {
        self.server.started_in()
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.server.id()
    }

    /// Where its data lies.
    pub fn directory(&self) -> &Path {
        self.server.directory()
    }

    /// The accounts of a scenario, each with a connection of its own that opens with its first request.
    pub fn people(&self, scenario: &str) -> Vec<Person<'_>> {
        let address = self.server.address();
        let tokens = self.part(scenario).tokens.iter();
        tokens.map(|token| Person { site: self, wire: Connection::new(address, Some(token)) }).collect()
    }

    /// The rooms of a scenario.
    pub fn rooms(&self, scenario: &str) -> &[String] {
        &self.part(scenario).rooms
    }

    fn part(&self, scenario: &str) -> &Part {
        self.stock.get(scenario).unwrap_or_else(|| panic!("{} is not filled for {scenario}", self.name))
    }

    fn transaction(&self) -> usize {
        let next = self.transactions.get() + 1;
        self.transactions.set(next);
        next
    }
}

impl Person<'_> {
    /// Creates a room that anyone may join.
    pub async fn create_room(&mut self) -> String {
        requests::create_room(&mut self.wire).await
    }

    /// Joins a room.
    pub async fn join(&mut self, room: &str) {
        requests::join(&mut self.wire, room).await;
    }

    /// Sends a message of a usual length; its event id.
    pub async fn say(&mut self, room: &str) -> String {
        let transaction = self.site.transaction();
        requests::say(&mut self.wire, room, &format!("t{transaction}"), transaction).await
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

/// The token for the next `/sync`.
pub fn next_batch(answer: &[u8]) -> String {
    field(answer, "next_batch").expect("next_batch").to_owned()
}
