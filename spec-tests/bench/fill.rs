//! Makes what a server is to have, by whatever way there is into it: the same accounts, rooms and messages by each.

use std::collections::BTreeMap;

use futures::future::join_all;
use futures::stream::{self, StreamExt as _};

use crate::contents::{Contents, NewRoom, Wanted};
use crate::progress::Progress;

/// Accounts, and members of one room, that are made at a time.
const AT_ONCE: usize = 8;
/// Rooms that are made at a time.
const ROOMS_AT_ONCE: usize = 8;

/// A way into a server. What goes wrong is the end of the run.
pub trait Maker {
    /// An account that can act.
    type Account;

    /// Makes an account without a password, with a device that is logged in.
    async fn account(&self, name: &str) -> Self::Account;

    /// The access token of its device.
    fn token(&self, account: &Self::Account) -> String;

    /// Creates a room that anyone may join; its id.
    async fn create_room(&self, creator: &Self::Account) -> String;

    /// Joins a room.
    async fn join(&self, account: &Self::Account, room: &str);

    /// Sends the message of this number.
    async fn say(&self, account: &Self::Account, room: &str, number: usize);
}

/// What a scenario finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The access tokens of its accounts, in their order.
    pub tokens: Vec<String>,
    /// The ids of its rooms, in their order.
    pub rooms: Vec<String>,
}

/// What all scenarios find, by their names.
pub type Stock = BTreeMap<&'static str, Part>;

/// Makes all that is wanted. `server` is what lines about the progress call it.
pub async fn fill<M: Maker>(maker: &M, wanted: &Wanted, server: &str) -> Stock {
    let mut stock = Stock::new();
    for (scenario, contents) in wanted {
        let progress = Progress::new(format!("filling {server} for {scenario}"), contents.steps());
        stock.insert(*scenario, part(maker, scenario, contents, &progress).await);
    }
    stock
}

async fn part<M: Maker>(maker: &M, scenario: &str, contents: &Contents, progress: &Progress) -> Part {
    let accounts = stream::iter(0..contents.accounts).map(async |number| {
        let account = maker.account(&format!("{scenario}{number}")).await;
        progress.step();
        account
    });
    let accounts: Vec<M::Account> = accounts.buffered(AT_ONCE).collect().await;
    let rooms =
        stream::iter(&contents.rooms).map(|room| make_room(maker, &accounts[room.members.clone()], room, progress));
    let rooms = rooms.buffered(ROOMS_AT_ONCE).collect().await;
    Part { tokens: accounts.iter().map(|account| maker.token(account)).collect(), rooms }
}

async fn make_room<M: Maker>(maker: &M, members: &[M::Account], wanted: &NewRoom, progress: &Progress) -> String {
    let (creator, others) = members.split_first().expect("a room has a creator");
    let room = maker.create_room(creator).await;
    progress.step();
    let joining = stream::iter(others).map(async |member| {
        maker.join(member, &room).await;
        progress.step();
    });
    joining.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
    let writing = members[..wanted.writers].iter().enumerate().map(async |(place, writer)| {
        for number in (place..wanted.messages).step_by(wanted.writers) {
            maker.say(writer, &room, number).await;
            progress.step();
        }
    });
    join_all(writing).await;
    room
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeSet;

    use super::*;

    /// Remembers what it was to make.
    #[derive(Default)]
    struct Notes {
        rooms: Cell<usize>,
        lines: RefCell<Vec<String>>,
    }

    impl Notes {
        async fn note(&self, line: String) {
            // As with a server, others go on in the meantime.
            tokio::task::yield_now().await;
            self.lines.borrow_mut().push(line);
        }
    }

    impl Maker for Notes {
        type Account = String;

        async fn account(&self, name: &str) -> String {
            self.note(format!("account {name}")).await;
            name.to_owned()
        }

        fn token(&self, account: &String) -> String {
            format!("token of {account}")
        }

        async fn create_room(&self, creator: &String) -> String {
            let room = format!("!{}", self.rooms.replace(self.rooms.get() + 1));
            self.note(format!("{creator} creates {room}")).await;
            room
        }

        async fn join(&self, account: &String, room: &str) {
            self.note(format!("{account} joins {room}")).await;
        }

        async fn say(&self, account: &String, room: &str, number: usize) {
            self.note(format!("{account} says {number} in {room}")).await;
        }
    }

    #[tokio::test]
    async fn each_member_is_in_and_each_message_is_said_once() {
        let rooms = vec![NewRoom::of(0..2).with_messages(2, 3), NewRoom::of(2..3)];
        let contents = Contents { accounts: 3, rooms };
        let notes = Notes::default();
        let stock = fill(&notes, &[("p", contents.clone()), ("q", Contents::people(1))], "a server").await;
        assert_eq!(stock["p"].tokens, ["token of p0", "token of p1", "token of p2"]);
        assert_eq!(stock["p"].rooms, ["!0", "!1"], "in the order in which they are wanted");
        assert_eq!(stock["q"], Part { tokens: vec!["token of q0".to_owned()], rooms: Vec::new() });
        let lines = notes.lines.into_inner();
        assert_eq!(lines.len(), contents.steps() + 1, "each account, member and message once: {lines:?}");
        let expected = [
            "account p0",
            "account p1",
            "account p2",
            "account q0",
            "p0 creates !0",
            "p1 joins !0",
            "p0 says 0 in !0",
            "p1 says 1 in !0",
            "p0 says 2 in !0",
            "p2 creates !1",
        ];
        let lines: BTreeSet<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(lines, BTreeSet::from(expected));
    }
}
