//! An account in many rooms: its first sync, one with a new event, one with nothing new.

use std::time::Instant;

use crate::Size;
use crate::contents::{Contents, NewRoom};
use crate::figure::{Figures, median, ms};
use crate::host::{processor_time, processor_time_since};
use crate::site::{Person, Site, next_batch};

/// Those who talk; the account that syncs comes after them.
const OTHERS: usize = 4;
/// Syncs of each kind in a round.
const FIRST: usize = 3;
const LATER: usize = 30;

/// All of them in all rooms.
pub fn contents(size: Size) -> Contents {
    let room = NewRoom::of(0..OTHERS + 1).with_messages(OTHERS, size.messages);
    Contents { accounts: OTHERS + 1, rooms: vec![room; size.rooms] }
}

/// The account, and those who talk.
pub struct Sync<'a> {
    site: &'a Site,
    people: Vec<Person<'a>>,
    rooms: Vec<String>,
    since: String,
}

impl<'a> Sync<'a> {
    /// Finds the rooms, and looks at them once: the first look after a start would be another figure.
    pub async fn prepare(site: &'a Site) -> Self {
        let mut people = site.people("sync");
        let since = next_batch(&people[OTHERS].sync(None, 0).await);
        Self { site, people, rooms: site.rooms("sync").to_vec(), since }
    }

    /// Syncs of each kind.
    pub async fn round(&mut self) -> Figures {
        let (mut first, mut one, mut nothing) = (Timed::default(), Timed::default(), Timed::default());
        for _ in 0..FIRST {
            let answer = first.take(self.site, self.people[OTHERS].sync(None, 0)).await;
            self.since = next_batch(&answer);
        }
        for n in 0..LATER {
            self.people[0].say(&self.rooms[n * 7 % self.rooms.len()]).await;
            let answer = one.take(self.site, self.people[OTHERS].sync(Some(&self.since), 0)).await;
            self.since = next_batch(&answer);
            let answer = nothing.take(self.site, self.people[OTHERS].sync(Some(&self.since), 0)).await;
            self.since = next_batch(&answer);
        }
        let rooms = self.rooms.len();
        let mut figures = first.figures(&format!("first sync of {rooms} rooms"));
        figures.extend(one.figures("sync with one new event"));
        figures.extend(nothing.figures("sync with nothing new"));
        figures
    }
}

/// Times of requests of one kind.
#[derive(Default)]
pub struct Timed {
    wall_ms: Vec<f64>,
    used_ms: Vec<f64>,
}

impl Timed {
    /// Times one request.
    pub async fn take<T>(&mut self, site: &Site, work: impl Future<Output = T>) -> T {
        let (start, used) = (Instant::now(), processor_time(site.process()));
        let done = work.await;
        self.wall_ms.push(ms(start.elapsed()));
        self.used_ms.push(ms(processor_time_since(site.process(), used)));
        done
    }

    /// The median of both.
    pub fn figures(self, what: &str) -> Figures {
        vec![
            (format!("{what}, ms"), median(self.wall_ms)),
            (format!("processor time of a {what}, ms"), median(self.used_ms)),
        ]
    }

    /// What the requests from one place to another took, in the middle.
    pub fn wall(&self, from: usize, to: usize) -> f64 {
        median(self.wall_ms[from..to].to_vec())
    }
}
