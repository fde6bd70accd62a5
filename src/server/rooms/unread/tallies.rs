//! Counting by the default rules: of each thread the difference of two tallies, with what names the member and without
//! what was redacted.
//!
//! A count begins at what the member has read of the whole room. Clients that know threads read these one by one and
//! never say it of the room: then all threads since the join are behind that. So what took many rows is kept, by member
//! and room, and the next count goes on from there: it looks at threads that got longer and at those where the member
//! has read on ([`moved`]), and neither at those that are read nor at those that stay unread. All of it is a cache:
//! what was forgotten is counted anew and comes to the same, as long as no bound was met.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use quick_cache::{Weighter, sync::Cache};
use ruma::{OwnedUserId, UserId};

use super::{
    Count, Counter, Marks, Unread, marks_in,
    moved::{self, Seen},
    tally_at,
};
use crate::{
    keyspace::{COUNTED_THREAD, NAMED, RoomNo, TALLY, UNCOUNTED},
    records::reading::{Mark, Named, Tally, Uncounted},
    rooms::view::RoomView,
    tx::Fault,
};

/// Rows that name a member are counted up to here.
const MAX_NAMED: usize = 1000;
/// Redacted events that nobody has to read any more are taken off up to here, the newest.
const MAX_UNCOUNTED: usize = 1000;
/// Threads with something new since the whole room was read, those with the newest events.
const MAX_THREADS: usize = 500;
/// A count of more threads does not go on: it begins anew, with the newest.
const MAX_GONE_ON: usize = 2 * MAX_THREADS;
/// A count that takes fewer rows than this is made anew each time.
const FEW: usize = 16;
/// The most threads of all counts that are kept, a count without any being one: some hundred bytes each.
const MAX_KEPT: u64 = 300_000;
/// How many counts these are likely to be.
const USUAL_KEPT: usize = 1000;
/// The main timeline among threads.
const MAIN: &str = "";

/// What was counted for members, as far as it took many rows.
pub struct Kept {
    counts: Cache<(OwnedUserId, RoomNo), Arc<Counted>, ByThreads>,
    /// From how many rows on.
    few: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { counts: Cache::with_weighter(USUAL_KEPT, MAX_KEPT, ByThreads), few: FEW }
    }
}

#[cfg(test)]
impl Kept {
    /// Every count, however little it took.
    pub fn everything() -> Self {
        Self { few: 0, ..Self::default() }
    }
}

#[derive(Clone)]
struct ByThreads;

impl Weighter<(OwnedUserId, RoomNo), Arc<Counted>> for ByThreads {
    fn weight(&self, _: &(OwnedUserId, RoomNo), counted: &Arc<Counted>) -> u64 {
        counted.tallied.threads.len().max(1) as u64
    }
}

/// What was counted for a member, and from what.
struct Counted {
    seen: Seen,
    ordinal: u32,
    marks: Marks,
    tallied: Arc<Tallied>,
}

/// What a member has not read, by thread.
#[derive(Clone, Debug, Default)]
pub struct Tallied {
    threads: BTreeMap<String, Thread>,
    /// How many rows it took to count it from the beginning.
    rows: usize,
    /// Some threads were too many to be looked at.
    cut: bool,
}

/// What a member has not read of a thread.
#[derive(Clone, Copy, Debug)]
struct Thread {
    /// The ordinal up to which it is read.
    read: u32,
    /// The ordinal of its newest event that counts.
    newest: u32,
    /// What it has counted up to there.
    tally: Tally,
    /// The ordinal up to which rows of single events are in the count: those that name, and those that take back.
    settled: u32,
    count: Count,
}

/// Whose look at which room, up to an ordinal.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The room.
    pub room: &'a RoomView,
    /// The member.
    pub user: &'a UserId,
    /// How far the member has read.
    pub marks: &'a Marks,
    /// Events that count up to here.
    pub until: u32,
}

impl Counter {
    /// What a member with the default rules has not read.
    pub(super) async fn by_default(&self, room: &RoomView, user: &UserId, marks: &Marks) -> Result<Unread, Fault> {
        let (look, seen) = (Look { room, user, marks, until: room.head.ordinal }, Seen::all(room));
        let key = (user.to_owned(), room.no);
        let kept = self.tallied.counts.get(&key);
        if kept.as_ref().is_some_and(|kept| kept.seen.at > seen.at) {
            // What was counted at a later snapshot says nothing of this one.
            return Ok(Tallied::anew(look).await?.unread());
        }
        let gone_on = match &kept {
            Some(kept) if kept.marks.all == marks.all => kept.go_on(look).await?,
            _ => None,
        };
        let goes_on = gone_on.is_some();
        let tallied = match gone_on {
            Some(tallied) => tallied,
            None => Arc::new(Tallied::anew(look).await?),
        };
        if goes_on || tallied.rows >= self.tallied.few {
            let counted = Counted { seen, ordinal: look.until, marks: *marks, tallied: Arc::clone(&tallied) };
            self.tallied.counts.insert(key, Arc::new(counted));
        } else if kept.is_some() {
            self.tallied.counts.remove(&key);
        }
        Ok(tallied.unread())
    }
}

