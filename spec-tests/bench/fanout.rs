//! From the send to the last of many members whose `/sync` waits.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::Size;
use crate::contents::{Contents, NewRoom};
use crate::figure::{Figures, median, ms};
use crate::host::{processor_time, processor_time_since};
use crate::site::{Person, Site, next_batch};

/// How long one `/sync` waits.
const WAIT_MS: u32 = 30_000;
/// Time for all members to be waiting again.
const SETTLE: Duration = Duration::from_millis(100);

/// A room with who sends, and the members.
pub fn contents(size: Size) -> Contents {
    let people = size.members + 1;
    Contents { accounts: people, rooms: vec![NewRoom::of(0..people)] }
}

/// A room whose members all sync.
pub struct Fanout<'a> {
    site: &'a Site,
    people: Vec<Person<'a>>,
    room: String,
    size: Size,
}

impl<'a> Fanout<'a> {
    /// Finds the room.
    pub fn prepare(site: &'a Site, size: Size) -> Self {
        Self { site, people: site.people("fanout"), room: site.rooms("fanout")[0].clone(), size }
    }

    /// Some messages, one after the other.
    pub async fn round(&mut self) -> Figures {
        let (site, size, room) = (self.site, self.size, self.room.clone());
        let (sender, members) = self.people.split_first_mut().expect("a sender");
        let (arrived, mut arrivals) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let following = members.iter_mut().map(|member| follow(member, arrived.clone(), stopped.clone()));
        let following = futures::future::join_all(following);
        let sending = async {
            let (mut times, mut used) = (Vec::new(), Duration::ZERO);
            for _ in 0..size.members {
                arrivals.recv().await.expect("members begin");
            }
            for _ in 0..size.deliveries {
                tokio::time::sleep(SETTLE).await;
                let (start, before) = (Instant::now(), processor_time(site.process()));
                sender.say(&room).await;
                for _ in 0..size.members {
                    arrivals.recv().await.expect("members follow");
                }
                times.push(ms(start.elapsed()));
                used += processor_time_since(site.process(), before);
            }
            stop.send_replace(true);
            // What wakes them.
            sender.say(&room).await;
            (times, used)
        };
        let (_, (times, used)) = futures::future::join(following, sending).await;
        let deliveries = size.deliveries * size.members;
        let cost = ms(used) / f64::from(u32::try_from(deliveries).expect("a small number"));
        vec![
            (format!("send to the last of {} syncing members, p50, ms", size.members), median(times)),
            ("processor time per delivery, ms".to_owned(), cost),
        ]
    }
}

/// Syncs until told to stop, and says each time that something arrived; the first time, that it begins.
async fn follow(member: &mut Person<'_>, arrived: mpsc::UnboundedSender<()>, stopped: watch::Receiver<bool>) {
    let mut since = next_batch(&member.sync(None, 0).await);
    let _ = arrived.send(());
    while !*stopped.borrow() {
        let answer = member.sync(Some(&since), WAIT_MS).await;
        since = next_batch(&answer);
        // Not an answer about something else, such as the end of the wait.
        if answer.windows(MESSAGE.len()).any(|part| part == MESSAGE) {
            let _ = arrived.send(());
        }
    }
}

const MESSAGE: &[u8] = b"m.room.message";
