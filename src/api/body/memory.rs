//! The memory that bodies take: bounded for all together, and for each caller, so that who keeps bodies open takes that
//! from nobody else.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use depesche_server::Mutex;
use ruma::OwnedUserId;
use tokio::time::Instant;

use super::in_time;
use crate::{error::Error, rate_limit::Who};

/// Bytes of bodies that are held in memory at a time, of users. Some hundreds of the largest events, or sixteen of the
/// largest uploads of keys, at once.
const HELD_OF_USERS: usize = 256 << 20;
/// The same of those who show no token: they can take nothing from the users.
const HELD_OF_STRANGERS: usize = 64 << 20;
/// What one caller may hold, as a part of the whole: of users twice the largest upload of keys, of strangers, who may be
/// an office behind one address, some thousand logins.
const SHARE: usize = 8;
/// When to try again where no more can be held.
const HELD_PAUSE: Duration = Duration::from_secs(2);
/// How often the log says that no more can be held: the requests that are refused then are many.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// The memory for bodies: what all requests together may hold, and those of one caller.
pub struct Bodies {
    of_users: Arc<Memory>,
    of_strangers: Arc<Memory>,
}

#[derive(Debug)]
pub(super) struct Memory {
    all: usize,
    share: usize,
    held: Mutex<Sum>,
}

/// What is held now, together and by each caller who holds anything.
#[derive(Debug, Default)]
struct Sum {
    all: usize,
    by: HashMap<Caller, usize>,
    /// When the log last said that somebody was refused.
    said: Option<Instant>,
}

/// Whose share a body takes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Caller {
    User(OwnedUserId),
    V4(u32),
    /// The /64, which one subscriber has whole.
    V6(u64),
}

/// Memory that a body takes, until this is dropped; none if it is empty.
pub type Held = Option<Share>;

/// A part of the memory for bodies.
#[derive(Debug)]
pub struct Share {
    memory: Arc<Memory>,
    caller: Option<Caller>,
    bytes: usize,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::of(HELD_OF_USERS, HELD_OF_STRANGERS)
    }
}

impl Bodies {
    /// So many bytes for users, and for strangers.
    fn of(users: usize, strangers: usize) -> Self {
        let memory = |all| Arc::new(Memory { all, share: all / SHARE, held: Mutex::default() });
        Self { of_users: memory(users), of_strangers: memory(strangers) }
    }

    /// Reads a whole body of at most `limit` bytes, of a caller if there is one to tell from others. Its memory is taken
    /// as it arrives, so that announcing much takes nothing.
    pub async fn read(&self, body: &mut Body, limit: usize, who: Option<Who<'_>>) -> Result<(Bytes, Held), Error> {
        let is_users = matches!(who, Some(Who::User(_)));
        let memory = if is_users { &self.of_users } else { &self.of_strangers };
        in_time(body, limit, Some((memory, who))).await
    }
}