impl Counted {
    /// The count of now, if not too much happened since this one. The marks for the whole room are the same.
    async fn go_on(&self, look: Look<'_>) -> Result<Option<Arc<Tallied>>, Fault> {
        if self.tallied.threads.len() > MAX_GONE_ON {
            return Ok(None);
        }
        let Some(moved) = moved::since(look.room, look.user, self.seen).await? else { return Ok(None) };
        let main_moved = self.marks.main != look.marks.main || moved.contains(MAIN);
        if moved.is_empty() && !main_moved && self.ordinal == look.until {
            return Ok(Some(Arc::clone(&self.tallied)));
        }
        let mut tallied = Tallied::clone(&self.tallied);
        match tallied.threads.get_mut(MAIN).filter(|_| !main_moved) {
            Some(main) => main.go_on(look.until, look.room.head.main),
            None => tallied.begin_main(look).await?,
        }
        let mut rows =
            if look.room.head.threaded > self.ordinal { look.threads_above(self.ordinal).await? } else { vec![] };
        let cut = tallied.cut || rows.len() == MAX_THREADS;
        let longer: BTreeSet<&str> = rows.iter().map(|(_, thread)| thread.as_str()).collect();
        let others = moved.iter().filter(|thread| !thread.is_empty() && !longer.contains(thread.as_str()));
        let others = others.filter_map(|thread| Some((tallied.threads.get(thread)?.newest, thread.clone())));
        let others: Vec<_> = others.collect();
        rows.extend(others);
        // Of a thread that is not among them all was read; unless they were too many, nothing older names anybody.
        let settled = if tallied.cut { 0 } else { self.ordinal };
        tallied.begin(look, rows, &moved, settled).await?;
        tallied.settle(look).await?;
        tallied.cut = cut;
        Ok(Some(Arc::new(tallied)))
    }
}

impl Tallied {
    /// What a member has not read, from their marks on.
    pub async fn anew(look: Look<'_>) -> Result<Self, Fault> {
        let mut tallied = Self::default();
        let read = look.marks.all.ordinal;
        if look.until <= read {
            return Ok(tallied);
        }
        tallied.begin_main(look).await?;
        if look.room.head.threaded > read {
            let rows = look.threads_above(read).await?;
            (tallied.rows, tallied.cut) = (rows.len(), rows.len() == MAX_THREADS);
            tallied.begin(look, rows, &BTreeSet::new(), 0).await?;
        }
        let single = tallied.settle(look).await?;
        tallied.rows += single;
        Ok(tallied)
    }

    /// By thread, the main timeline under an empty name.
    pub fn counts(&self) -> impl Iterator<Item = (&str, Count)> {
        self.threads.iter().map(|(thread, Thread { count, .. })| (thread.as_str(), *count))
    }

    fn unread(&self) -> Unread {
        Unread::of(self.counts())
    }

    /// Counts the main timeline from where it is read.
    async fn begin_main(&mut self, Look { room, marks, until, .. }: Look<'_>) -> Result<(), Fault> {
        let read = marks.main.ordinal;
        let before = if marks.tally_known { marks.main.tally } else { tally_at(room, MAIN, read).await? };
        let tally = if until < room.head.ordinal { tally_at(room, MAIN, until).await? } else { room.head.main };
        let main = Thread { read, newest: until, tally, settled: read, count: between(before, tally) };
        self.threads.insert(MAIN.to_owned(), main);
        Ok(())
    }

