//! What an appended event adds to the counts of a room: its ordinal, the tally of its thread, rows for those it names,
//! and how far its sender has read. And what a redaction takes back.
//!
//! Nothing is written per member. The room's *ordinal* counts the events that notify anyone by the default rules; each
//! takes the next *tally* of its thread. Whoever has read up to an ordinal has unread what the tallies differ by. A tally
//! never changes: what was counted and then redacted has a row that says what to take off, for whom it is unread.
//!
//! Spec: [receiving notifications](https://spec.matrix.org/v1.19/client-server-api/#receiving-notifications).

use depesche_rules::{
    bounds::{MAX_MENTIONED_MEMBERS, MAX_THREAD_HOPS},
    pdu::Pdu,
    push,
    relations::{Relation, THREAD},
};
use ruma::{OwnedEventId, OwnedUserId, ServerName, events::room::member::MembershipState};

use super::{unread::By, working::Working};
use crate::{
    keyspace::{COUNTED_THREAD, EventNo, MARK, MEMBER, META, NAMED, RoomNo, TALLY, UNCOUNTED},
    records::{
        events::Meta,
        reading::{Mark, Named, Tally, Uncounted},
        rooms::Membership,
    },
    tx::{Fault, Tx, View},
};

/// What a thread has counted, and the ordinal of its newest event that counts; 0 if there is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counted {
    /// Up to now.
    pub tally: Tally,
    /// The ordinal of the newest event.
    pub newest: u32,
}

/// Counts an event of this number that is about to be appended.
pub async fn event(working: &mut Working, tx: &Tx, name: &ServerName, no: EventNo, pdu: &Pdu) -> Result<(), Fault> {
    let Some(levels) = working.power_levels(tx).await? else { return Ok(()) };
    let effect = push::default_effect(pdu, &levels);
    let named = members(tx, name, working.no, effect.highlight_users).await?;
    let counts = effect.notify || !named.is_empty();
    // By sending, one has read what the event follows. A change of state is not said to anyone, unless it notifies:
    // nobody is notified of what they do themselves.
    let reads = (pdu.state_key().is_none() || counts) && pdu.sender().server_name() == name;
    if !counts && !reads {
        return Ok(());
    }
    let thread = thread_of(working, tx, pdu).await?.map(|root| root.to_string()).unwrap_or_default();
    let mut counted = working.counted(tx, &thread).await?;
    if counts {
        working.head.ordinal += 1;
        let tally = Tally { loud: effect.notify.into(), room: effect.highlight_room.into() };
        working.remember_count(no, Uncounted { thread: thread.clone(), tally });
        counted.tally.loud += tally.loud;
        counted.tally.room += tally.room;
        let named_row = Named { thread: thread.clone(), silent: !effect.notify, room: effect.highlight_room };
        counted.newest = note(working, tx, &thread, counted);
        for user in named {
            tx.put(&NAMED, &(user, working.no, working.head.ordinal), &named_row);
        }
    }
    if reads {
        let mark = Mark { event: no, ordinal: working.head.ordinal, tally: counted.tally };
        let by = if thread.is_empty() { By::OwnEvent } else { By::OwnEventInThread };
        tx.put(&MARK, &(pdu.sender().clone(), working.no, by as u8, thread), &mark);
    }
    Ok(())
}

/// Of the users whom an event names, the members of this server: nobody else gets a row. Reads one row for each user of
/// this server.
async fn members(tx: &Tx, name: &ServerName, room: RoomNo, users: Vec<OwnedUserId>) -> Result<Vec<OwnedUserId>, Fault> {
    let keys: Vec<_> = users.into_iter().filter(|user| user.server_name() == name).map(|user| (user, room)).collect();
    // Peeked: only the room's lane changes who is a member, and the batch is the lane's.
    let found = tx.peek_many(&MEMBER, &keys).await?;
    let is_joined = |member: Option<Membership>| member.is_some_and(|member| member.state == MembershipState::Join);
    let joined = keys.into_iter().zip(found).filter_map(|((user, _), member)| is_joined(member).then_some(user));
    Ok(joined.take(MAX_MENTIONED_MEMBERS).collect())
}

/// Takes back what an event has counted that is about to lose its content.
pub async fn redacted(working: &mut Working, tx: &Tx, name: &ServerName, target: EventNo) -> Result<(), Fault> {
    let Some(Meta { facts, .. }) = tx.read(&META, &(working.no, target)).await? else { return Ok(()) };
    if facts.redacted_by.is_some() {
        return Ok(());
    }
    take_back(working, tx, name, (target, facts.ordinal)).await
}

/// The same for an event of an earlier batch, if it was redacted when nothing was taken back yet. Changes nothing where
/// it was.
pub async fn catch_up(working: &mut Working, tx: &Tx, name: &ServerName, target: EventNo) -> Result<(), Fault> {
    let Some(Meta { facts, .. }) = tx.view().get(&META, &(working.no, target)).await? else { return Ok(()) };
    if facts.redacted_by.is_none() {
        return Ok(());
    }
    take_back(working, tx, name, (target, facts.ordinal)).await
}

