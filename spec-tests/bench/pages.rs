//! Paging back through a long history, a hundred messages at a time.

use depesche_spec_tests::client::encode;

use crate::Size;
use crate::contents::{Contents, NewRoom};
use crate::figure::Figures;
use crate::site::{Person, Site};
use crate::sync::Timed;
use crate::wire::field;

/// Those who have written the history at the same time.
const WRITERS: usize = 8;

/// The room with its history.
pub fn contents(size: Size) -> Contents {
    let room = NewRoom::of(0..WRITERS).with_messages(WRITERS, size.history);
    Contents { accounts: WRITERS, rooms: vec![room] }
}

/// The room and its reader.
pub struct Pages<'a> {
    site: &'a Site,
    people: Vec<Person<'a>>,
    room: String,
    messages: usize,
}

impl<'a> Pages<'a> {
    /// Finds the room.
    pub fn prepare(site: &'a Site, size: Size) -> Self {
        Self { site, people: site.people("pages"), room: site.rooms("pages")[0].clone(), messages: size.history }
    }

    /// All pages from the newest to the oldest.
    pub async fn round(&mut self) -> Figures {
        let mut pages = Timed::default();
        let base = format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit=100", encode(&self.room));
        let mut path = base.clone();
        for _ in 0..self.messages / 100 {
            let answer = pages.take(self.site, self.people[0].wire.get(&path)).await;
            let Some(end) = field(&answer, "end") else { break };
            path = format!("{base}&from={}", encode(end));
        }
        pages.figures("page of 100 messages")
    }
}
