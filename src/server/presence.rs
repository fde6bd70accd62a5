//! Who is there: what users show of themselves to those with whom they share a room.
//!
//! What devices do (poll, say they are idle) and what users say lives in memory alone and is lost with the process. From
//! it follows at any time what is *shown*: a state, whether the user is active right now, a status message. When that
//! changes, the user's rooms are told: a row in each, in a volatile table, by the position of the change, so that a
//! `/sync` reads what changed in its own rooms and nothing else. A *keeper*, one task for each user who is not offline,
//! looks when time alone may change it.
//!
//! While a user is shown as active, further activity changes nothing and is told to nobody. How long ago it was is read
//! from memory whenever it is shown.
//!
//! What the disk keeps is who is there, so that a start can tell of those who do not come back.
//!
//! Spec: [presence](https://spec.matrix.org/v1.19/client-server-api/#presence).

mod live;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, MutexGuard, Weak},
    time::Duration,
};

use depesche_rules::bounds::{MAX_PRESENCE_PER_SYNC, MAX_PRESENCE_ROOMS, MAX_STATUS_BYTES};
use depesche_store::{MAX_SCAN, Mutex, Position, Stamp, StampAt};
use ruma::{
    DeviceId, OwnedDeviceId, OwnedUserId, UserId, events::room::member::MembershipState, presence::PresenceState,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use self::live::{GONE_AFTER, Live};
use crate::{
    Base, Fault,
    keyspace::{MEMBER, PRESENCE, RoomNo, THERE},
    records::rooms::Membership,
    topic,
    tx::{Pages, View},
};

/// When rooms that could not be told are told again.
const AGAIN: Duration = Duration::from_secs(30);
/// Where the position stands in a key: behind the table's number and the room.
const POSITION_IN_KEY: Stamp = Stamp { at: StampAt::Key, offset: 9 };

/// What others see of a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Online, unavailable or offline.
    pub state: PresenceState,
    /// Whether something was done in the last minute.
    pub currently_active: bool,
    /// What the user says of it.
    pub status: Option<String>,
    /// How long ago something was done, in milliseconds; `None` if never since the server started.
    pub last_active_ago_ms: Option<u64>,
}

/// Why a presence is not set or told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PresenceError {
    /// The two share no room.
    #[error("you share no room with this user")]
    Hidden,
    /// The status message is longer than we keep.
    #[error("a status message may have at most {MAX_STATUS_BYTES} bytes")]
    TooLong,
    /// There is no such state.
    #[error("a presence is online, offline or unavailable")]
    UnknownState,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The presence of this server's users.
pub struct Presences {
    base: Arc<Base>,
    users: Mutex<HashMap<OwnedUserId, Arc<Person>>>,
}

/// A user who was there since the server started.
struct Person {
    user: OwnedUserId,
    live: Mutex<Live>,
    /// What the rooms were told last. One at a time tells them.
    told: tokio::sync::Mutex<Told>,
    /// Something else is shown now than what the keeper told.
    changed: Notify,
}

struct Told {
    shown: Option<Shown>,
    position: Position,
    rooms: Vec<RoomNo>,
}

/// A device that polls. It is there until this is dropped, and for a while after.
pub struct Polling {
    person: Option<(Arc<Person>, OwnedDeviceId)>,
}

impl Presences {
    /// Nobody is there.
    pub fn new(base: Arc<Base>) -> Arc<Self> {
        Arc::new(Self { base, users: Mutex::default() })
    }

    /// Tells of those who were there when the server last ended, and have not come back after as long as a device may be
    /// away, that they went.
    pub async fn resume(self: &Arc<Self>) -> Result<(), Fault> {
        if !self.enabled() {
            return Ok(());
        }
        let view = self.base.view();
        let (mut pages, mut users) = (Pages::new(&THERE, THERE.under(&()), MAX_SCAN), Vec::new());
        while let Some(rows) = pages.next(&view).await? {
            users.extend(rows.into_iter().map(|((user,), ())| user));
        }
        if !users.is_empty() {
            tokio::spawn(tell_who_went(Arc::downgrade(self), users));
        }
        Ok(())
    }

    /// Whether presence is kept at all.
    pub fn enabled(&self) -> bool {
        self.base.config.presence.enabled
    }

    /// A device begins to poll, and says how its user is.
    pub fn poll(self: &Arc<Self>, user: &UserId, device: &DeviceId, state: &PresenceState) -> Polling {
        if !self.enabled() {
            return Polling { person: None };
        }
        let person = self.person(user);
        self.stir(&person, |live, now| live.poll(device, state, now));
        Polling { person: Some((person, device.to_owned())) }
    }

