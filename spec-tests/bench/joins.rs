//! Joining a room one after the other: does it cost more in a larger room?

use crate::Size;
use crate::figure::Figures;
use crate::site::Site;
use crate::sync::Timed;

/// A new room in each round.
pub struct Joins<'a> {
    site: &'a Site,
    size: Size,
}

impl<'a> Joins<'a> {
    /// Makes the accounts.
    pub async fn prepare(site: &'a Site, size: Size) -> Self {
        site.people(size.joins + 1).await;
        Self { site, size }
    }

    /// All join.
    pub async fn round(&mut self) -> Figures {
        let count = self.size.joins;
        let mut people = self.site.people(count + 1).await;
        let (owner, joiners) = people.split_first_mut().expect("an owner");
        let room = owner.create_room().await;
        let mut timed = Timed::default();
        for person in joiners {
            // The connection is not what is measured.
            person.wire.get("/_matrix/client/versions").await;
            timed.take(self.site, person.join(&room)).await;
        }
        let (first, last) = (timed.wall(0, count / 5), timed.wall(count - count / 5, count));
        let mut figures = timed.figures(&format!("join of {count}"));
        figures.push((format!("joins of {count}: the last fifth by the first"), last / first));
        figures.push((format!("join as the last of {count} members, ms"), last));
        figures
    }
}
