//! What a member has not read of a room: notifications and highlights, of the main timeline and of each thread.
//!
//! By the default push rules it is a difference of tallies (`count.rs`), less what was redacted ([`tallies`]): nothing
//! was written per member but rows for those whom an event names. Who has rules of their own that bear on the room is
//! counted event by event ([`own_rules`]), bounded and kept.
//!
//! How far a member has read is the furthest of several marks: the join, receipts for the whole room, and receipts or
//! own events in the thread. An event of one's own marks its own thread alone: who answers in a thread has not seen the
//! other ones.
//!
//! Spec: [receiving notifications](https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications),
//! [threaded read receipts](https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts).

mod moved;
mod own_rules;
mod tallies;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::AddAssign, sync::Arc};

use ruma::{OwnedEventId, OwnedUserId, UserId};

use self::own_rules::Rules;
use super::{
    count::{self, Counted},
    receipts::thread_of,
    view::{Event, RoomView},
};
use crate::{
    keyspace::{EventNo, HEAD, MARK, RoomNo, UNREAD},
    records::reading::{Mark, Tally},
    tx::{Fault, View},
};

/// Rooms that are looked at in one step.
const ROOMS: usize = 1000;

/// By what a member has read up to somewhere: the third part of a key of `MARK`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum By {
    /// A receipt for the whole room.
    Receipt = 0,
    /// A receipt for the main timeline.
    ReceiptInMain = 1,
    /// An event of the member's own in the main timeline.
    OwnEvent = 2,
    /// A receipt for a thread.
    ReceiptInThread = 3,
    /// An event of the member's own in a thread.
    OwnEventInThread = 4,
}

/// What is not read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Events that notify.
    pub notifications: u32,
    /// Those of them that highlight.
    pub highlights: u32,
}

/// What a member has not read of a room.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Unread {
    /// Of the main timeline.
    pub main: Count,
    /// Of threads, by their roots; those with nothing unread are left out.
    pub threads: BTreeMap<OwnedEventId, Count>,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.notifications = self.notifications.saturating_add(other.notifications);
        self.highlights = self.highlights.saturating_add(other.highlights);
    }
}

impl Unread {
    /// Of the room as a whole.
    pub fn total(&self) -> Count {
        let mut total = self.main;
        self.threads.values().for_each(|count| total += *count);
        total
    }

    /// From counts by thread, the main timeline under an empty name.
    fn of<'a>(counts: impl IntoIterator<Item = (&'a str, Count)>) -> Self {
        let mut unread = Self::default();
        for (thread, count) in counts {
            if thread.is_empty() {
                unread.main = count;
            } else if let (true, Ok(root)) = (count != Count::default(), OwnedEventId::try_from(thread)) {
                unread.threads.insert(root, count);
            }
        }
        unread
    }
}

/// Counts for members, and keeps what was counted. All of it is a cache.
#[derive(Default)]
pub struct Counter {
    kept: own_rules::Kept,
    tallied: tallies::Kept,
}

/// What one user's counts depend on besides the room: read once for many rooms.
pub struct Reader {
    user: OwnedUserId,
    rules: Option<Arc<Rules>>,
}

#[cfg(test)]
impl Counter {
    /// Goes on from every count, however little it took.
    fn keeping_all() -> Self {
        Self { kept: own_rules::Kept::of_many(), tallied: tallies::Kept::everything() }
    }
}

impl Counter {
    /// A user with their push rules.
    pub async fn reader(&self, view: &View, user: &UserId) -> Result<Reader, Fault> {
        Ok(Reader { user: user.to_owned(), rules: self.rules_of(view, user).await? })
    }

    /// What a member has not read.
    pub async fn count(&self, room: &RoomView, reader: &Reader) -> Result<Unread, Fault> {
        let marks = Marks::read(room, &reader.user).await?;
        match &reader.rules {
            Some(rules) => self.by_rules(room, reader, rules, &marks).await,
            None => self.by_default(room, &reader.user, &marks).await,
        }
    }
}

