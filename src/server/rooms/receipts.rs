//! Receipts: up to where somebody has read, told to the room or kept to oneself; and the fully read marker.
//!
//! A receipt of a type in a thread (or in none) is one row, and moves forward only, in the order of the timeline. The
//! log orders them by their last move, so that `/sync` reads what is new and nothing else. What they cover for the
//! counts is written beside them, as marks.
//!
//! Spec: [receipts](https://spec.matrix.org/v1.19/client-server-api/#receipts),
//! [fully read markers](https://spec.matrix.org/v1.19/client-server-api/#fully-read-markers).

use std::{collections::BTreeSet, sync::Arc};

use depesche_rules::{
    bounds::MAX_THREAD_HOPS,
    pdu::Pdu,
    relations::{Relation, THREAD},
};
use depesche_store::{MAX_SCAN, Position, Stamp, StampAt};
use ruma::{OwnedEventId, OwnedUserId, RoomId, UserId};
use serde::Deserialize;
use serde_json::value::to_raw_value;

use super::{
    history::ReadRefusal,
    show::Viewer,
    unread::{self, By},
    view::{Event, RoomView},
};
use crate::{
    account_data::{AccountData, AccountDataError},
    base::Base,
    codec::KeyPart,
    keyspace::{ACCOUNT_DATA, MARK, RECEIPT, RECEIPT_LOG, RoomNo},
    pushers,
    records::reading::{Mark, Receipt},
    topic,
    tx::{Fault, Tx, View},
};

/// The type of the fully read marker.
const FULLY_READ: &str = "m.fully_read";
/// The name of the main timeline among threads.
pub const MAIN: &str = "main";

/// Who is told of a receipt: the third part of a key of `RECEIPT`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// `m.read`: the room.
    Public = 0,
    /// `m.read.private`: the user alone.
    Private = 1,
}

/// What a receipt is for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Thread {
    /// The whole room.
    #[default]
    None,
    /// What is in no thread.
    Main,
    /// The thread of this root.
    Of(OwnedEventId),
}

/// What somebody says to have read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// `m.read`.
    pub public: Option<OwnedEventId>,
    /// `m.read.private`.
    pub private: Option<OwnedEventId>,
    /// What both are for.
    pub thread: Thread,
    /// `m.fully_read`.
    pub fully: Option<OwnedEventId>,
}

/// Why nothing is read.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Only members read.
    #[error("you are not joined to this room")]
    NotJoined,
    /// The event is not in the room, or the member may not see it.
    #[error("the room has no such event")]
    NotFound,
    /// The event is not in the thread that the receipt is for.
    #[error("the event is not related to this thread")]
    NotInThread,
    /// The fully read marker could not be kept.
    #[error(transparent)]
    AccountData(#[from] AccountDataError),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A receipt with whose it is.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Who has read.
    pub user: OwnedUserId,
    /// Who is told.
    pub kind: Kind,
    /// What it is for: empty, [`MAIN`], or the root of a thread.
    pub thread: String,
    /// The rest.
    pub receipt: Receipt,
}

/// The receipts of this server's users.
pub struct Receipts {
    base: Arc<Base>,
    account_data: Arc<AccountData>,
}

impl Receipts {
    /// Over this base.
    pub fn new(base: Arc<Base>, account_data: Arc<AccountData>) -> Self {
        Self { base, account_data }
    }

    /// Moves a member's receipts and fully read marker, all or none. What would move backwards stays.
    pub async fn read(&self, user: &UserId, room: &RoomId, read: &Read) -> Result<(), ReceiptError> {
        let view = self.base.view();
        let room = RoomView::find(&view, room).await?.ok_or(ReceiptError::NotJoined)?;
        if !room.is_joined(user).await? {
            return Err(ReceiptError::NotJoined);
        }
        let public = event(&room, user, read.public.as_ref(), &read.thread, &self.base).await?;
        let private = event(&room, user, read.private.as_ref(), &read.thread, &self.base).await?;
        let fully = event(&room, user, read.fully.as_ref(), &Thread::None, &self.base).await?;
        let (room, public, private, fully) = (&room, &public, &private, &fully);
        let _turn = if fully.is_some() { Some(self.account_data.turn(user).await) } else { None };
        self.base
            .transact(|tx| async move {
                for (kind, event) in [(Kind::Public, public), (Kind::Private, private)] {
                    if let Some(event) = event {
                        self.put(&tx, room, user, kind, &read.thread, event).await?;
                    }
                }
                match fully {
                    Some(event) => self.put_fully_read(&tx, room, user, event).await,
                    None => Ok(()),
                }
            })
            .await
    }