impl From<Who<'_>> for Caller {
    fn from(who: Who<'_>) -> Self {
        match who {
            Who::User(user) => Self::User(user.to_owned()),
            Who::Address(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Who::Address(IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl Memory {
    /// Takes so many bytes more, if there are as many.
    pub(super) fn take(self: &Arc<Self>, who: Option<Who<'_>>, bytes: usize, held: &mut Held) -> Result<(), Error> {
        if bytes == 0 {
            return Ok(());
        }
        let share =
            held.get_or_insert_with(|| Share { memory: Arc::clone(self), caller: who.map(Caller::from), bytes: 0 });
        let mut sum = self.held.lock();
        let own = share.caller.as_ref().and_then(|caller| sum.by.get(caller)).copied().unwrap_or_default();
        let has_space = sum.all + bytes <= self.all && (share.caller.is_none() || own + bytes <= self.share);
        if !has_space {
            if sum.may_say() {
                let (caller, all) = (&share.caller, sum.all);
                tracing::warn!(
                    ?caller,
                    own,
                    all,
                    "requests are refused: their bodies would take more memory than they may"
                );
            }
            return Err(Error::busy(HELD_PAUSE));
        }
        sum.all += bytes;
        if let Some(caller) = &share.caller {
            sum.by.insert(caller.clone(), own + bytes);
        }
        share.bytes += bytes;
        Ok(())
    }
}

impl Sum {
    fn may_say(&mut self) -> bool {
        let may = self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        if may {
            self.said = Some(Instant::now());
        }
        may
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut sum = self.memory.held.lock();
        sum.all -= self.bytes;
        let Some(caller) = &self.caller else { return };
        if let Some(own) = sum.by.get_mut(caller) {
            *own -= self.bytes;
            if *own == 0 {
                sum.by.remove(caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use ruma::{UserId, user_id};

    use super::{super::PACE_TIME, *};

    fn ann() -> Who<'static> {
        Who::User(user_id!("@ann:a.test"))
    }

    fn blanks(bytes: usize) -> Body {
        Body::from(vec![b' '; bytes])
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded_and_strangers_take_nothing_from_users() {
        let bodies = Bodies::of(800, 400);
        let mut held = Vec::new();
        for n in 0..8 {
            let user = UserId::parse(format!("@{n}:a.test")).unwrap();
            held.push(bodies.read(&mut blanks(100), 1000, Some(Who::User(&user))).await.unwrap().1);
        }
        assert_eq!(bodies.read(&mut blanks(1), 1000, Some(ann())).await.unwrap_err().status(), 503);
        held.push(bodies.read(&mut blanks(400), 1000, None).await.unwrap().1);
        assert_eq!(bodies.read(&mut blanks(1), 1000, None).await.unwrap_err().status(), 503);
        assert!(bodies.read(&mut blanks(0), 1000, None).await.unwrap().1.is_none());
        drop(held);
        assert!(bodies.of_users.held.lock().by.is_empty(), "who holds nothing takes no room");
        assert!(bodies.read(&mut blanks(100), 1000, Some(ann())).await.is_ok());
        assert!(bodies.read(&mut blanks(400), 1000, None).await.is_ok());
    }

    #[tokio::test]
    async fn one_caller_takes_no_more_than_a_share() {
        let bodies = Bodies::of(800, 400);
        let (_, held) = bodies.read(&mut blanks(60), 1000, Some(ann())).await.unwrap();
        assert_eq!(bodies.read(&mut blanks(41), 1000, Some(ann())).await.unwrap_err().status(), 503);
        let ben = Who::User(user_id!("@ben:a.test"));
        let (_, bens) = bodies.read(&mut blanks(100), 1000, Some(ben)).await.unwrap();
        let address = |address: &str| Some(Who::Address(address.parse().unwrap()));
        let (_, near) = bodies.read(&mut blanks(50), 1000, address("2001:db8::1")).await.unwrap();
        assert_eq!(bodies.read(&mut blanks(1), 1000, address("2001:db8::2")).await.unwrap_err().status(), 503);
        assert!(bodies.read(&mut blanks(50), 1000, address("2001:db8:0:1::1")).await.is_ok());
        drop((held, bens, near));
        assert!(bodies.read(&mut blanks(100), 1000, Some(ann())).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn that_bodies_are_refused_is_said_once_a_minute() {
        let bodies = Bodies::of(800, 400);
        let refused = bodies.read(&mut blanks(101), 1000, Some(ann())).await.unwrap_err();
        assert!(refused.is_busy() && !bodies.of_users.held.lock().may_say(), "it was said");
        tokio::time::advance(SAY_EVERY).await;
        assert!(bodies.of_users.held.lock().may_say() && !bodies.of_users.held.lock().may_say());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_hardly_comes_is_given_up_and_a_slow_one_is_not() {
        // Bytes a second, for so many seconds, and what comes of it.
        for (pace, seconds, is_read) in [(2048, 30, true), (600, 50, true), (300, 50, false), (2048, 90, false)] {
            let pieces = stream::unfold(0, move |second| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                (second < seconds).then(|| (Ok::<_, std::io::Error>(vec![b' '; pace]), second + 1))
            });
            let read = Bodies::default().read(&mut Body::from_stream(pieces), 1 << 20, Some(ann())).await;
            assert_eq!(read.map(|(bytes, _)| bytes.len()).map_err(|error| error.status().as_u16()), {
                if is_read { Ok(pace * seconds) } else { Err(408) }
            });
        }
        // All but the last byte, and then silence.
        let begun = Instant::now();
        let pieces = stream::iter([Ok::<_, std::io::Error>(vec![b' '; 1000])]).chain(stream::pending());
        let bodies = Bodies::default();
        assert!(bodies.read(&mut Body::from_stream(pieces), 1001, Some(ann())).await.is_err());
        assert!(
            begun.elapsed() <= PACE_TIME && bodies.of_users.held.lock().all == 0,
            "nothing is held for it any more"
        );
    }
}
