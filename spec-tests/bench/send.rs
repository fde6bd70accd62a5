//! Messages in one room, with several in flight, and over many rooms.

use std::time::{Duration, Instant};

use crate::Size;
use crate::figure::{Figures, ms};
use crate::host::{processor_time, processor_time_since};
use crate::site::{Person, Site, join_all};

/// How many are in flight at a time.
const IN_FLIGHT: [usize; 4] = [1, 8, 32, 50];
/// How many rooms "many rooms" are, with one in flight in each.
const ROOMS: usize = 32;

/// Senders in one room, and with a room for each.
pub struct Send<'a> {
    site: &'a Site,
    people: Vec<Person<'a>>,
    room: String,
    rooms: Vec<String>,
    time: Duration,
}

impl<'a> Send<'a> {
    /// Makes the rooms.
    pub async fn prepare(site: &'a Site, size: Size) -> Self {
        let mut people = site.people(IN_FLIGHT[3]).await;
        let room = people[0].create_room().await;
        join_all(&mut people, &room).await;
        let mut rooms = Vec::new();
        for person in &mut people[..ROOMS] {
            rooms.push(person.create_room().await);
        }
        Self { site, people, room, rooms, time: Duration::from_secs_f64(size.send_s) }
    }

    /// Each number in flight for its time.
    pub async fn round(&mut self) -> Figures {
        let mut figures = Figures::new();
        for in_flight in IN_FLIGHT {
            let rooms = vec![self.room.clone(); in_flight];
            let (rate, cost) = self.measure(&rooms).await;
            figures.push((format!("sends per second, {in_flight} in flight"), rate));
            figures.push((format!("processor time per send, {in_flight} in flight, ms"), cost));
        }
        let (rate, cost) = self.measure(&self.rooms.clone()).await;
        figures.push((format!("sends per second over {ROOMS} rooms"), rate));
        figures.push((format!("processor time per send over {ROOMS} rooms, ms"), cost));
        figures
    }

    /// Sends per second and processor time of each, with one sender for each of these rooms.
    async fn measure(&mut self, rooms: &[String]) -> (f64, f64) {
        let (start, used) = (Instant::now(), processor_time(self.site.process()));
        let end = start + self.time;
        let sending = self.people.iter_mut().zip(rooms).map(async |(person, room)| {
            let mut sent = 0_u32;
            while Instant::now() < end {
                person.say(room).await;
                sent += 1;
            }
            sent
        });
        let sent: u32 = futures::future::join_all(sending).await.into_iter().sum();
        let rate = f64::from(sent) / start.elapsed().as_secs_f64();
        (rate, ms(processor_time_since(self.site.process(), used)) / f64::from(sent))
    }
}
