//! `GET /sync`: what is new for one device since a token.
//!
//! One answer is computed at one snapshot, whose position becomes the next token. Before the snapshot is taken, the
//! device's [`session`] watches everything that could be news; so what the snapshot does not show wakes the poll, and a
//! later poll learns from the watch which rooms to look at. A room that nobody watched for long enough is looked at.
//!
//! | file | what |
//! |---|---|
//! | `session.rs` | the standing watch of a device, kept between polls |
//! | `polls.rs` | how many polls of a device wait |
//! | `v3.rs` | one answer |
//! | `room.rs` | the part of one joined or left room; with `timeline.rs`, `delta.rs`, `summary.rs` |
//! | `room/asked.rs` | what all rooms of an answer have in common |
//! | `passing.rs` | receipts and typing in one room |
//! | `stripped.rs` | invites and knocks |
//! | `events.rs`, `initial.rs` | the deprecated `/events` and `/initialSync` |
//! | `lists.rs` | whose device lists to fetch anew, also for `/keys/changes` |
//!
//! A token from a time of which this database, a restored copy, knows nothing ([`crate::restored`]) is answered like none:
//! all rooms with all their state, their timelines cut, so that the client takes them as they are now. Only to-device
//! messages and device lists go on from it.
//!
//! Nothing is written but the end of acknowledged to-device messages.
//!
//! Spec: [syncing](https://spec.matrix.org/v1.19/client-server-api/#syncing),
//! [filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering).

mod delta;
pub mod events;
pub mod initial;
mod lists;
mod passing;
mod polls;
mod presence;
mod room;
mod session;
mod shape;
pub(crate) mod stripped;
mod summary;
mod timeline;
mod v3;

#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use depesche_rules::filter::{self, BadFilter};
use depesche_store::{Changes, Position, Watch};
use ruma::{
    OwnedDeviceId, OwnedUserId, UserId,
    api::client::{filter::FilterDefinition, sync::sync_events::v3 as wire},
    presence::PresenceState,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};

pub use self::lists::DeviceLists;
use self::{
    polls::{Poll, Polls},
    session::{Session, Sessions},
};
use crate::{
    account_data::AccountData,
    base::Base,
    keys::Keys,
    presence::Presences,
    restored::Restored,
    rooms::{
        tokens::{BadToken, SyncToken},
        unread::Counter,
    },
    to_device::ToDevice,
    topic,
    turns::{self, Turns},
    tx::Fault,
};

/// Answers with all of a user's rooms under way at a time, of as many users: each may read much. The others wait.
const FIRST_AT_ONCE: usize = 4;
/// Answers to `/keys/changes` under way at a time: each may look at many users.
const KEY_CHANGES_AT_ONCE: usize = 1;

