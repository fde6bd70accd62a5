//! Messages in one room, with several in flight, and over many rooms.

use std::time::{Duration, Instant};

use crate::Size;
use crate::contents::{Contents, NewRoom};
use crate::figure::{Figures, ms};
use crate::host::{kernel_ticks, processor_time, processor_time_since};
use crate::site::{Person, Site};

/// How many are in flight at a time.
const IN_FLIGHT: [usize; 4] = [1, 8, 32, 50];

/// As many people as send at a time: a room with all of them, and one for each.
pub fn contents() -> Contents {
    let people = IN_FLIGHT[3];
    let alone = (0..people).map(|person| NewRoom::of(person..person + 1));
    Contents { accounts: people, rooms: std::iter::once(NewRoom::of(0..people)).chain(alone).collect() }
}

/// Senders in one room, and with a room for each.
pub struct Send<'a> {
    site: &'a Site,
    people: Vec<Person<'a>>,
    room: String,
    rooms: Vec<String>,
    time: Duration,
}

impl<'a> Send<'a> {
    /// Finds the rooms.
    pub fn prepare(site: &'a Site, size: Size) -> Self {
        let (room, rooms) = site.rooms("send").split_first().expect("the room of all");
        let time = Duration::from_secs_f64(size.send_s);
        Self { site, people: site.people("send"), room: room.clone(), rooms: rooms.to_vec(), time }
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
