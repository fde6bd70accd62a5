//! What a server has before it is measured: said once, and made on both, so that they have the same.

use std::ops::Range;

/// The accounts and rooms of one scenario, which no other scenario uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many accounts.
    pub accounts: usize,
    /// The rooms, in the order in which the scenario finds them.
    pub rooms: Vec<NewRoom>,
}

/// A room that anyone may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRoom {
    /// Its members, by the numbers of their accounts. The first one creates it.
    pub members: Range<usize>,
    /// How many of them, the first, write at the same time.
    pub writers: usize,
    /// The messages that they write together.
    pub messages: usize,
}

/// The contents of several scenarios, by their names.
pub type Wanted = [(&'static str, Contents)];

impl Contents {
    /// Accounts without a room.
    pub fn people(accounts: usize) -> Self {
        Self { accounts, rooms: Vec::new() }
    }

    /// How many accounts, members and messages there are to be made.
    pub fn steps(&self) -> usize {
        self.accounts + self.rooms.iter().map(|room| room.members.len() + room.messages).sum::<usize>()
    }
}

impl NewRoom {
    /// A room in which nobody has said anything.
    pub fn of(members: Range<usize>) -> Self {
        Self { members, writers: 0, messages: 0 }
    }

    /// The same with messages.
    pub fn with_messages(self, writers: usize, messages: usize) -> Self {
        Self { writers, messages, ..self }
    }
}