    /// The user did something: sent a message, read, typed.
    pub fn active(self: &Arc<Self>, user: &UserId) {
        let person = self.users().get(user).cloned();
        // Who is not there is not made so by this.
        if let Some(person) = person {
            self.stir(&person, Live::active);
        }
    }

    /// The user is new in a room, or is called something else: others are to learn how they are.
    pub fn moved(self: &Arc<Self>, user: &UserId) {
        let person = self.users().get(user).cloned();
        if let Some(person) = person {
            self.stir(&person, |live, _| live.tell_again = true);
        }
    }

    /// A user says how they are. The rooms know when this returns.
    pub async fn set(
        self: &Arc<Self>,
        user: &UserId,
        state: &PresenceState,
        status: Option<String>,
    ) -> Result<(), PresenceError> {
        if !matches!(state, PresenceState::Online | PresenceState::Offline | PresenceState::Unavailable) {
            return Err(PresenceError::UnknownState);
        }
        if status.as_ref().is_some_and(|status| status.len() > MAX_STATUS_BYTES) {
            return Err(PresenceError::TooLong);
        }
        if !self.enabled() {
            return Ok(());
        }
        let person = self.person(user);
        person.live().say(state, status, Instant::now());
        self.tell(&person).await?;
        self.stir(&person, |_, _| ());
        Ok(())
    }

    /// How a user is, for somebody who shares a room with them.
    pub async fn get(&self, viewer: &UserId, user: &UserId) -> Result<Shown, PresenceError> {
        if self.enabled() && viewer != user && !share_a_room(&self.base.view(), viewer, user).await? {
            return Err(PresenceError::Hidden);
        }
        Ok(self.shown(user))
    }

    /// How a user is now.
    pub fn shown(&self, user: &UserId) -> Shown {
        let person = self.users().get(user).cloned();
        let now = Instant::now();
        person.map_or_else(Shown::offline, |person| person.live().shown(now))
    }

    /// Whose presence changed in a room after a position, or who is in it at all; the last to change first. Not those who
    /// left: their rows go when they are told anew elsewhere.
    pub async fn news(
        &self,
        view: &View,
        room: RoomNo,
        since: Option<Position>,
        into: &mut BTreeSet<OwnedUserId>,
    ) -> Result<(), Fault> {
        let limit = MAX_PRESENCE_PER_SYNC.saturating_sub(into.len());
        if !self.enabled() || limit == 0 {
            return Ok(());
        }
        let mut range = PRESENCE.under(&(room,));
        if let Some(since) = since {
            range.from = PRESENCE.under(&(room, Position(since.0.saturating_add(1)))).from;
        }
        let rows = view.scan_back(&PRESENCE, range, limit).await?;
        let keys: Vec<_> = rows.into_iter().map(|((_, _, user), ())| (user, room)).collect();
        let members = view.get_many(&MEMBER, &keys).await?;
        let joined =
            |member: &Option<Membership>| member.as_ref().is_some_and(|member| member.state == MembershipState::Join);
        into.extend(keys.into_iter().zip(members).filter(|(_, member)| joined(member)).map(|((user, _), _)| user));
        Ok(())
    }

    fn person(&self, user: &UserId) -> Arc<Person> {
        let new = || {
            let told = Told { shown: None, position: Position(0), rooms: Vec::new() };
            Arc::new(Person {
                user: user.to_owned(),
                live: Mutex::new(Live::new()),
                told: tokio::sync::Mutex::new(told),
                changed: Notify::new(),
            })
        };
        Arc::clone(self.users().entry(user.to_owned()).or_insert_with(new))
    }

