//! Messages in one room, with several in flight, and over many rooms.

use std::time::{Duration, Instant};

use crate::Size;
use crate::figure::{Figures, ms};
use crate::host::{kernel_ticks, processor_time, processor_time_since};
use crate::site::{Person, Site, join_all};

/// How many are in flight at a time.
const IN_FLIGHT: [usize; 4] = [1, 8, 32, 50];

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
        for person in &mut people {
            rooms.push(person.create_room().await);
        }
        Self { site, people, room, rooms, time: Duration::from_secs_f64(size.send_s) }
    }

    /// Each number in flight for its time: all in one room, then each in a room of its own.
    pub async fn round(&mut self) -> Figures {
        let mut figures = Figures::new();
        for in_flight in IN_FLIGHT {
            let rooms = vec![self.room.clone(); in_flight];
            self.measure(&rooms, &format!("{in_flight} in flight"), &mut figures).await;
        }
        for in_flight in &IN_FLIGHT[1..] {
            let rooms = self.rooms[..*in_flight].to_vec();
            self.measure(&rooms, &format!("in {in_flight} rooms"), &mut figures).await;
        }
        figures
    }

    /// Sends per second, processor time of each and how much of it is the kernel's, with one sender for each of these
    /// rooms.
    async fn measure(&mut self, rooms: &[String], how: &str, figures: &mut Figures) {
        let process = self.site.process();
        let (start, used, (kernel, all)) = (Instant::now(), processor_time(process), kernel_ticks(process));
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
        figures.push((format!("sends per second, {how}"), f64::from(sent) / start.elapsed().as_secs_f64()));
        let cost = ms(processor_time_since(process, used)) / f64::from(sent);
        figures.push((format!("processor time per send, {how}, ms"), cost));
        let (kernel_now, all_now) = kernel_ticks(process);
        figures.push((
            format!("of that in the kernel, {how}, ms"),
            cost * (kernel_now - kernel) / (all_now - all).max(1.0),
        ));
    }
}
