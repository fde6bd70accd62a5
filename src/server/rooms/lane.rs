//! The lane: a room's one writer. It takes what waits, builds the events one on the state the other left, and commits
//! them as one batch.
//!
//! Each intent has its own answer; one that is refused leaves the others alone. A conflict with another node's batch
//! throws the working state away and decides all of it again, three times at most. Where the conflict is not about the
//! room but about a row that one of the intents relies on, each is then decided alone, so that it alone fails.

use std::{
    collections::HashMap,
    sync::{Arc, MutexGuard},
    time::Duration,
};

use depesche_rules::{
    auth::Reject, bounds::MAX_TRANSACTION_ID_BYTES, build::EventDraft, format::FormatError, signing::SigningKey,
};
use depesche_store::{CommitError, Mutex, Position};
use futures::future::BoxFuture;
use ruma::{OwnedDeviceId, OwnedEventId, OwnedUserId};
use tokio::sync::{mpsc, oneshot};

use super::{append, working::Working, write::write};
use crate::{
    base::Base,
    expiry,
    keyspace::{HEAD, RoomNo, TRANSACTION},
    tx::{Fault, Tx},
};

/// The most intents of one batch.
const INTENTS: usize = 64;
/// A batch takes no further intent once it has this many bytes.
const BYTES: usize = 1024 * 1024;
/// The most intents that wait for one room.
const WAITING: usize = 1024;
/// How often a batch is decided, the first time included.
const ATTEMPTS: usize = 3;
/// For how long a repeated transaction id is recognised: a client that goes offline in the middle of a request comes back
/// within a week.
pub(crate) const TRANSACTION_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// How long a lane keeps its room in memory with nothing to do.
const IDLE: Duration = Duration::from_mins(1);

/// What someone wants of a room. Decided at its turn, on the state that the intents before it left.
pub trait Intent: Send + Sync + 'static {
    /// What to append, or why not. May be asked again after a conflict, so it must have no effect but what it puts into
    /// the batch beside: rows that land with the events. If it is refused, they land nowhere.
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>>;

    /// The transaction id that makes a repetition harmless.
    fn transaction(&self) -> Option<&Transaction> {
        None
    }
}

/// An intent's look at the room.
pub struct Turn<'a> {
    /// The room as the intents before left it.
    pub working: &'a mut Working,
    /// The batch in the making.
    pub tx: &'a Tx,
    /// The server.
    pub base: &'a Base,
}

/// What an intent comes to.
pub enum Verdict {
    /// Events to append, all or none. The last one's id is the answer.
    Append(Vec<EventDraft>),
    /// It is so already, by this event.
    Already(OwnedEventId),
}

/// A client's transaction id: a repetition on the same device and kind of request answers what the first did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transaction {
    /// Who sends.
    pub user: OwnedUserId,
    /// On which device.
    pub device: OwnedDeviceId,
    /// Room and kind of request.
    pub scope: String,
    /// The id the client chose.
    pub id: String,
}

/// What became of an intent that was not refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// The (last) event.
    pub event_id: OwnedEventId,
    /// A commit at or above which the event is visible.
    pub position: Position,
}

/// Why an intent came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The rules of the room, or ours, do not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// What is asked for does not fit how things stand.
    #[error("{0}")]
    BadState(String),
    /// The content is not what its type demands.
    #[error("{0}")]
    BadContent(String),
    /// A parameter is not what the request demands.
    #[error("{0}")]
    InvalidParam(String),
    /// The event would be larger than the specification allows.
    #[error("{0}")]
    TooLarge(String),
    /// This server does not know the room.
    #[error("this server does not know the room")]
    UnknownRoom,
    /// What the request names in the room does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The same annotation of the same event by the same user.
    #[error("{0}")]
    SaidAlready(String),
    /// A thread does not begin where it would.
    #[error("{0}")]
    NoThreadRoot(String),
    /// An alias does not point where it has to.
    #[error("{0}")]
    BadAlias(String),
    /// A restricted room whose conditions are met, but into which nobody of this server may let anyone.
    #[error("{0}")]
    UnableToGrant(String),
    /// The user takes no invites.
    #[error("this user takes no invites")]
    InviteBlocked,
    /// Too much waits for this room.
    #[error("too many requests wait for this room")]
    Busy,
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The lanes of all rooms.
pub struct Lanes {
    base: Arc<Base>,
    key: Arc<SigningKey>,
    open: Mutex<HashMap<RoomNo, mpsc::Sender<Job>>>,
}

