//! What is kept of a device between two polls, all of it a cache:
//!
//! | kept | how long | a poll without it |
//! |---|---|---|
//! | the watch of user, device and joined rooms | always | looks at each room; asks if the caller is still here |
//! | what the user has to do with rooms | until a topic says it changed | reads it |
//! | whom they ignore, how they count (`own`) | until the same topic | reads account data and push rules |
//! | the device's key counts, once nothing waits for it (`rest`) | until its topic | reads its queue and keys |
//! | which membership events it was sent (`sent`) | as its tokens go on | sends them again |
//! | up to where its messages are deleted (`acknowledged`) | as its tokens go on | finds none to delete |
//!
//! Not kept: what an answer said. A token that comes again gets the same answer again, as far as it still is so.
//!
//! A watch knows the changes since a topic was added and a snapshot was taken; that position is kept for each room. For
//! tokens from before it, the room counts as changed.
//!
//! A poll looks at the rooms whose topics it heard of, and at those that are new to it: it costs what changed since its
//! token, however many rooms there are. All are gone through when the session begins, and when a topic says that
//! memberships may have changed.
//!
//! A poll takes the session out and puts it back when it ends, however it ends. A second poll of the same device at the
//! same time gets a session of its own.

mod rooms;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::{Deref, DerefMut},
    sync::{Arc, MutexGuard},
    time::Duration,
};

use depesche_store::{Mutex, Position, Topic, Topics, Watch};
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use tokio::time::timeout;

use self::rooms::Watched;
pub use self::rooms::{Rooms, is_join, memberships};
use super::delta::Sent;
use crate::{
    base::Base,
    keys::KeyCounts,
    keyspace::RoomNo,
    records::rooms::Membership,
    rooms::unread::Reader,
    topic,
    tx::{Fault, View},
};

/// The most sessions that are kept.
const MAX_SESSIONS: usize = 20_000;
/// How long a session is kept without a poll.
const IDLE_MS: u64 = 15 * 60 * 1000;
/// So many sessions that watch a room hear at once of what passes in it.
pub(super) const FEW: usize = 20;
/// For how long what passes gathers, for each session above [`FEW`]. Everybody reads a message, and is told of everybody
/// who has: answers as many as the square of the room. As each poll is answered once in that time, all together take a
/// fifth of a processor, however many read.
pub(super) const GATHERS_PER_WATCH: Duration = Duration::from_millis(1);
/// For how long it gathers at most.
pub(super) const GATHERS_AT_MOST: Duration = Duration::from_secs(2);
/// The most that go when one comes back: dropping a session ends all its watches.
const GO_AT_ONCE: usize = 16;

type Owner = (OwnedUserId, OwnedDeviceId);

/// A device that polls.
pub struct Session {
    user: OwnedUserId,
    watch: Watch,
    of_user: Topic,
    of_device: Topic,
    of_reading: Topic,
    of_data: Topic,
    /// Changes above this position of what is not a room's are known to the watch.
    begun: Option<Position>,
    /// The snapshot that the memberships are from.
    scanned: Option<Position>,
    /// What the user has to do with rooms.
    pub rooms: Rooms,
    /// The watched rooms: changes above their positions are known to the watch.
    known: Watched,
    /// Whether all joined rooms are among those known.
    complete: bool,
    /// Which members the device was sent, for lazy loading.
    pub sent: Sent,
    /// What the user's account data mean for every room; `None` if it has to be read.
    pub own: Option<Arc<Own>>,
    /// What the device had waiting when that was last read.
    rest: Option<Rest>,
    /// To-device messages at or below this are deleted.
    pub acknowledged: Position,
}

/// What a user's account data mean for every room.
pub struct Own {
    /// How the user counts what is unread.
    pub reader: Reader,
    /// Whom the user ignores.
    pub ignored: BTreeSet<OwnedUserId>,
}

/// A snapshot at which no to-device message above `last` waited for the device.
struct Rest {
    at: Position,
    last: Position,
    counts: KeyCounts,
}

impl Session {
    /// Watches the user and the device; rooms come with [`Self::refresh`].
    pub fn new(topics: &Arc<Topics>, user: &UserId, device: &DeviceId) -> Self {
        let (of_user, of_device) = (topic::user(user), topic::device(user, device));
        let (of_reading, of_data) = (topic::private_receipt(user), topic::account_data(user));
        let mut watch = topics.watch();
        watch.add_all([of_user, of_device, of_reading, of_data]);
        Self {
            user: user.to_owned(),
            watch,
            of_user,
            of_device,
            of_reading,
            of_data,
            begun: None,
            scanned: None,
            rooms: Rooms::default(),
            known: Watched::default(),
            complete: false,
            sent: Sent::default(),
            own: None,
            rest: None,
            acknowledged: Position::default(),
        }
    }

