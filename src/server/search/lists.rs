//! The events of a room that have all of several words, newest first.
//!
//! A reader for each word goes back through the rows of the index; each is asked for its next event at or below where the
//! others are. What is read is what lies between the matches of the rarest word, not the room.

use crate::{
    Fault,
    keyspace::{EventNo, POSTING, RoomNo},
    records::search::Part,
    tx::View,
};

/// The events that have all of some words.
pub struct Lists {
    room: RoomNo,
    part: Part,
    words: Vec<Word>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// An event with all words.
    Event(EventNo),
    /// So much was read that it is another request's turn: from this event on, which has not been looked at.
    Stopped(EventNo),
    /// There is none.
    End,
}

/// A word, and the row that was read last.
struct Word {
    word: String,
    held: Option<(EventNo, Vec<EventNo>)>,
}

impl Lists {
    /// Of these words, one at least, in a part of a room's events.
    pub fn new(room: RoomNo, part: Part, words: &[String]) -> Self {
        let words = words.iter().map(|word| Word { word: word.clone(), held: None });
        Self { room, part, words: words.collect() }
    }

    /// The newest event at or below `at` that has all words. Reads at most `rows` rows, and takes them off.
    pub async fn next(&mut self, view: &View, mut at: EventNo, rows: &mut usize) -> Result<Next, Fault> {
        let (mut agreed, mut turn) = (0, 0);
        while agreed < self.words.len() {
            if *rows == 0 {
                return Ok(Next::Stopped(at));
            }
            let (room, part) = (self.room, self.part);
            match self.words[turn].at_or_below(view, room, part, at, rows).await? {
                None => return Ok(Next::End),
                Some(found) if found == at => agreed += 1,
                Some(found) => (at, agreed) = (found, 1),
            }
            turn = (turn + 1) % self.words.len();
        }
        Ok(Next::Event(at))
    }
}

impl Word {
    /// The newest event at or below `at` that has the word. Never asked for a newer one than before.
    async fn at_or_below(
        &mut self,
        view: &View,
        room: RoomNo,
        part: Part,
        at: EventNo,
        rows: &mut usize,
    ) -> Result<Option<EventNo>, Fault> {
        let mut end = at.saturating_add(1);
        loop {
            // The row that was read for a newer event is the right one for this, unless it begins later.
            if let Some((first, events)) = self.held.as_ref().filter(|(first, _)| *first < end) {
                if let Some(found) = events.iter().rev().find(|no| **no <= at) {
                    return Ok(Some(*found));
                }
                // What it had was redacted.
                end = *first;
            }
            *rows = rows.saturating_sub(1);
            let prefix = (room, part, self.word.clone());
            let range = POSTING.before(&prefix, &(room, part, self.word.clone(), end));
            let Some(((.., first), posting)) = view.scan_back(&POSTING, range, 1).await?.pop() else { return Ok(None) };
            self.held = Some((first, posting.events()));
        }
    }
}
