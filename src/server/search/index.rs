//! The index: which events of a room have a word.
//!
//! It follows the changes of the database, and no send waits for it or writes for it. Every two seconds, sooner where
//! much is said ([`pace`]), and whenever somebody searches, it takes the rooms that changed and indexes what is new in
//! each, many events in one lazy batch: a row holds all events of the batch that have the same word, so that what many
//! say costs little more than what one says.
//! How far it came stands in the same batches (`INDEXED` for each room, `FOLLOWED` for all): a crash takes away rows
//! and notes alike, and the next start goes on from there.
//!
//! What is older than the changes that are kept (a database from before there was an index, a server that had it turned
//! off) is found by a walk through the rooms, one bounded step after another, the newest events of each room first.
//!
//! Events are indexed by their numbers. A room's numbers follow its timeline as long as nothing is fetched later.
//!
//! Encrypted rooms have no rows. A redaction takes the rows of its event away. Nothing here decides who may see what:
//! the reader does ([`super::query`]).

mod batch;
mod pace;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use depesche_store::{Changes, CommitError, Position};
use tokio::sync::Mutex;

pub use self::batch::is_encrypted;
use self::{batch::Batch, pace::Pace};
use crate::{
    Base, Fault,
    keyspace::{FOLLOWED, ROOM, RoomNo},
    records::search::Followed,
    topic,
    tx::Tx,
};

/// The pause between two steps of the walk: others have the processor and the disk in the meantime.
const BREATH: Duration = Duration::from_millis(20);
/// The pause after the database failed.
const PAUSE: Duration = Duration::from_secs(10);
/// Changes read in one step.
const CHANGES: usize = 1000;
/// So many changes without a word in them are noted all the same, so that the next start need not look at them again.
const UNNOTED: usize = 10_000;
/// Rooms of one step of the walk.
const ROOMS: usize = 64;
/// The only row of [`FOLLOWED`].
const ROW: (u8,) = (0,);

/// Keeps the index.
pub struct Index {
    base: Arc<Base>,
    /// One at a time writes.
    seen: Mutex<Option<Seen>>,
}

/// What one look did.
struct Work {
    /// The changes it found.
    changes: usize,
    /// Whether there is more to walk.
    more: bool,
}

/// How far the index has come, and what it knows to be due. Lost with the process: the rows say the same.
struct Seen {
    /// As it is stored.
    stored: Followed,
    /// The rooms of all changes at or below are indexed, or due.
    position: Position,
    due: BTreeSet<RoomNo>,
    /// Changes since the stored position.
    unnoted: usize,
}

impl Index {
    /// Over this base.
    pub fn new(base: Arc<Base>) -> Self {
        Self { base, seen: Mutex::default() }
    }

