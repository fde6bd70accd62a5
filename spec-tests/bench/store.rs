//! A server of its own: start on nothing, filling, bytes on disk for an event, start on what is there. Its memory is
//! that of a server through which the messages went, so they are sent over HTTP.

use futures::future::join_all;

use crate::Size;
use crate::contents::Contents;
use crate::figure::{Figures, ms};
use crate::host::{bytes_below, resident_mb};
use crate::site::Site;

/// Those who write at the same time.
const WRITERS: usize = 8;

/// A new server in each round.
pub struct Store<'a> {
    site: &'a Site,
    size: Size,
}

impl<'a> Store<'a> {
    /// Nothing yet.
    pub fn prepare(site: &'a Site, size: Size) -> Self {
        Self { site, size }
    }

    /// A life of a server, and its second start.
    pub async fn round(&mut self) -> Figures {
        let mut site = self.site.another();
        let empty = ms(site.started_in());
        site.fill(&[("store", Contents::people(WRITERS))]).await.unwrap_or_else(|why| panic!("{why}"));
        talk(&site, self.size.stored / 2).await;
        site.restart();
        let half = bytes_below(site.directory());
        talk(&site, self.size.stored / 2).await;
        let memory = resident_mb(site.process());
        site.restart();
        let events = f64::from(u32::try_from(self.size.stored / 2).expect("a small number"));
        let grown = bytes_below(site.directory()).saturating_sub(half);
        #[expect(clippy::cast_precision_loss, reason = "bytes of a small database")]
        let bytes = grown as f64 / events;
        vec![
            ("start to the first answer, empty, ms".to_owned(), empty),
            (format!("start to the first answer, {} events, ms", self.size.stored), ms(site.started_in())),
            (format!("bytes on disk per event of {}", self.size.stored), bytes),
            (format!("memory after {} events, MB", self.size.stored), memory),
        ]
    }
}

/// A new room, in which all say so much together.
async fn talk(site: &Site, messages: usize) {
    let mut people = site.people("store");
    let room = people[0].create_room().await;
    join_all(people[1..].iter_mut().map(|person| person.join(&room))).await;
    let speaking = people.iter_mut().enumerate().map(async |(place, person)| {
        for _ in (place..messages).step_by(WRITERS) {
            person.say(&room).await;
        }
    });
    join_all(speaking).await;
}
