//! Whether the rows of the database agree with each other: for the operator (`db verify`) and for the tests of crashes.
//!
//! One batch writes an event with all that belongs to it, so a crash cannot part them. What is found here is a fault of
//! the server or of the disk. Nothing is repaired.
//!
//! Reads one snapshot, so it may run beside everything else. Memory is bounded by a page of rows and two numbers a room.

mod events;
mod relations;
mod rows;
mod state;
mod tables;

use std::collections::HashMap;

use depesche_rules::versions;
use futures::future::BoxFuture;

use self::rows::Rows;
use crate::{
    Fault,
    keyspace::{HEAD, ROOM, ROOM_NO, RoomNo},
    records::rooms::Room,
    rooms::view::RoomView,
    tx::View,
};

/// Problems that a report names; more are only counted.
const NAMED: usize = 200;

/// How far a check has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Rooms checked.
    pub rooms: u64,
    /// Events checked.
    pub events: u64,
    /// Rows gone through.
    pub rows: u64,
}

/// What a check found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// How much was checked.
    pub checked: Progress,
    /// What is wrong, for people. Names rooms and events by their numbers, never what is in them.
    pub problems: Vec<String>,
    /// How many problems there are besides.
    pub more: u64,
}

/// Checks all that a snapshot shows. `progress` is told after each page of rows.
pub async fn verify(view: &View, mut progress: impl FnMut(Progress) + Send + Sync) -> Result<Report, Fault> {
    let mut check = Check {
        view,
        report: Report::default(),
        progress: &mut progress,
        members: HashMap::new(),
        events: HashMap::new(),
    };
    check.all().await?;
    Ok(check.report)
}

/// A check under way.
struct Check<'a> {
    view: &'a View,
    report: Report,
    progress: &'a mut (dyn FnMut(Progress) + Send + Sync),
    /// By room: members in its state, less those with a row of their own. Both checks done, all are 0.
    members: HashMap<RoomNo, i64>,
    /// By room: its events, less those that can be found by their id.
    events: HashMap<RoomNo, i64>,
}

/// The parts of a room that are checked one after another.
#[derive(Clone, Copy, Debug)]
enum Part {
    Events,
    Timeline,
    Keys,
    State,
}

impl Check<'_> {
    /// In a box, so that this is compiled here and not for every caller.
    fn all(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            self.rooms().await?;
            self.tables().await
        })
    }

    fn problem(&mut self, what: impl FnOnce() -> String) {
        if self.report.problems.len() < NAMED {
            self.report.problems.push(what());
        } else {
            self.report.more += 1;
        }
    }

    /// Notes a problem unless something holds.
    fn holds(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.problem(otherwise);
        }
    }

    async fn rooms(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&ROOM, ROOM.under(&()));
        while let Some(page) = rows.next(self).await? {
            for ((no,), room) in page {
                self.room(no, room).await?;
                self.report.checked.rooms += 1;
            }
        }
        Ok(())
    }

    async fn room(&mut self, no: RoomNo, room: Room) -> Result<(), Fault> {
        let [number] = self.get_each(&ROOM_NO, &[(room.room_id.clone(),)]).await?;
        self.holds(number == Some(no), || format!("room {no}: its id leads to {number:?}"));
        let [head] = self.get_each(&HEAD, &[(no,)]).await?;
        let known = versions::room_version_rules(&room.version).is_some();
        self.holds(known, || format!("room {no}: version {} is unknown", room.version));
        self.holds(head.is_some(), || format!("room {no}: has no head"));
        if !known || head.is_none() {
            return Ok(());
        }
        let room = RoomView::of(self.view, no, Some(room), head)?;
        self.check_head(&room);
        for part in [Part::Events, Part::Timeline, Part::Keys, Part::State] {
            let outcome = match part {
                Part::Events => self.check_events(&room).await,
                Part::Timeline => self.check_timeline(&room).await,
                Part::Keys => self.check_keys(&room).await,
                Part::State => self.check_state(&room).await,
            };
            match outcome {
                // What the check itself stumbled over: the rest of this part stays unchecked.
                Err(fault @ (Fault::Corrupt { .. } | Fault::Bug(_))) => {
                    self.problem(|| format!("room {no}: {part:?} cannot be checked to their end: {fault}"));
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    fn check_head(&mut self, room: &RoomView) {
        let (no, head) = (room.no, &room.head);
        let next = head.next_event;
        self.holds(next > 1, || format!("room {no}: has no event"));
        self.holds(!head.extremities.is_empty(), || format!("room {no}: has no last event"));
        let known = head.extremities.iter().all(|event| (1..next).contains(event));
        self.holds(known, || format!("room {no}: ends in {:?}, but has {} events", head.extremities, next - 1));
        let named = head.before_threads.room_named.max(head.threaded).max(head.main.loud);
        self.holds(named <= head.ordinal, || format!("room {no}: ordinal {named} is above {}", head.ordinal));
    }
}
