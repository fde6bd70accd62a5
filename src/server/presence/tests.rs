//! What follows from what is known of a user, moment by moment.

use std::time::Duration;

use depesche_store::{
    Options,
    faults::{Fault as Injected, Faults},
    memory::Memory,
};

use super::*;
use crate::testing::{Fixture, user};

const PHONE: &str = "PHONE";
const DESK: &str = "DESK";

/// A user, and a clock that is set by hand.
struct Course {
    live: Live,
    begin: Instant,
    at: Duration,
}

impl Course {
    fn new() -> Self {
        Self { live: Live::new(), begin: Instant::now(), at: Duration::ZERO }
    }

    fn now(&self) -> Instant {
        self.begin + self.at
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.at += Duration::from_secs(seconds);
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls read better")]
    fn poll(&mut self, device: &str, state: PresenceState) -> &mut Self {
        let now = self.now();
        self.live.poll(device.into(), &state, now);
        self
    }

    fn end(&mut self, device: &str) -> &mut Self {
        let now = self.now();
        self.live.end_poll(device.into(), now);
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls read better")]
    fn say(&mut self, state: PresenceState) -> &mut Self {
        let now = self.now();
        self.live.say(&state, Some("here".into()), now);
        self
    }

    fn act(&mut self) -> &mut Self {
        let now = self.now();
        self.live.active(now);
        self
    }

    /// The state, whether active, and in how many seconds to look again.
    fn is(&self) -> (&'static str, bool, Option<u64>) {
        let shown = self.live.shown(self.now());
        let state = match shown.state {
            PresenceState::Online => "online",
            PresenceState::Unavailable => "unavailable",
            _ => "offline",
        };
        let next = self.live.next_change(self.now()).map(|at| (at - self.now()).as_secs());
        (state, shown.currently_active, next)
    }
}

#[test]
fn a_device_that_polls_is_online_then_idle_then_gone() {
    let mut course = Course::new();
    assert_eq!(course.is(), ("offline", false, None));
    assert_eq!(course.poll(PHONE, PresenceState::Online).is(), ("online", true, Some(30)));
    assert_eq!(course.wait(59).is(), ("online", true, Some(1)));
    assert_eq!(course.wait(1).is(), ("online", false, Some(30)));
    assert_eq!(course.wait(239).is(), ("online", false, Some(1)));
    assert_eq!(course.wait(1).is(), ("unavailable", false, Some(30)));
    // Polling on is no activity; doing something is.
    assert_eq!(course.end(PHONE).poll(PHONE, PresenceState::Online).is().0, "unavailable");
    assert_eq!(course.act().is(), ("online", true, Some(30)));
    assert_eq!(course.end(PHONE).is(), ("online", true, Some(30)));
    assert_eq!(course.wait(29).is().0, "online");
    assert_eq!(course.wait(1).is().0, "offline");
    // Who comes back has done something.
    assert_eq!(course.poll(PHONE, PresenceState::Online).is(), ("online", true, Some(30)));
}

#[test]
fn the_most_awake_device_counts() {
    let mut course = Course::new();
    assert_eq!(course.poll(PHONE, PresenceState::Offline).is().0, "offline");
    course.end(PHONE).act();
    assert_eq!(course.poll(DESK, PresenceState::Unavailable).is().0, "unavailable");
    assert_eq!(course.poll(PHONE, PresenceState::Online).is().0, "online");
    assert_eq!(course.end(PHONE).wait(30).is().0, "unavailable", "the desk is still there");
    assert_eq!(course.end(DESK).wait(30).is().0, "offline");
}

#[test]
fn to_do_something_wakes_the_devices_that_say_unavailable() {
    let mut course = Course::new();
    assert_eq!(course.poll(DESK, PresenceState::Unavailable).is().0, "unavailable");
    assert_eq!(course.act().is().0, "online");
    assert_eq!(course.end(DESK).poll(DESK, PresenceState::Unavailable).is().0, "online", "it said so before");
    assert_eq!(course.wait(300).is().0, "unavailable", "nothing was done for long");
    course.act().end(DESK).poll(DESK, PresenceState::Online);
    assert_eq!(course.end(DESK).poll(DESK, PresenceState::Unavailable).is().0, "unavailable", "it says so anew");
    course.act().end(DESK).wait(31);
    assert_eq!(course.poll(DESK, PresenceState::Unavailable).is().0, "unavailable", "as does one that was gone");
}

#[test]
fn what_a_user_says_holds_until_they_do_otherwise() {
    let mut course = Course::new();
    assert_eq!(course.say(PresenceState::Online).is(), ("online", true, Some(30)));
    assert_eq!(course.wait(30).is().0, "offline", "nobody polls");
    course.poll(PHONE, PresenceState::Online);
    assert_eq!(course.say(PresenceState::Unavailable).is().0, "unavailable");
    assert_eq!(course.wait(100).is().0, "unavailable");
    assert_eq!(course.act().is().0, "online");
    assert_eq!(course.say(PresenceState::Offline).is().0, "offline");
    assert_eq!(course.act().end(PHONE).poll(PHONE, PresenceState::Online).is().0, "offline", "still hidden");
    assert_eq!(course.end(PHONE).wait(31).poll(PHONE, PresenceState::Online).is().0, "online", "came back");
}

#[test]
fn how_long_ago_and_what_is_said() {
    let mut course = Course::new();
    assert_eq!(course.live.shown(course.now()), Shown::offline());
    course.say(PresenceState::Online).wait(7);
    let shown = course.live.shown(course.now());
    assert_eq!((shown.last_active_ago_ms, shown.status.as_deref()), (Some(7000), Some("here")));
    let now = course.now();
    course.live.say(&PresenceState::Online, Some(String::new()), now);
    assert_eq!(course.live.shown(now).status, None, "an empty status is none");
}

#[tokio::test(start_paused = true)]
async fn who_went_while_nothing_could_be_written_is_told_to_have_gone() {
    let engine = Faults::new(Memory::new(Options::default()));
    let control = engine.control();
    let server = Fixture::on(Arc::new(engine));
    let alice = &user("alice");
    let room = &server.room(alice).await;
    let no = server.rooms.find(room).await.unwrap().unwrap().no;
    let presences = Presences::new(Arc::clone(&server.base));
    presences.set(alice, &PresenceState::Online, None).await.unwrap();
    let told_at = async || {
        let rows = server.base.view().scan(&PRESENCE, PRESENCE.under(&(no,)), 10).await.unwrap();
        rows.into_iter().map(|((_, position, _), ())| position).collect::<Vec<_>>()
    };
    let online = told_at().await;
    control.next([Injected::Failed; 2]);
    tokio::time::sleep(GONE_AFTER + AGAIN).await;
    assert_eq!((presences.shown(alice).state, told_at().await), (PresenceState::Offline, online.clone()));
    tokio::time::sleep(AGAIN * 2).await;
    assert_eq!(control.left(), 0);
    assert!(told_at().await > online, "the room is told");
    assert!(server.base.view().get(&THERE, &(alice.clone(),)).await.unwrap().is_none());
    // Somebody who is new in a room is told there, though nothing else changed.
    let _polling = presences.poll(alice, PHONE.into(), &PresenceState::Online);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let known = told_at().await;
    control.next([Injected::Failed]);
    presences.moved(alice);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((told_at().await, control.left()), (known.clone(), 0));
    tokio::time::sleep(AGAIN).await;
    assert!(told_at().await > known);
}
