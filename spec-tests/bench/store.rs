//! A server of its own: start on nothing, filling, bytes on disk for an event, start on what is there.

use std::time::Duration;

use crate::Size;
use crate::figure::{Figures, ms};
use crate::host::{bytes_below, resident_mb};
use crate::site::{Site, fill, join_all};

/// Those who write at the same time.
const WRITERS: usize = 8;
/// How long a server may take to end.
const END: Duration = Duration::from_secs(60);

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
        let empty = ms(site.server().started_in());
        {
            let mut people = site.people(WRITERS).await;
            let room = people[0].create_room().await;
            join_all(&mut people, &room).await;
            fill(&mut people, &room, self.size.stored / 2).await;
        }
        restart(&mut site);
        let half = bytes_below(site.directory());
        {
            let mut people = site.people(WRITERS).await;
            let room = people[0].create_room().await;
            join_all(&mut people, &room).await;
            fill(&mut people, &room, self.size.stored / 2).await;
        }
        let memory = resident_mb(site.process());
        restart(&mut site);
        let events = f64::from(u32::try_from(self.size.stored / 2).expect("a small number"));
        let grown = bytes_below(site.directory()).saturating_sub(half);
        #[expect(clippy::cast_precision_loss, reason = "bytes of a small database")]
        let bytes = grown as f64 / events;
        vec![
            ("start to the first answer, empty, ms".to_owned(), empty),
            (format!("start to the first answer, {} events, ms", self.size.stored), ms(site.server().started_in())),
            (format!("bytes on disk per event of {}", self.size.stored), bytes),
            (format!("memory after {} events, MB", self.size.stored), memory),
        ]
    }
}

/// An orderly end and a new start, so that nothing is left in logs that are read at the start alone.
fn restart(site: &mut Site) {
    site.server_mut().terminate(END).expect("the server ends when told");
    site.server_mut().restart();
}