struct Job {
    intent: Box<dyn Intent>,
    answer: oneshot::Sender<Result<Sent, Refusal>>,
}

impl Lanes {
    /// No room is in memory yet.
    pub fn new(base: Arc<Base>, key: Arc<SigningKey>) -> Arc<Self> {
        Arc::new(Self { base, key, open: Mutex::default() })
    }

    /// Queues an intent and waits for its answer. Dropping the future does not take the intent back.
    pub async fn submit(self: &Arc<Self>, room: RoomNo, intent: impl Intent) -> Result<Sent, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.queue(room, Job { intent: Box::new(intent), answer })?;
        answered.await.unwrap_or_else(|_| Err(Fault::Bug("a lane ended without an answer".into()).into()))
    }

    fn queue(self: &Arc<Self>, room: RoomNo, job: Job) -> Result<(), Refusal> {
        let mut open = self.open();
        // A lane that is listed and gone has panicked. The next one reads what is stored.
        if open.get(&room).is_some_and(mpsc::Sender::is_closed) {
            open.remove(&room);
        }
        let lane = open.entry(room).or_insert_with(|| {
            let (lane, queue) = mpsc::channel(WAITING);
            tokio::spawn(Arc::clone(self).run(room, queue));
            lane
        });
        lane.try_send(job).map_err(|_| Refusal::Busy)
    }

    async fn run(self: Arc<Self>, room: RoomNo, mut queue: mpsc::Receiver<Job>) {
        let mut working = None;
        loop {
            let first = match tokio::time::timeout(IDLE, queue.recv()).await {
                Ok(Some(job)) => job,
                Ok(None) => return,
                Err(_) => {
                    // Under the lock nobody queues, so an empty queue stays empty until the lane is gone.
                    let mut open = self.open();
                    if queue.is_empty() {
                        open.remove(&room);
                        return;
                    }
                    continue;
                }
            };
            working = self.batch(room, working, first, &mut queue).await;
        }
    }

    /// Decides and commits one batch, and answers its intents. Returns what may be kept of the room.
    async fn batch(
        &self,
        room: RoomNo,
        mut kept: Option<Working>,
        first: Job,
        queue: &mut mpsc::Receiver<Job>,
    ) -> Option<Working> {
        let mut jobs = vec![first];
        let mut conflicts = 0;
        loop {
            match self.attempt(room, kept.take(), &mut jobs, queue).await {
                Ok(working) => return Some(working),
                Err(Setback::HalfDone) => {}
                Err(Setback::Fault(Fault::Commit(CommitError::Conflict(_)))) if conflicts + 1 < ATTEMPTS => {
                    conflicts += 1;
                }
                Err(Setback::Fault(Fault::Commit(CommitError::Conflict(key))))
                    if jobs.len() > 1 && key != HEAD.key(&(room,)) =>
                {
                    return self.one_by_one(room, jobs).await;
                }
                Err(Setback::Fault(Fault::Commit(CommitError::Contract(_)))) if jobs.len() > 1 => {
                    return self.one_by_one(room, jobs).await;
                }
                Err(Setback::Fault(fault)) => {
                    for job in jobs {
                        job.answer(Err(fault.clone().into()));
                    }
                    return None;
                }
            }
        }
    }

    /// One of several intents made a batch that no engine takes, or that conflicts time and again: each gets a batch of its own, so that it alone fails.
    async fn one_by_one(&self, room: RoomNo, jobs: Vec<Job>) -> Option<Working> {
        let mut working = None;
        for job in jobs {
            // Nobody sends here, so that none joins in.
            let (_, mut nobody) = mpsc::channel(1);
            working = Box::pin(self.batch(room, working, job, &mut nobody)).await;
        }
        working
    }

    async fn attempt(
        &self,
        room: RoomNo,
        kept: Option<Working>,
        jobs: &mut Vec<Job>,
        queue: &mut mpsc::Receiver<Job>,
    ) -> Result<Working, Setback> {
        let tx = self.base.tx();
        let mut working = match kept {
            Some(working) => working,
            None => Working::load(&tx, room).await?,
        };
        working.begin(&tx);
        let verdicts = self.decide(&mut working, &tx, jobs, queue).await?;
        let position = if working.appended == 0 {
            tx.view().position()
        } else {
            append::close(&mut working, &tx).await?;
            self.base.commit(&tx).await?
        };
        working.committed(&self.base.events);
        for (job, verdict) in jobs.drain(..).zip(verdicts) {
            job.answer(verdict.map(|event_id| Sent { event_id, position }));
        }
        Ok(working)
    }

    /// Asks each intent in turn, and takes further ones from the queue while the batch has room.
    async fn decide(
        &self,
        working: &mut Working,
        tx: &Tx,
        jobs: &mut Vec<Job>,
        queue: &mut mpsc::Receiver<Job>,
    ) -> Result<Vec<Result<OwnedEventId, Refusal>>, Setback> {
        let mut verdicts: Vec<Result<OwnedEventId, Refusal>> = Vec::with_capacity(jobs.len());
        loop {
            let turn = verdicts.len();
            if turn == jobs.len() {
                if turn == INTENTS || working.bytes > BYTES {
                    return Ok(verdicts);
                }
                match queue.try_recv() {
                    Ok(job) => jobs.push(job),
                    Err(_) => return Ok(verdicts),
                }
            }
            let written = tx.writes();
            let verdict = self.take(working, tx, jobs[turn].intent.as_ref()).await;
            // A refusal or a fault may have struck in the middle of an append, or of another room's first events.
            let half_done = tx.writes() != written || matches!(verdict, Err(Refusal::Fault(_)));
            if verdict.is_err() && half_done {
                let job = jobs.remove(turn);
                job.answer(verdict.map(|event_id| Sent { event_id, position: Position(0) }));
                return Err(Setback::HalfDone);
            }
            verdicts.push(verdict);
        }
    }

    /// One intent: a repetition is answered as the first time; what it decides is written.
    async fn take(&self, working: &mut Working, tx: &Tx, intent: &dyn Intent) -> Result<OwnedEventId, Refusal> {
        let known = intent.transaction().map(Transaction::key).transpose()?;
        if let Some(key) = &known
            && let Some(event_id) = tx.read(&TRANSACTION, key).await?
        {
            return Ok(event_id);
        }
        let verdict = intent.decide(&mut Turn { working: &mut *working, tx, base: &self.base }).await?;
        let drafts = match verdict {
            Verdict::Already(event_id) => return Ok(event_id),
            Verdict::Append(drafts) => drafts,
        };
        let mut last = None;
        for draft in drafts {
            last = Some(write(&self.base, &self.key, working, tx, draft, intent.transaction()).await?);
        }
        let event_id = last.ok_or_else(|| Fault::Bug("an intent appends nothing".into()))?;
        if let Some(key) = &known {
            tx.put(&TRANSACTION, key, &event_id);
            expiry::put(tx, &TRANSACTION, key, &event_id, self.base.clock.now_ms().saturating_add(TRANSACTION_KEPT_MS));
        }
        Ok(event_id)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<RoomNo, mpsc::Sender<Job>>> {
        self.open.lock()
    }
}