    fn users(&self) -> MutexGuard<'_, HashMap<OwnedUserId, Arc<Person>>> {
        self.users.lock()
    }

    /// Changes what is known of a user. The rooms are told by the keeper, at once if they are to see something else.
    fn stir(self: &Arc<Self>, person: &Arc<Person>, change: impl FnOnce(&mut Live, Instant)) {
        let (mut live, now) = (person.live(), Instant::now());
        let before = live.shown(now);
        change(&mut live, now);
        let same = before.says_the_same(&live.shown(now)) && !live.tell_again;
        if !std::mem::replace(&mut live.kept, true) {
            tokio::spawn(keep(Arc::downgrade(self), Arc::clone(person)));
        } else if !same {
            person.changed.notify_one();
        }
    }

    /// Tells the user's rooms what is shown, if that is not what they were told. What fails is told again the next time.
    async fn tell(&self, person: &Person) -> Result<(), Fault> {
        let mut told = person.told.lock().await;
        let outcome = self.tell_rooms(person, &mut told).await;
        if outcome.is_err() {
            person.live().tell_again = true;
        }
        outcome
    }

    async fn tell_rooms(&self, person: &Person, told: &mut Told) -> Result<(), Fault> {
        let (shown, again) = {
            let mut live = person.live();
            (live.shown(Instant::now()), std::mem::take(&mut live.tell_again))
        };
        let same = match &told.shown {
            Some(before) => before.says_the_same(&shown),
            None => shown.state == PresenceState::Offline && shown.status.is_none(),
        };
        if same && !again {
            return Ok(());
        }
        let tx = self.base.tx();
        let of_user = (person.user.clone(),);
        if shown.state == PresenceState::Offline {
            tx.delete(&THERE, &of_user);
        } else {
            tx.put(&THERE, &of_user, &());
        }
        tx.lazy();
        let rooms = rooms_of(tx.view(), &person.user).await?;
        for room in &told.rooms {
            tx.delete(&PRESENCE, &(*room, told.position, person.user.clone()));
        }
        for room in &rooms {
            tx.put_stamped(&PRESENCE, &(*room, Position(0), person.user.clone()), &(), vec![POSITION_IN_KEY]);
            tx.topic(topic::passing(*room));
        }
        let position = self.base.commit(&tx).await?;
        *told = Told { shown: Some(shown), position, rooms };
        Ok(())
    }
}

/// Tells of these users that they went, unless they come back in time.
async fn tell_who_went(presences: Weak<Presences>, users: Vec<OwnedUserId>) {
    sleep_until(Instant::now() + GONE_AFTER).await;
    for user in users {
        let Some(presences) = presences.upgrade() else { return };
        if presences.shown(&user).state != PresenceState::Offline {
            continue;
        }
        let person = presences.person(&user);
        person.live().tell_again = true;
        if let Err(fault) = presences.tell(&person).await {
            tracing::warn!(%fault, %user, "a presence could not be told");
            // Their keeper tries again.
            presences.stir(&person, |_, _| ());
        }
    }
}

/// Looks after one user until they are offline and their rooms know it.
async fn keep(presences: Weak<Presences>, person: Arc<Person>) {
    loop {
        let Some(presences) = presences.upgrade() else { return };
        let told = presences.tell(&person).await;
        if let Err(fault) = &told {
            tracing::warn!(%fault, user = %person.user, "a presence could not be told");
        }
        drop(presences);
        let next = {
            let mut live = person.live();
            let now = Instant::now();
            let again = told.is_err().then_some(now + AGAIN);
            let next = live.next_change(now).into_iter().chain(again).min();
            // Under the lock nobody changes anything, so whoever does so next finds nobody looking.
            live.kept = next.is_some();
            next
        };
        let Some(next) = next else { return };
        tokio::select! {
            biased;
            () = person.changed.notified() => {}
            () = sleep_until(next) => {}
        }
    }
}

impl Person {
    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock()
    }
}

impl Shown {
    fn offline() -> Self {
        Self { state: PresenceState::Offline, currently_active: false, status: None, last_active_ago_ms: None }
    }

    fn says_the_same(&self, other: &Self) -> bool {
        (&self.state, self.currently_active, &self.status) == (&other.state, other.currently_active, &other.status)
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        if let Some((person, device)) = &self.person {
            person.live().end_poll(device, Instant::now());
        }
    }
}

/// The rooms in which a user's presence is told.
async fn rooms_of(view: &View, user: &UserId) -> Result<Vec<RoomNo>, Fault> {
    let rows = view.scan(&MEMBER, MEMBER.under(&(user.to_owned(),)), MAX_SCAN).await?;
    let joined = rows.into_iter().filter(|(_, member)| member.state == MembershipState::Join);
    Ok(joined.map(|((_, room), _)| room).take(MAX_PRESENCE_ROOMS).collect())
}

async fn share_a_room(view: &View, one: &UserId, other: &UserId) -> Result<bool, Fault> {
    let rows = view.scan(&MEMBER, MEMBER.under(&(one.to_owned(),)), MAX_SCAN).await?;
    let joined = rows.into_iter().filter(|(_, member)| member.state == MembershipState::Join);
    let keys: Vec<_> = joined.map(|((_, room), _)| (other.to_owned(), room)).collect();
    let members = view.get_many(&MEMBER, &keys).await?;
    Ok(members.into_iter().flatten().any(|member| member.state == MembershipState::Join))
}