    /// Counts threads, given with the ordinals of their newest events: those that were counted and have not `moved` go
    /// on, the others begin where they are read. Of one that was not counted yet, rows up to `settled` say nothing.
    async fn begin(
        &mut self,
        look: Look<'_>,
        rows: Vec<(u32, String)>,
        moved: &BTreeSet<String>,
        settled: u32,
    ) -> Result<(), Fault> {
        let Look { room, user, marks: Marks { all, .. }, until } = look;
        let (keys, names): (Vec<_>, Vec<_>) =
            rows.iter().map(|(newest, thread)| ((room.no, thread.clone(), *newest), thread.clone())).unzip();
        let tallies = room.view.get_many(&TALLY, &keys).await?;
        let marks = marks_in(room, user, &names).await?;
        for (((newest, thread), tally), mark) in rows.into_iter().zip(tallies).zip(marks) {
            let tally =
                if newest <= until { tally.unwrap_or_default() } else { tally_at(room, &thread, until).await? };
            let own = Some(mark).filter(|mark: &Mark| mark.ordinal >= all.ordinal && mark.event > 0);
            let read = own.map_or(all.ordinal, |mark| mark.ordinal);
            let known = self.threads.remove(&thread);
            if let Some(mut goes_on) = known.filter(|known| known.read == read && !moved.contains(&thread)) {
                goes_on.go_on(newest, tally);
                self.threads.insert(thread, goes_on);
            } else if newest > read {
                let before = if let Some(own) = own { own.tally } else { tally_at(room, &thread, read).await? };
                let settled = if known.is_some() { read } else { read.max(settled) };
                let begun = Thread { read, newest, tally, settled, count: between(before, tally) };
                self.threads.insert(thread, begun);
            }
        }
        Ok(())
    }

    /// Takes in what rows of single events say. Says how many there were.
    async fn settle(&mut self, look: Look<'_>) -> Result<usize, Fault> {
        let Some(from) = self.threads.values().map(|thread| thread.settled).min() else { return Ok(0) };
        if from >= look.until {
            return Ok(0);
        }
        let mut rows = self.add_named(look, from).await?;
        if look.room.head.uncounted > from {
            rows += self.take_redacted(look, from).await?;
        }
        self.threads.values_mut().for_each(|thread| thread.settled = look.until);
        Ok(rows)
    }

    /// Adds the events that name the member, beside what all members are told of.
    async fn add_named(&mut self, Look { room, user, until, .. }: Look<'_>, from: u32) -> Result<usize, Fault> {
        let at = |ordinal: u32| (user.to_owned(), room.no, ordinal.saturating_add(1));
        let rows = room.view.scan_back(&NAMED, NAMED.between(&at(from), &at(until)), MAX_NAMED).await?;
        for ((_, _, ordinal), Named { thread, silent, room }) in &rows {
            if let Some(thread) = self.unsettled(thread, *ordinal) {
                thread.count += Count { notifications: (*silent).into(), highlights: (!room).into() };
            }
        }
        Ok(rows.len())
    }

    /// Takes off what was redacted before the member has read it.
    async fn take_redacted(&mut self, Look { room, until, .. }: Look<'_>, from: u32) -> Result<usize, Fault> {
        let at = |ordinal: u32| (room.no, ordinal.saturating_add(1));
        let rows = room.view.scan_back(&UNCOUNTED, UNCOUNTED.between(&at(from), &at(until)), MAX_UNCOUNTED).await?;
        for ((_, ordinal), Uncounted { thread, tally }) in &rows {
            if let Some(Thread { count, .. }) = self.unsettled(thread, *ordinal) {
                count.notifications = count.notifications.saturating_sub(tally.loud);
                count.highlights = count.highlights.saturating_sub(tally.room);
            }
        }
        Ok(rows.len())
    }

    /// A thread in whose count an event's own rows are not yet, if the event is unread there.
    fn unsettled(&mut self, thread: &str, ordinal: u32) -> Option<&mut Thread> {
        self.threads.get_mut(thread).filter(|thread| ordinal > thread.settled)
    }
}

impl Thread {
    /// The same thread with what came since.
    fn go_on(&mut self, newest: u32, tally: Tally) {
        self.count += between(self.tally, tally);
        (self.newest, self.tally) = (newest, tally);
    }
}

impl Look<'_> {
    /// Of the threads in which something came above an ordinal those with the newest events, with their ordinals.
    async fn threads_above(&self, ordinal: u32) -> Result<Vec<(u32, String)>, Fault> {
        let range = COUNTED_THREAD.from(&(self.room.no,), &(self.room.no, ordinal.saturating_add(1)));
        let rows = self.room.view.scan_back(&COUNTED_THREAD, range, MAX_THREADS).await?;
        Ok(rows.into_iter().map(|((_, newest), thread)| (newest, thread)).collect())
    }
}

fn between(read: Tally, now: Tally) -> Count {
    Count { notifications: now.loud.saturating_sub(read.loud), highlights: now.room.saturating_sub(read.room) }
}