    /// Whose device it is.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The newest snapshot, of which the memberships are known and all joined rooms are watched.
    pub async fn refresh(&mut self, base: &Base) -> Result<View, Fault> {
        loop {
            let view = base.view();
            self.begun.get_or_insert(view.position());
            if self.scanned.is_none_or(|scanned| self.is_news(self.of_user, scanned)) {
                self.own = None;
                self.rooms = Rooms::read(&view, &self.user).await?;
                self.scanned = Some(view.position());
                if self.watch_joined() {
                    // What happened in these rooms between the snapshot and now is in neither; a newer one has it.
                    self.complete = false;
                    continue;
                }
            }
            if !self.complete {
                for (room, _) in self.rooms.joined() {
                    if self.known.since(room).is_none() {
                        self.known.add(room, view.position());
                    }
                }
                self.complete = true;
            }
            return Ok(view);
        }
    }

    /// Watches the rooms that are joined now, and no others. Says whether there are new ones.
    fn watch_joined(&mut self) -> bool {
        let joined: HashSet<RoomNo> = self.joined().map(|(room, _)| room).collect();
        let gone: Vec<_> = self.known.all().filter(|room| !joined.contains(room)).collect();
        for room in &gone {
            self.known.remove(*room);
            self.sent.forget(*room);
        }
        self.watch.remove_all(gone.into_iter().flat_map(of_room));
        let new: Vec<_> = joined.into_iter().filter(|room| !self.watch.has(topic::room(*room))).collect();
        let is_new = !new.is_empty();
        self.watch.add_all(new.into_iter().flat_map(of_room));
        is_new
    }

    /// The rooms that the user is in.
    pub fn joined(&self) -> impl Iterator<Item = (RoomNo, &Membership)> {
        self.rooms.joined()
    }

    /// The joined rooms in which something may have happened since a position, by number.
    pub fn changed_rooms(&self, since: Position) -> Vec<RoomNo> {
        self.rooms_of(since, topic::room_of)
    }

    /// The joined rooms in which something may have passed since a position: receipts, typing, presence.
    pub fn rooms_passed(&self, since: Position) -> Vec<RoomNo> {
        self.rooms_of(since, topic::passing_of)
    }

    /// Whether a joined room was watched all the time since a position: it is among those changed only if something
    /// happened in it.
    pub fn knows(&self, room: RoomNo, since: Position) -> bool {
        self.known.since(room).is_some_and(|known| known <= since)
    }

    /// Whether the user may have moved a private receipt since a position.
    pub fn has_read(&self, since: Position) -> bool {
        self.may_have_changed(self.of_reading, since)
    }

    /// Whether what bears on all the user's rooms may have changed since a position: memberships, push rules, whom they
    /// ignore; or keys and signatures.
    pub fn user_changed(&self, since: Position) -> bool {
        self.may_have_changed(self.of_user, since)
    }

    /// Whether the user's account data may have changed since a position.
    pub fn data_changed(&self, since: Position) -> bool {
        self.user_changed(since) || self.is_news(self.of_data, since)
    }

    fn may_have_changed(&self, topic: Topic, since: Position) -> bool {
        !self.has_watched(since) || self.is_news(topic, since)
    }

    /// Whether the user and the device were watched all the time since a position.
    pub fn has_watched(&self, since: Position) -> bool {
        self.begun.is_some_and(|begun| begun <= since)
    }

    /// The device's key counts, if nothing waits for it above a to-device message and nothing happened to it since that
    /// was last read.
    pub fn rests(&self, last: Position) -> Option<&KeyCounts> {
        let rest = self.rest.as_ref().filter(|rest| rest.last <= last && !self.is_news(self.of_device, rest.at))?;
        Some(&rest.counts)
    }

    /// Remembers that at a snapshot nothing waited for the device above a to-device message.
    pub fn rest(&mut self, at: Position, last: Position, counts: &KeyCounts) {
        self.rest = Some(Rest { at, last, counts: counts.clone() });
    }

    /// The joined rooms with news of one kind, those that are new and those that were not watched long enough.
    fn rooms_of(&self, since: Position, room_of: impl Fn(Topic) -> Option<RoomNo>) -> Vec<RoomNo> {
        let heard = self.watch.changed_since(since).into_iter().filter_map(room_of);
        let new = self.rooms.changed_since(since).map(|(room, _)| room);
        let rooms = heard.chain(new).chain(self.known.later_than(since));
        let joined: BTreeSet<RoomNo> = rooms.filter(|room| self.rooms.is_joined(*room)).collect();
        joined.into_iter().collect()
    }

    /// Whether something that concerns the device alone, and that an answer always says, is new at the snapshot of a
    /// position. What came after that snapshot is not in it: it wakes the poll for a newer one.
    pub fn device_changed(&self, since: Position, snapshot: Position) -> bool {
        self.watch.last(self.of_device).is_some_and(|last| last > since && last <= snapshot)
    }

    /// Returns as soon as there may be something new above a position.
    pub async fn changed(&self, since: Position) {
        self.watch.wait(since).await;
    }

