//! Joining a room one after the other: does it cost more in a larger room?

use crate::Size;
use crate::contents::{Contents, NewRoom};
use crate::figure::Figures;
use crate::site::{Person, Site};
use crate::sync::Timed;

/// Those who join the large room in each round.
const LATE: usize = 10;

/// An owner and those who join a new room in each round; a large room, and those who join it.
pub fn contents(size: Size, rounds: usize) -> Contents {
    let first = size.joins + 1;
    let members = first..first + size.crowd - 1;
    Contents { accounts: members.end + LATE * rounds, rooms: vec![NewRoom::of(members)] }
}

/// The people, and the large room.
pub struct Joins<'a> {
    site: &'a Site,
    size: Size,
    people: Vec<Person<'a>>,
    /// Who has not joined the large room yet.
    late: Vec<Person<'a>>,
    large: String,
}

impl<'a> Joins<'a> {
    /// Finds them.
    pub fn prepare(site: &'a Site, size: Size) -> Self {
        let mut people = site.people("join");
        let late = people.split_off(size.joins + size.crowd);
        people.truncate(size.joins + 1);
        Self { site, size, people, late, large: site.rooms("join")[0].clone() }
    }

    /// All join a new room, and some the large one.
    pub async fn round(&mut self) -> Figures {
        let count = self.size.joins;
        let (owner, joiners) = self.people.split_first_mut().expect("an owner");
        let room = owner.create_room().await;
        let timed = join(self.site, joiners, &room).await;
        let (first, last) = (timed.wall(0, count / 5), timed.wall(count - count / 5, count));
        let mut figures = timed.figures(&format!("join of {count}"));
        figures.push((format!("joins of {count}: the last fifth by the first"), last / first));
        figures.push((format!("join as the last of {count} members, ms"), last));
        let mut late = self.late.split_off(self.late.len() - LATE);
        let timed = join(self.site, &mut late, &self.large).await;
        figures.extend(timed.figures(&format!("join of a room with {} members", self.size.crowd - 1)));
        figures
    }
}

/// All join, one after the other.
async fn join(site: &Site, people: &mut [Person<'_>], room: &str) -> Timed {
    let mut timed = Timed::default();
    for person in people {
        // The connection is not what is measured.
        person.wire.get("/_matrix/client/versions").await;
        timed.take(site, person.join(room)).await;
    }
    timed
}
