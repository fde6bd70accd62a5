//! Finding messages, names and topics of rooms by their words, in all rooms that a user is or was in.
//!
//! `index.rs` keeps which events have a word, behind the changes of the database; a search first lets it catch up.
//! `query.rs` answers: `lists.rs` says which events of a room have all words, newest first, and the rooms' lists are
//! merged; each event is then looked at as its reader would see it ([`crate::rooms::show`]).
//!
//! The **rank** of a result is the share of its words that are looked for: 1 for a message that consists of them, less
//! the more else it says; of equal ones the newer comes first. To order by rank, the newest [`WINDOW`] results are taken
//! and ordered; when they have been shown, the next.
//!
//! The number of results is exact up to some hundred; beyond, it is what was found so far. What a user may not see is not
//! counted: a number would tell of it.
//!
//! Spec: [server-side search](https://spec.matrix.org/v1.19/client-server-api/#server-side-search).

mod index;
mod lists;
mod query;
mod show;
#[cfg(test)]
mod tests;
mod token;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ruma::{DeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, UserId, api::client::filter::RoomEventFilter};
use serde_json::value::RawValue;

pub use self::token::{Group, Token};
use self::{index::Index, query::Search};
use crate::{Base, Fault, rooms::tokens::BadToken, tasks::supervise};

pub use crate::records::search::Part;

/// How long a search waits for the index.
const PATIENCE: Duration = Duration::from_secs(1);
/// Results that are ordered by rank together.
pub const WINDOW: usize = 500;

/// Finds events.
pub struct Searches {
    base: Arc<Base>,
    index: Arc<Index>,
}

/// What is looked for.
pub struct Query<'a> {
    /// Who looks.
    pub user: &'a UserId,
    /// On which device, which is told its own transaction ids.
    pub device: &'a DeviceId,
    /// What the user typed: all of its words are to be found.
    pub term: &'a str,
    /// Where they are to be found.
    pub parts: BTreeSet<Part>,
    /// In which events.
    pub filter: &'a RoomEventFilter,
    /// The best first; else the newest.
    pub by_rank: bool,
    /// How many results at most.
    pub limit: usize,
    /// What stands around the results.
    pub context: Option<Context>,
    /// With the state of the rooms.
    pub state: bool,
    /// Where to go on.
    pub from: Option<&'a str>,
}

/// What is wanted around a result.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// Events before it.
    pub before: usize,
    /// Events after it.
    pub after: usize,
    /// What those who sent them were called then.
    pub profiles: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// How many results there are, approximately.
    pub count: usize,
    /// The words that were looked for.
    pub words: Vec<String>,
    /// The results of this page, in the order that was asked for.
    pub results: Vec<Hit>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Token>,
    /// The state of the rooms, if it was asked for.
    pub state: BTreeMap<OwnedRoomId, Vec<Box<RawValue>>>,
}

/// A result.
#[derive(Debug)]
pub struct Hit {
    /// How well it fits, above 0 and at most 1.
    pub rank: f64,
    /// The event.
    pub id: OwnedEventId,
    /// Its room.
    pub room: OwnedRoomId,
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The event as the user sees it.
    pub event: Box<RawValue>,
    /// What stands around it, if that was asked for.
    pub context: Option<Around>,
}

impl Hit {
    /// About as many as it has when it is written.
    fn bytes(&self) -> usize {
        let Some(Around { before, after, profiles, .. }) = &self.context else { return self.event.get().len() };
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let profiles = profiles.iter().flatten();
        let profiles = profiles.map(|(_, Profile { displayname, avatar_url })| text(displayname) + text(avatar_url));
        let events = before.iter().chain([&self.event]).chain(after);
        events.map(|event| event.get().len()).chain(profiles).sum()
    }
}

/// What stands around a result.
#[derive(Debug)]
pub struct Around {
    /// Before the events before.
    pub start: String,
    /// Behind the events after.
    pub end: String,
    /// Newest first.
    pub before: Vec<Box<RawValue>>,
    /// Oldest first.
    pub after: Vec<Box<RawValue>>,
    /// What those who sent the events were called then, if that was asked for.
    pub profiles: Option<BTreeMap<OwnedUserId, Profile>>,
}

/// What somebody was called. As the membership event has it: it may be anything.
#[derive(Clone, Debug, Default, serde::Deserialize, serde::Serialize)]
pub struct Profile {
    /// The display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub displayname: Option<String>,
    /// The avatar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

/// Why nothing is answered.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The operator has turned it off.
    #[error("this server does not search messages")]
    Off,
    /// The token is not one of ours.
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Searches {
    /// Over this base.
    pub fn new(base: Arc<Base>) -> Self {
        Self { index: Arc::new(Index::new(Arc::clone(&base))), base }
    }

    /// From now on, until the server stops, events are indexed as they come. Without it a search does so.
    pub(crate) fn follow(&self) {
        if self.base.config.search.enabled {
            let index = Arc::clone(&self.index);
            supervise(&self.base, "the index of messages", move || {
                let index = Arc::clone(&index);
                async move { index.run().await }
            });
        }
    }

    /// A page of what is found. What was sent before is found, but where so much is new that it takes too long to index.
    pub async fn search(&self, query: &Query<'_>) -> Result<Found, SearchError> {
        if !self.base.config.search.enabled {
            return Err(SearchError::Off);
        }
        let from = query.from.map(str::parse::<Token>).transpose()?;
        match tokio::time::timeout(PATIENCE, self.index.catch_up()).await {
            Ok(Ok(_)) => {}
            // What is indexed can be found all the same: on a full disk, say.
            Ok(Err(fault)) => tracing::warn!(%fault, "a search could not index what is new"),
            Err(_) => tracing::debug!("a search did not wait for the index"),
        }
        Ok(Search::open(&self.base, query, from).await?.page().await?)
    }
}