/// Of a member's rooms, each with the event that says so, those in which something came since the member last read the
/// whole room: where other push rules may make other counts, also of what notifies nobody by the default ones.
pub async fn unread_of(view: &View, user: &UserId, rooms: &[(RoomNo, EventNo)]) -> Result<Vec<RoomNo>, Fault> {
    let mut unread = Vec::new();
    for rooms in rooms.chunks(ROOMS) {
        // A damaged one is not looked at by anybody.
        let heads = view.get_each(&HEAD, &rooms.iter().map(|(room, _)| (*room,)).collect::<Vec<_>>()).await?;
        let keys: Vec<_> = rooms.iter().map(|(room, _)| (user.to_owned(), *room)).collect();
        let joins = view.get_many(&UNREAD, &keys).await?;
        let receipt = |(user, room)| (user, room, By::Receipt as u8, String::new());
        let marks = view.get_many(&MARK, &keys.into_iter().map(receipt).collect::<Vec<_>>()).await?;
        for ((((room, member), head), join), mark) in rooms.iter().zip(heads).zip(joins).zip(marks) {
            let Ok(Some(head)) = head else { continue };
            let mark = mark.unwrap_or_default();
            // The member's event may be a later one than the join: a new name.
            let counts = head.ordinal > join.unwrap_or_default().ordinal.max(mark.ordinal);
            if counts || head.next_event.saturating_sub(1) > mark.event.max(*member) {
                unread.push(*room);
            }
        }
    }
    Ok(unread)
}

/// Whether a member has read an event: by a receipt or an event of their own, in its thread or for the whole room.
pub async fn is_read(room: &RoomView, user: &UserId, event: &Event) -> Result<bool, Fault> {
    let marks = Marks::read(room, user).await?;
    if event.no <= marks.all.event {
        return Ok(true);
    }
    match thread_of(room, &event.pdu).await? {
        None => Ok(event.no <= marks.main.event),
        Some(root) => {
            let marks = marks_in(room, user, &[root.to_string()]).await?;
            Ok(marks.iter().any(|mark| event.no <= mark.event))
        }
    }
}

/// How far a member has read outside of threads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Marks {
    /// The whole room.
    all: Mark,
    /// The main timeline, at least as far.
    main: Mark,
    /// Whether the tally of `main` is known: a join knows only its ordinal.
    tally_known: bool,
}

impl Marks {
    async fn read(room: &RoomView, user: &UserId) -> Result<Self, Fault> {
        let key = (user.to_owned(), room.no);
        let joined = room.view.get(&UNREAD, &key).await?.unwrap_or_default().ordinal;
        let by = [By::Receipt, By::ReceiptInMain, By::OwnEvent];
        let keys = by.map(|by| (key.0.clone(), key.1, by as u8, String::new()));
        let found = room.view.get_many(&MARK, &keys).await?;
        let mut marks = Self::default();
        marks.all.ordinal = joined;
        marks.main = marks.all;
        for (by, mark) in by.into_iter().zip(found) {
            let Some(mark) = mark else { continue };
            if by == By::Receipt && mark.ordinal >= marks.all.ordinal {
                marks.all = mark;
            }
            let further = (mark.ordinal, mark.event) >= (marks.main.ordinal, marks.main.event);
            if further {
                (marks.main, marks.tally_known) = (mark, true);
            }
        }
        Ok(marks)
    }
}

/// How far a member has read in some threads, as far as they have marks of their own there.
async fn marks_in(room: &RoomView, user: &UserId, threads: &[String]) -> Result<Vec<Mark>, Fault> {
    let key = |by: By| move |thread: &String| (user.to_owned(), room.no, by as u8, thread.clone());
    let receipts = threads.iter().map(key(By::ReceiptInThread));
    let own = threads.iter().map(key(By::OwnEventInThread));
    let keys: Vec<_> = receipts.zip(own).flat_map(|(receipt, own)| [receipt, own]).collect();
    let found = room.view.get_many(&MARK, &keys).await?;
    let further = |pair: &[Option<Mark>]| pair.iter().flatten().max_by_key(|mark| mark.event).copied();
    Ok(found.chunks(2).map(|pair| further(pair).unwrap_or_default()).collect())
}

/// What a thread had counted at an ordinal.
pub(super) async fn tally_at(room: &RoomView, thread: &str, ordinal: u32) -> Result<Tally, Fault> {
    match count::counted_at(&room.view, room.no, thread, ordinal).await? {
        Some(Counted { tally, .. }) => Ok(tally),
        None if thread.is_empty() => Ok(room.head.before_threads.tally(ordinal)),
        None => Ok(Tally::default()),
    }
}