    /// Works until the server stops.
    pub async fn run(&self) {
        let mut walking = false;
        let mut pace = Pace::start();
        loop {
            let pause = match self.work(&mut walking).await {
                Ok(Work { more: true, .. }) => BREATH,
                Ok(Work { changes, .. }) => pace.pause(changes).max(BREATH),
                Err(fault) => {
                    tracing::warn!(%fault, "the index of messages cannot go on for now");
                    PAUSE
                }
            };
            tokio::select! {
                biased;
                () = self.base.stopped() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// What is new, and a step of the walk.
    async fn work(&self, walking: &mut bool) -> Result<Work, Fault> {
        let changes = self.catch_up().await?;
        let Some(room) = self.walk().await? else {
            if std::mem::take(walking) {
                tracing::info!("all messages are indexed");
            }
            return Ok(Work { changes, more: false });
        };
        if !std::mem::replace(walking, true) {
            tracing::info!(room, "indexing earlier messages for search, in the background");
        }
        Ok(Work { changes, more: true })
    }

    /// Indexes what was committed before this call, but for what the walk is to find. Answers how many changes it looked
    /// at. May be dropped at any time.
    pub async fn catch_up(&self) -> Result<usize, Fault> {
        let target = self.base.view().position();
        let mut seen = self.seen.lock().await;
        let seen = self.load(&mut seen).await?;
        let mut changes = 0;
        loop {
            while !seen.due.is_empty() {
                self.index_due(seen).await?;
            }
            if seen.position >= target {
                return Ok(changes);
            }
            changes += self.follow(seen).await?;
        }
    }

    async fn load<'s>(&self, seen: &'s mut Option<Seen>) -> Result<&'s mut Seen, Fault> {
        let known = if let Some(known) = seen.take() {
            known
        } else {
            // Without a row, from the first change on, if it is still kept.
            let stored = self.base.view().get(&FOLLOWED, &ROW).await?;
            let stored = stored.unwrap_or(Followed { position: 0, walk: None });
            Seen { position: stored.position(), stored, due: BTreeSet::new(), unnoted: 0 }
        };
        Ok(seen.insert(known))
    }

    /// Reads which rooms changed. Answers how many changes there were.
    async fn follow(&self, seen: &mut Seen) -> Result<usize, Fault> {
        // What is visible now is among the changes that are read now.
        let now = self.base.view().position();
        let changes = match self.base.engine.changes(seen.position, CHANGES).await? {
            Changes::Found(changes) => changes,
            Changes::Trimmed => {
                tracing::debug!("the index was too far behind to follow");
                seen.stored = Followed { position: now.0, walk: Some(0) };
                (seen.position, seen.unnoted) = (now, UNNOTED);
                self.note(seen).await?;
                return Ok(0);
            }
        };
        let rooms = changes.iter().flat_map(|change| &change.topics).filter_map(|topic| topic::room_of(*topic));
        seen.due.extend(rooms);
        seen.unnoted += changes.len();
        let last = changes.last().map(|change| change.position);
        seen.position =
            if changes.len() < CHANGES { last.map_or(now, |last| last.max(now)) } else { last.unwrap_or(now) };
        if seen.due.is_empty() {
            self.note(seen).await?;
        }
        Ok(changes.len())
    }

    /// Writes down how far the index is, if that is far from what is written.
    async fn note(&self, seen: &mut Seen) -> Result<(), Fault> {
        if seen.unnoted < UNNOTED {
            return Ok(());
        }
        let tx = self.base.tx();
        tx.lazy();
        let followed = Followed { position: seen.position.0, ..seen.stored };
        tx.put(&FOLLOWED, &ROW, &followed);
        if self.commit(&tx).await? {
            (seen.stored, seen.unnoted) = (followed, 0);
        }
        Ok(())
    }

    /// Commits a batch. Says whether it was: one that somebody began and gave up may have come before it.
    async fn commit(&self, tx: &Tx) -> Result<bool, Fault> {
        match self.base.commit(tx).await {
            Ok(_) => Ok(true),
            Err(Fault::Commit(CommitError::Conflict(_))) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// One batch of the rooms that are due.
    async fn index_due(&self, seen: &mut Seen) -> Result<(), Fault> {
        let tx = self.base.tx();
        tx.lazy();
        let mut batch = Batch::new(&tx);
        let mut done = Vec::new();
        for room in &seen.due {
            if batch.is_full() {
                break;
            }
            if self.what_is_new(&mut batch, *room, seen.stored.walk.is_some()).await? {
                done.push(*room);
            }
        }
        batch.write();
        let followed = Followed { position: seen.position.0, ..seen.stored };
        // A batch of nothing but this would be one for each change in rooms that are not indexed.
        let noted = done.len() == seen.due.len() && tx.writes() > 0;
        if noted {
            tx.put(&FOLLOWED, &ROW, &followed);
        }
        if !self.commit(&tx).await? {
            return Ok(());
        }
        for room in done {
            seen.due.remove(&room);
        }
        if noted {
            (seen.stored, seen.unnoted) = (followed, 0);
        }
        if seen.due.is_empty() { self.note(seen).await } else { Ok(()) }
    }

    /// Takes in what is new in a room. What cannot be read is passed over.
    async fn what_is_new(&self, batch: &mut Batch<'_>, room: RoomNo, walking: bool) -> Result<bool, Fault> {
        let taken = batch.what_is_new(room, walking).await;
        match self.base.unless_damaged(room, taken)? {
            Some(all) => Ok(all),
            None => self.base.unless_damaged(room, batch.pass_over(room).await).map(|_| true),
        }
    }

    /// Takes in what came before. What cannot be read ends it.
    async fn history(&self, batch: &mut Batch<'_>, room: RoomNo) -> Result<bool, Fault> {
        let taken = batch.history(room).await;
        Ok(self.base.unless_damaged(room, taken)?.unwrap_or(true))
    }

    /// A step through the history of the rooms. Answers where it goes on, if it does.
    pub async fn walk(&self) -> Result<Option<RoomNo>, Fault> {
        let mut seen = self.seen.lock().await;
        let seen = self.load(&mut seen).await?;
        let Some(from) = seen.stored.walk else { return Ok(None) };
        let tx = self.base.tx();
        tx.lazy();
        let rooms = tx.view().scan_stored(ROOM.from(&(), &(from,)), ROOMS).await?;
        let rooms: Vec<RoomNo> = rooms.iter().filter_map(|(key, _)| ROOM.parse(key)).map(|(room,)| room).collect();
        let mut batch = Batch::new(&tx);
        let mut next = if rooms.len() < ROOMS { None } else { rooms.last().map(|room| room + 1) };
        for room in rooms {
            if batch.is_full()
                || !self.what_is_new(&mut batch, room, true).await?
                || !self.history(&mut batch, room).await?
            {
                next = Some(room);
                break;
            }
        }
        batch.write();
        let followed = Followed { walk: next, ..seen.stored };
        tx.put(&FOLLOWED, &ROW, &followed);
        if !self.commit(&tx).await? {
            return Ok(Some(from));
        }
        seen.stored = followed;
        Ok(next)
    }
}