    async fn put(
        &self,
        tx: &Tx,
        room: &RoomView,
        user: &UserId,
        kind: Kind,
        thread: &Thread,
        event: &Event,
    ) -> Result<(), Fault> {
        let name = thread.name();
        let key = (room.no, user.to_owned(), kind as u8, name.clone());
        let seen_by = seen_by(room.no, user, kind);
        if let Some(before) = tx.read(&RECEIPT, &key).await? {
            if before.place >= event.meta.place {
                return Ok(());
            }
            tx.delete(&RECEIPT_LOG, &(seen_by.clone(), before.position, room.no, user.to_owned(), name.clone()));
        }
        let (position, ts_ms) = (Position::default(), self.base.clock.now_ms());
        let event_id = event.pdu.event_id().clone();
        let receipt = Receipt { position, place: event.meta.place, ts_ms, event_id };
        tx.put_stamped_value(&RECEIPT, &key, &receipt, vec![Receipt::POSITION]);
        let stamp = position_in_log(&seen_by);
        tx.put_stamped(&RECEIPT_LOG, &(seen_by, position, room.no, user.to_owned(), name), &(), vec![stamp]);
        tx.topic(if kind == Kind::Public { topic::passing(room.no) } else { topic::private_receipt(user) });
        pushers::count_changed(&self.base, tx, user).await?;
        mark(tx, room, user, thread, event).await
    }

    async fn put_fully_read(&self, tx: &Tx, room: &RoomView, user: &UserId, event: &Event) -> Result<(), ReceiptError> {
        #[derive(Deserialize)]
        struct Content {
            event_id: OwnedEventId,
        }

        let stored = tx.read(&ACCOUNT_DATA, &(user.to_owned(), room.no, FULLY_READ.to_owned())).await?;
        let before = stored.and_then(|stored| serde_json::from_str::<Content>(&stored.content).ok());
        if let Some(before) = before
            && let Some(no) = room.event_no(&before.event_id).await?
            && room.event(no).await?.meta.place >= event.meta.place
        {
            return Ok(());
        }
        let content = serde_json::json!({ "event_id": event.pdu.event_id() });
        let content = to_raw_value(&content).map_err(|error| Fault::Bug(format!("no JSON: {error}")))?;
        Ok(self.account_data.put(tx, user, room.no, FULLY_READ, &content).await?)
    }
}

impl Thread {
    /// The name in keys and in events: empty, `main`, or the root.
    fn name(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Main => MAIN.to_owned(),
            Self::Of(root) => root.to_string(),
        }
    }
}

/// The event to read up to, if the member sees it and it is in the thread.
async fn event(
    room: &RoomView,
    user: &UserId,
    id: Option<&OwnedEventId>,
    thread: &Thread,
    base: &Base,
) -> Result<Option<Event>, ReceiptError> {
    let Some(id) = id else { return Ok(None) };
    let mut viewer = Viewer::new(room, user.to_owned(), None, base.now()).await?;
    let event = viewer.known_event(id).await.map_err(|refusal| match refusal {
        ReadRefusal::Fault(fault) => ReceiptError::Fault(fault),
        _ => ReceiptError::NotFound,
    })?;
    let fits = match thread {
        Thread::None => true,
        Thread::Main => thread_of(room, &event.pdu).await?.is_none(),
        Thread::Of(root) => is_about(room, &event.pdu, root).await?,
    };
    if fits { Ok(Some(event)) } else { Err(ReceiptError::NotInThread) }
}

/// The root of the thread that an event is in.
pub async fn thread_of(room: &RoomView, event: &Pdu) -> Result<Option<OwnedEventId>, Fault> {
    let chain = relations(room, event).await?;
    Ok(chain.into_iter().find(|relation| relation.is(THREAD)).map(|to_root| to_root.parent))
}

/// Whether an event is a thread's root, in the thread, or about one of these.
async fn is_about(room: &RoomView, event: &Pdu, root: &OwnedEventId) -> Result<bool, Fault> {
    if event.event_id() == root {
        return Ok(true);
    }
    let chain = relations(room, event).await?;
    // What is in one thread is not about another.
    Ok(match chain.iter().find(|relation| relation.is(THREAD)) {
        Some(to_root) => to_root.parent == *root,
        None => chain.iter().any(|relation| relation.parent == *root),
    })
}

/// What an event is about, what that is about, and so on over a few steps, up to the root of a thread.
async fn relations(room: &RoomView, event: &Pdu) -> Result<Vec<Relation>, Fault> {
    let mut chain = Vec::new();
    let mut next = Relation::of(event);
    while let Some(relation) = next {
        let no = if relation.is(THREAD) || chain.len() == MAX_THREAD_HOPS {
            None
        } else {
            room.event_no(&relation.parent).await?
        };
        chain.push(relation);
        next = match no {
            Some(no) => Relation::of(&room.event(no).await?.pdu),
            None => None,
        };
    }
    Ok(chain)
}