    /// For how long what is new above a position is to gather, before it is answered: if it does no more than pass in a
    /// room, and many watch that.
    pub fn gathers(&self, since: Position) -> Option<Duration> {
        let news = self.watch.changed_since(since);
        if !news.iter().copied().all(topic::is_passing) {
            return None;
        }
        let watchers = news.into_iter().map(|topic| self.watch.watchers(topic)).max()?;
        let times = u32::try_from(watchers.saturating_sub(FEW)).unwrap_or(u32::MAX);
        Some(GATHERS_PER_WATCH.saturating_mul(times).min(GATHERS_AT_MOST)).filter(|time| !time.is_zero())
    }

    /// Returns after this time, or as soon as something else is new.
    pub async fn gathered(&self, since: Position, time: Duration) {
        let other = self.watch.wait_for(since, |topic| !topic::is_passing(topic));
        // Whichever it was.
        let _ = timeout(time, other).await;
    }

    fn is_news(&self, topic: Topic, since: Position) -> bool {
        self.watch.last(topic).is_some_and(|last| last > since)
    }
}

/// What is watched of a joined room.
fn of_room(room: RoomNo) -> [Topic; 3] {
    [topic::room(room), topic::keys_in_room(room), topic::passing(room)]
}

/// The sessions that no poll has in hand.
#[derive(Default)]
pub struct Sessions(Mutex<Shelf>);

#[derive(Default)]
struct Shelf {
    idle: HashMap<Owner, Idle>,
    /// Those that were put back first come first.
    by_age: BTreeMap<Age, Owner>,
    /// How many were ever put back.
    put: u64,
}

/// When a session was put back, and as which of all.
type Age = (u64, u64);

struct Idle {
    session: Session,
    age: Age,
}

/// A session in the hands of a poll. It goes back when the poll ends or is given up.
pub struct Held<'a> {
    sessions: &'a Sessions,
    owner: Owner,
    now_ms: u64,
    session: Option<Session>,
}

impl Sessions {
    /// Takes a device's session, or a new one.
    pub fn hold(&self, owner: Owner, now_ms: u64, new: impl FnOnce() -> Session) -> Held<'_> {
        let kept = self.lock().take(&owner);
        Held { sessions: self, owner, now_ms, session: Some(kept.unwrap_or_else(new)) }
    }

    fn put_back(&self, owner: Owner, session: Session, now_ms: u64) {
        let gone = self.lock().put(owner, session, now_ms);
        // Behind the lock: ending hundreds of watches takes its time.
        drop(gone);
    }

    /// How many rooms the session of a device has gone through so far.
    #[cfg(test)]
    pub fn walked(&self, owner: &Owner) -> usize {
        self.lock().idle.get(owner).map_or(0, |idle| idle.session.rooms.walked())
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock()
    }
}

impl Shelf {
    fn take(&mut self, owner: &Owner) -> Option<Session> {
        let idle = self.idle.remove(owner)?;
        self.by_age.remove(&idle.age);
        Some(idle.session)
    }

    /// Puts a session in, and returns those that have to go: what nobody asked for in a long time, and what is too much.
    fn put(&mut self, owner: Owner, session: Session, now_ms: u64) -> Vec<Session> {
        let mut gone: Vec<Session> = self.take(&owner).into_iter().collect();
        let age = (now_ms, self.put);
        self.put += 1;
        self.by_age.insert(age, owner.clone());
        self.idle.insert(owner, Idle { session, age });
        while gone.len() < GO_AT_ONCE
            && let Some(((since_ms, _), oldest)) = self.by_age.first_key_value()
            && (self.idle.len() > MAX_SESSIONS || since_ms.saturating_add(IDLE_MS) <= now_ms)
        {
            let oldest = oldest.clone();
            gone.extend(self.take(&oldest));
        }
        gone
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.sessions.put_back(self.owner.clone(), session, self.now_ms);
        }
    }
}

impl Deref for Held<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.session.as_ref().expect("only drop takes it")
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("only drop takes it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, user};

    #[tokio::test]
    async fn the_oldest_go_first_and_what_is_used_stays() {
        let server = Fixture::new();
        let sessions = Sessions::default();
        let owner = |n: usize| (user("alice"), OwnedDeviceId::from(n.to_string()));
        let poll = |n: usize, now_ms: u64| {
            let owner = owner(n);
            let is_new = std::cell::Cell::new(false);
            let new = || {
                is_new.set(true);
                Session::new(server.base.topics(), &owner.0, &owner.1)
            };
            drop(sessions.hold(owner.clone(), now_ms, new));
            is_new.get()
        };
        for n in 0..MAX_SESSIONS {
            assert!(poll(n, 1));
        }
        assert!(!poll(0, 1), "it is kept, and the youngest now");
        assert!(poll(MAX_SESSIONS, 1));
        assert!(!poll(0, 2) && !poll(2, 2) && poll(1, 2), "the oldest made room");
        assert_eq!(sessions.lock().idle.len(), MAX_SESSIONS);
        // What is idle for long goes, some at a time.
        for n in 0..MAX_SESSIONS / 8 {
            poll(n, 2 + IDLE_MS);
        }
        let shelf = sessions.lock();
        assert!(shelf.idle.len() <= MAX_SESSIONS / 4, "{}", shelf.idle.len());
        assert_eq!(shelf.idle.len(), shelf.by_age.len());
    }
}