/// What a device asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub user: OwnedUserId,
    /// On which device.
    pub device: OwnedDeviceId,
    /// The filter, looked up if the client named a stored one.
    pub filter: FilterDefinition,
    /// The token of an earlier answer.
    pub since: Option<String>,
    /// All state of all joined rooms, whatever the token. Answered at once.
    pub full_state: bool,
    /// How long to wait if there is nothing new.
    pub timeout: Duration,
    /// State as of the end of the timelines, not of their start.
    pub use_state_after: bool,
    /// How the user of the device is while it polls.
    pub set_presence: PresenceState,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// `since`, `from` or `to` is not a token of this server.
    #[error(transparent)]
    BadToken(#[from] BadToken),
    /// The filter is larger than we take.
    #[error(transparent)]
    BadFilter(#[from] BadFilter),
    /// Not the caller's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Answers `/sync`.
pub struct Syncs {
    base: Arc<Base>,
    account_data: Arc<AccountData>,
    keys: Arc<Keys>,
    to_device: Arc<ToDevice>,
    presence: Arc<Presences>,
    /// What members have not read.
    pub unread: Counter,
    restored: Restored,
    /// Hears of all changes of keys above a position.
    key_news: (Position, Watch),
    sessions: Sessions,
    polls: Polls,
    first: Semaphore,
    /// A user's turn for a first sync: whoever has many devices keeps nobody else from theirs.
    first_of: Turns,
    changing: Semaphore,
}

/// The turn of an answer with all of a user's rooms, until this is dropped.
struct FirstTurn<'a> {
    _own: turns::Held<'a>,
    _of_all: SemaphorePermit<'a>,
}

impl Syncs {
    /// Nobody syncs yet.
    pub fn new(
        base: Arc<Base>,
        account_data: Arc<AccountData>,
        keys: Arc<Keys>,
        to_device: Arc<ToDevice>,
        presence: Arc<Presences>,
        restored: Restored,
    ) -> Arc<Self> {
        let (sessions, polls) = (Sessions::default(), Polls::default());
        let (first, first_of) = (Semaphore::new(FIRST_AT_ONCE), Turns::default());
        let (unread, changing) = (Counter::default(), Semaphore::new(KEY_CHANGES_AT_ONCE));
        let mut watch = base.topics().watch();
        watch.add(topic::keys());
        let key_news = (base.view().position(), watch);
        Arc::new(Self {
            base,
            account_data,
            keys,
            to_device,
            presence,
            unread,
            restored,
            key_news,
            sessions,
            polls,
            first,
            first_of,
            changing,
        })
    }

    /// What is new, at once or as soon as there is something. The future may be dropped at any time.
    pub async fn sync(&self, request: &Request) -> Result<wire::Response, SyncError> {
        self.poll(request, || async { Ok(()) }).await
    }

    /// The same for a caller who may be sent away while they wait: `still_here` says whether they have been, and is asked
    /// only where they could have been. Before a wait, if what happened since the token was not watched all along: then
    /// nothing would wake the poll. And after one.
    pub async fn poll<E, F>(&self, request: &Request, still_here: impl Fn() -> F) -> Result<wire::Response, E>
    where
        E: From<SyncError>,
        F: Future<Output = Result<(), E>>,
    {
        filter::check(&request.filter).map_err(SyncError::from)?;
        let _polling = self.presence.poll(&request.user, &request.device, &request.set_presence);
        match &request.since {
            Some(since) => self.later(request, self.token(since).map_err(SyncError::from)?, still_here).await,
            None => Ok(self.first(request).await?),
        }
    }

    async fn first(&self, request: &Request) -> Result<wire::Response, SyncError> {
        let _turn = self.first_turn(&request.user).await?;
        let mut session = self.session(request);
        session.sent.clear();
        let view = session.refresh(&self.base).await?;
        Ok(self.answer(request, None, &view, &mut session).await?.response)
    }

    /// Waits for the turn of an answer that has all of a user's rooms.
    async fn first_turn(&self, user: &UserId) -> Result<FirstTurn<'_>, Fault> {
        let own = self.first_of.of(user).await;
        let of_all = self.first.acquire().await;
        Ok(FirstTurn {
            _own: own,
            _of_all: of_all.map_err(|_| Fault::Bug("the turns of first syncs are closed".into()))?,
        })
    }

    /// Whether an answer since a token costs as much as a first one: it was asked for all state, or its token says
    /// nothing, or is from before the changes of which the database knows.
    async fn is_as_a_first(&self, request: &Request, since: SyncToken, session: &Session) -> Result<bool, Fault> {
        if request.full_state || self.restored.lost(since.position) {
            return Ok(true);
        }
        if session.has_watched(since.position) {
            return Ok(false);
        }
        Ok(matches!(self.base.engine.changes(since.position, 1).await?, Changes::Trimmed))
    }

    async fn later<E, F>(
        &self,
        request: &Request,
        since: SyncToken,
        still_here: impl Fn() -> F,
    ) -> Result<wire::Response, E>
    where
        E: From<SyncError>,
        F: Future<Output = Result<(), E>>,
    {
        let longest = self.base.config.limits.sync_timeout;
        let wait = if request.full_state { Duration::ZERO } else { request.timeout.min(longest) };
        let mut until = Instant::now() + wait;
        let poll = self.polls.begin((request.user.clone(), request.device.clone()));
        let mut session = self.session(request);
        if since.to_device > session.acknowledged {
            let done = self.to_device.acknowledge(&request.user, &request.device, since.to_device).await;
            done.map_err(SyncError::from)?;
            session.acknowledged = since.to_device;
        }
        let mut waited = false;
        let mut turn = if self.is_as_a_first(request, since, &session).await.map_err(SyncError::from)? {
            Some(self.first_turn(&request.user).await.map_err(SyncError::from)?)
        } else {
            None
        };
        let mut seen = since.position;
        loop {
            if let Some(time) = session.gathers(seen) {
                waited = true;
                self.wait(&poll, &mut until, session.gathered(seen, time)).await;
            }
            let view = session.refresh(&self.base).await.map_err(SyncError::from)?;
            let answer = self.answer(request, Some(since), &view, &mut session).await.map_err(SyncError::from)?;
            // Whoever waits has nothing in memory.
            drop(turn.take());
            let ends = !answer.empty || Instant::now() >= until || *self.base.stopping.borrow();
            if if ends { waited } else { !waited && !session.has_watched(since.position) } {
                still_here().await?;
            }
            if ends {
                return Ok(answer.response);
            }
            waited = true;
            seen = view.position();
            self.wait(&poll, &mut until, session.changed(seen)).await;
        }
    }

    /// Waits for news, or until the poll has to end; what ends it for good sets its time to now.
    async fn wait(&self, poll: &Poll<'_>, until: &mut Instant, news: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = news => {}
            () = sleep_until(*until) => {}
            () = poll.ended() => *until = Instant::now(),
            () = self.base.stopped() => {}
        }
    }

    fn session(&self, request: &Request) -> session::Held<'_> {
        let new = || Session::new(self.base.topics(), &request.user, &request.device);
        self.sessions.hold((request.user.clone(), request.device.clone()), self.base.clock.now_ms(), new)
    }

    /// Reads a token. One from beyond the newest commit was not made here.
    fn token(&self, text: &str) -> Result<SyncToken, BadToken> {
        let token: SyncToken = text.parse()?;
        let made_here = token.to_device <= token.position && token.position <= self.base.view().position();
        if made_here { Ok(token) } else { Err(BadToken) }
    }
}