/// Marks what a receipt covers as read, unless more is.
async fn mark(tx: &Tx, room: &RoomView, user: &UserId, thread: &Thread, event: &Event) -> Result<(), Fault> {
    let (by, name, counted) = match thread {
        Thread::None => (By::Receipt, String::new(), ""),
        Thread::Main => (By::ReceiptInMain, String::new(), ""),
        Thread::Of(root) => (By::ReceiptInThread, root.to_string(), root.as_str()),
    };
    let key = (user.to_owned(), room.no, by as u8, name);
    let ordinal = event.meta.facts.ordinal;
    if tx.read(&MARK, &key).await?.is_some_and(|before| before.event >= event.no) {
        return Ok(());
    }
    let tally = unread::tally_at(room, counted, ordinal).await?;
    tx.put(&MARK, &key, &Mark { event: event.no, ordinal, tally });
    Ok(())
}

/// The first part of a key of the log. A room's number and a user's id cannot be confused.
fn seen_by(room: RoomNo, user: &UserId, kind: Kind) -> String {
    match kind {
        Kind::Public => format!("{room:x}"),
        Kind::Private => user.to_string(),
    }
}

/// Where the position stands in a key of the log: behind the table's number and the first part.
fn position_in_log(seen_by: &String) -> Stamp {
    let mut before = vec![RECEIPT_LOG.number];
    seen_by.write(&mut before);
    Stamp { at: StampAt::Key, offset: before.len() }
}

/// The public receipts of a room that moved after a position, or all; the last to move first, at most `limit`.
pub async fn public(view: &View, room: RoomNo, since: Option<Position>, limit: usize) -> Result<Vec<Shown>, Fault> {
    let rows = logged(view, format!("{room:x}"), since, limit).await?;
    shown(view, Kind::Public, rows).await
}

/// The private receipts of a user that moved after a position, in whichever room, with the room's number.
pub async fn private_since(view: &View, user: &UserId, since: Position) -> Result<Vec<(RoomNo, Shown)>, Fault> {
    let rows = logged(view, user.to_string(), Some(since), MAX_SCAN).await?;
    let rooms: Vec<_> = rows.iter().map(|(room, _, _)| *room).collect();
    Ok(rooms.into_iter().zip(shown(view, Kind::Private, rows).await?).collect())
}

/// The rooms in which a user's private receipts moved after a position; `None` if they are too many to say.
pub async fn moved_privately(view: &View, user: &UserId, since: Position) -> Result<Option<BTreeSet<RoomNo>>, Fault> {
    let rows = logged(view, user.to_string(), Some(since), MAX_SCAN).await?;
    Ok((rows.len() < MAX_SCAN).then(|| rows.into_iter().map(|(room, _, _)| room).collect()))
}

/// The threads of a room in which a user's receipts moved after a position, by their names in keys; `None` if so many
/// moved, of all users in the room or of this one in all rooms, that it is not looked at.
pub async fn moved(
    room: &RoomView,
    user: &UserId,
    since: Position,
    most: usize,
) -> Result<Option<BTreeSet<String>>, Fault> {
    let mut threads = BTreeSet::new();
    for kind in [Kind::Public, Kind::Private] {
        let rows = logged(&room.view, seen_by(room.no, user, kind), Some(since), most).await?;
        if rows.len() == most {
            return Ok(None);
        }
        let own = rows.into_iter().filter(|(no, whose, _)| *no == room.no && whose == user);
        threads.extend(own.map(|(.., thread)| thread));
    }
    Ok(Some(threads))
}

/// A user's own receipts of a kind in a room, at most `limit`.
pub async fn own(view: &View, room: RoomNo, user: &UserId, kind: Kind, limit: usize) -> Result<Vec<Shown>, Fault> {
    let rows = view.scan(&RECEIPT, RECEIPT.under(&(room, user.to_owned(), kind as u8)), limit).await?;
    Ok(rows.into_iter().map(|((_, user, _, thread), receipt)| Shown { user, kind, thread, receipt }).collect())
}

type Logged = (RoomNo, OwnedUserId, String);

async fn logged(view: &View, seen_by: String, since: Option<Position>, limit: usize) -> Result<Vec<Logged>, Fault> {
    let mut range = RECEIPT_LOG.under(&(seen_by.clone(),));
    if let Some(since) = since {
        range.from = RECEIPT_LOG.under(&(seen_by, Position(since.0.saturating_add(1)))).from;
    }
    let rows = view.scan_back(&RECEIPT_LOG, range, limit).await?;
    Ok(rows.into_iter().map(|((_, _, room, user, thread), ())| (room, user, thread)).collect())
}

async fn shown(view: &View, kind: Kind, rows: Vec<Logged>) -> Result<Vec<Shown>, Fault> {
    let keys: Vec<_> = rows.into_iter().map(|(room, user, thread)| (room, user, kind as u8, thread)).collect();
    let receipts = view.get_many(&RECEIPT, &keys).await?;
    let rows = keys.into_iter().zip(receipts);
    Ok(rows
        .filter_map(|((_, user, _, thread), receipt)| Some(Shown { user, kind, thread, receipt: receipt? }))
        .collect())
}