/// Why a batch has to be decided again, or cannot be.
enum Setback {
    /// An intent failed after it had begun to append: it has its answer, and the others are decided anew without it.
    HalfDone,
    /// The store failed, or another node was faster.
    Fault(Fault),
}

impl From<Fault> for Setback {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Job {
    /// Nobody may be waiting any more: the outcome stands all the same.
    fn answer(self, outcome: Result<Sent, Refusal>) {
        let _ = self.answer.send(outcome);
    }
}

impl Transaction {
    /// The key of its row. A longer id would not fit there, and would take the whole batch with it.
    fn key(&self) -> Result<(OwnedUserId, OwnedDeviceId, String, String), Refusal> {
        if self.id.len() > MAX_TRANSACTION_ID_BYTES {
            let why = format!("a transaction id has at most {MAX_TRANSACTION_ID_BYTES} bytes");
            return Err(Refusal::InvalidParam(why));
        }
        Ok((self.user.clone(), self.device.clone(), self.scope.clone(), self.id.clone()))
    }
}

impl From<Reject> for Refusal {
    fn from(reject: Reject) -> Self {
        Self::Forbidden(reject.to_string())
    }
}

impl From<FormatError> for Refusal {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::TooLarge(_) => Self::TooLarge(error.to_string()),
            _ => Self::BadContent(error.to_string()),
        }
    }
}