/// An event with the room's ordinal after it has counted; it does no more.
async fn take_back(
    working: &mut Working,
    tx: &Tx,
    name: &ServerName,
    (target, ordinal): (EventNo, u32),
) -> Result<(), Fault> {
    let before = match target.checked_sub(1) {
        Some(no) => tx.read(&META, &(working.no, no)).await?.map_or(0, |meta| meta.facts.ordinal),
        None => 0,
    };
    if ordinal <= before {
        return Ok(());
    }
    let pdu = working.signed(tx, target).await?;
    let fresh = working.count_of(target);
    let is_fresh = fresh.is_some();
    let row = if let Some(fresh) = fresh {
        Some(fresh)
    } else {
        // What was counted before threads were told apart is counted in the main timeline.
        let in_thread = ordinal > working.head.before_threads.ordinal;
        let thread = if in_thread { thread_of(working, tx, &pdu).await? } else { None };
        let thread = thread.map(|root| root.to_string()).unwrap_or_default();
        let tally = tally_of(working, tx, &thread, ordinal).await?;
        tally.map(|tally| Uncounted { thread, tally })
    };
    if let Some(row) = row.filter(|row| row.tally != Tally::default()) {
        tx.put(&UNCOUNTED, &(working.no, ordinal), &row);
        working.head.uncounted = working.head.uncounted.max(ordinal);
    }
    let Some(levels) = working.power_levels(tx).await? else { return Ok(()) };
    let users = push::default_effect(&pdu, &levels).highlight_users;
    let keys = users.into_iter().filter(|user| user.server_name() == name).map(|user| (user, working.no, ordinal));
    forget_named(tx, keys.collect(), is_fresh).await
}

/// Takes away the rows of those whom an event of the batch, or of an earlier one, named. Most of the thousands that an
/// event can name are no members and have none.
async fn forget_named(tx: &Tx, keys: Vec<(OwnedUserId, RoomNo, u32)>, is_fresh: bool) -> Result<(), Fault> {
    // Read past the batch, or peeked in it: only the room's lane writes these rows, and the batch is the lane's.
    let rows = if is_fresh { tx.peek_many(&NAMED, &keys).await? } else { tx.view().get_many(&NAMED, &keys).await? };
    for (key, _) in keys.iter().zip(rows).filter(|(_, row)| row.is_some()) {
        tx.delete(&NAMED, key);
    }
    Ok(())
}

/// What the event of an ordinal added to the tally of its thread, in an earlier batch; `None` if it is in no thread of
/// this name.
async fn tally_of(working: &Working, tx: &Tx, thread: &str, ordinal: u32) -> Result<Option<Tally>, Fault> {
    let (view, room, older) = (tx.view(), working.no, working.head.before_threads);
    let known = counted_at(view, room, thread, ordinal).await?.filter(|counted| counted.newest == ordinal);
    let is_older = thread.is_empty() && ordinal <= older.ordinal;
    let tally = match known {
        Some(counted) => counted.tally,
        None if is_older => older.tally(ordinal),
        None => return Ok(None),
    };
    let before = match counted_at(view, room, thread, ordinal - 1).await? {
        Some(counted) => counted.tally,
        None if thread.is_empty() => older.tally(ordinal - 1),
        None => Tally::default(),
    };
    Ok(Some(Tally { loud: tally.loud.saturating_sub(before.loud), room: tally.room.saturating_sub(before.room) }))
}

/// Writes what a thread has counted with the event of the newest ordinal, which it answers.
fn note(working: &mut Working, tx: &Tx, thread: &str, counted: Counted) -> u32 {
    let (room, ordinal) = (working.no, working.head.ordinal);
    tx.put(&TALLY, &(room, thread.to_owned(), ordinal), &counted.tally);
    if thread.is_empty() {
        working.head.main = counted.tally;
    } else {
        if counted.newest > 0 {
            tx.delete(&COUNTED_THREAD, &(room, counted.newest));
        }
        tx.put(&COUNTED_THREAD, &(room, ordinal), &thread.to_owned());
        working.head.threaded = ordinal;
    }
    working.remember_counted(thread.to_owned(), Counted { newest: ordinal, ..counted });
    ordinal
}

/// The root of the thread that an event is in, as far as the room has the events between. What these say of it stands
/// when they are redacted: an event counts where it was counted.
async fn thread_of(working: &mut Working, tx: &Tx, pdu: &Pdu) -> Result<Option<OwnedEventId>, Fault> {
    let mut relation = Relation::of(pdu);
    for _ in 0..MAX_THREAD_HOPS {
        match relation {
            Some(to_root) if to_root.is(THREAD) => return Ok(Some(to_root.parent)),
            Some(other) => {
                let Some(no) = working.event_no(tx, &other.parent).await? else { return Ok(None) };
                relation = Relation::of(&working.signed(tx, no).await?);
            }
            None => return Ok(None),
        }
    }
    Ok(relation.filter(|relation| relation.is(THREAD)).map(|to_root| to_root.parent))
}

/// What a thread has counted up to an ordinal; `None` if no row says so.
pub async fn counted_at(view: &View, room: RoomNo, thread: &str, ordinal: u32) -> Result<Option<Counted>, Fault> {
    let prefix = (room, thread.to_owned());
    let range = TALLY.before(&prefix, &(room, prefix.1.clone(), ordinal.saturating_add(1)));
    let rows = view.scan_back(&TALLY, range, 1).await?;
    Ok(rows.into_iter().next().map(|((_, _, newest), tally)| Counted { tally, newest }))
}
