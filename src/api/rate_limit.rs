//! Rate limits: who asks too often waits. 429, `M_LIMIT_EXCEEDED`, with the time to wait.
//!
//! Which endpoints: those that the specification marks (`RATE_LIMITED` of ruma's request types), and those that make
//! others work, by [`Class::of`]. Elsewhere a password that confirms a request counts as a login (`uia.rs`). Who is
//! counted (`requests.rs`): the user where there is one, else the address (for IPv6 its /64, which one subscriber has
//! whole). Whoever has neither, which nobody over the network does, is not.
//!
//! One number stands for each who and class: the time at which all that was used will have come back. A row whose time
//! has passed says nothing, so nothing is lost with it. Memory is bounded: two generations of at most [`GENERATION`] rows;
//! what was not used for a whole generation is forgotten.
//!
//! Spec: [rate limiting](https://spec.matrix.org/v1.19/client-server-api/#rate-limiting).

mod requests;

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    mem,
    net::IpAddr,
    time::Duration,
};

use depesche_config::RateLimits as Config;
use depesche_server::Mutex;
use http::Method;
use ruma::UserId;

pub use self::requests::who;

/// Rows of one generation: some two megabytes.
const GENERATION: usize = 50_000;
const US_PER_MS: u64 = 1_000;
const US_PER_MINUTE: u64 = 60_000_000;

/// What a request costs others.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Class {
    /// Events of a room.
    Messages,
    /// Logging in and registering, and whatever else shows whether a password or a registration token is right.
    Logins,
    /// What brings people together, and what people are bothered with.
    Joins,
    /// Files.
    Media,
    /// Messages to devices.
    ToDevice,
    /// Whatever else the specification wants limited, and the room directory.
    Other,
}

impl Class {
    /// The class of an endpoint, if it is limited: by its method, its path and what the specification says.
    pub fn of(method: &Method, path: &str, rate_limited: bool) -> Option<Self> {
        let mut segments = path.split('/').skip(2);
        let (first, version) = (segments.next(), segments.next());
        // A vendor's prefix is no part of the name.
        let rest: Vec<&str> =
            segments.skip_while(|segment| version == Some("unstable") && segment.contains('.')).collect();
        let reads = *method == Method::GET;
        match rest.as_slice() {
            ["media", ..] => Some(Self::Media),
            _ if first == Some("media") => Some(Self::Media),
            // Wherever a password or a registration token can be guessed by who need not be logged in.
            ["login" | "register"] | ["login", "get_token"] | ["auth", _, "fallback", "web"] if !reads => {
                Some(Self::Logins)
            }
            ["account", "password" | "deactivate"] | ["register", _, "validity"] => Some(Self::Logins),
            ["rooms", _, "send" | "state" | "redact" | "kick" | "ban" | "unban", ..] if !reads => Some(Self::Messages),
            ["rooms", _, "join" | "invite" | "knock" | "report" | "upgrade", ..] if !reads => Some(Self::Joins),
            ["join" | "knock", _] | ["createRoom"] | ["users", _, "report"] => Some(Self::Joins),
            ["sendToDevice", ..] => Some(Self::ToDevice),
            // A page opens hundreds of rooms, for whoever asks.
            ["publicRooms" | "notifications"]
            // And this is told to everybody who shares a room.
            | ["keys", "signatures", "upload"] => Some(Self::Other),
            ["devices", _] if *method == Method::PUT => Some(Self::Other),
            ["directory", "room", _] | ["directory", "list", "room", _] if !reads => Some(Self::Other),
            _ => rate_limited.then_some(Self::Other),
        }
    }
}

/// Who is counted.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// Who showed an access token.
    User(&'a UserId),
    /// Where the request came from.
    Address(IpAddr),
}

/// How often everybody has asked of late.
pub struct RateLimits {
    enabled: bool,
    exempt_admins: bool,
    pace: [Pace; 6],
    /// Names become rows by a hash that nobody can foresee.
    hasher: RandomState,
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

/// How much is allowed, in microseconds.
#[derive(Clone, Copy)]
struct Pace {
    /// In which one request comes back.
    interval: u64,
    /// In which all of them do.
    whole: u64,
}

impl Pace {
    fn new(burst: u32, per_minute: u32) -> Self {
        let interval = US_PER_MINUTE.div_ceil(u64::from(per_minute));
        Self { interval, whole: interval * u64::from(burst) }
    }

    /// When all will have come back after this has been used now, or how long it has to wait.
    fn next(self, full: u64, now: u64, cost: u64) -> Result<u64, u64> {
        let next = full.max(now) + cost;
        if next <= now + self.whole { Ok(next) } else { Err(next - now - self.whole) }
    }
}

impl RateLimits {
    /// As the operator wants them.
    pub fn new(config: &Config) -> Self {
        let pace = [
            Pace::new(config.messages_burst, config.messages_per_minute),
            Pace::new(config.logins_burst, config.logins_per_minute),
            Pace::new(config.joins_burst, config.joins_per_minute),
            Pace::new(config.media_burst, config.media_per_minute),
            Pace::new(config.to_device_burst, config.to_device_per_minute),
            Pace::new(config.other_burst, config.other_per_minute),
        ];
        let (enabled, exempt_admins) = (config.enabled, config.exempt_admins);
        Self { enabled, exempt_admins, pace, hasher: RandomState::new(), rows: Mutex::default() }
    }

    /// Whether administrators are counted.
    pub fn counts_admins(&self) -> bool {
        !self.exempt_admins
    }

    /// Counts a request, or says how long it has to wait; one that waits is not counted.
    pub fn count(&self, class: Class, who: Who<'_>, now_ms: u64) -> Result<(), Duration> {
        self.take(class, |pace| pace.interval, who, now_ms).map_err(in_whole_ms)
    }

    /// Counts what a request costs beside itself: as much as so many more. With itself it costs no more than may be had at
    /// once, so that it comes through some time. It was counted itself, and will be again when it comes again: how long it
    /// has to wait is said for both.
    pub fn count_more(&self, class: Class, requests: u64, who: Who<'_>, now_ms: u64) -> Result<(), Duration> {
        let cost = |pace: Pace| pace.interval.saturating_mul(requests).min(pace.whole - pace.interval);
        let itself = Duration::from_micros(self.pace[class as usize].interval);
        self.take(class, cost, who, now_ms).map_err(|wait| in_whole_ms(wait + itself))
    }

    fn take(&self, class: Class, cost: impl Fn(Pace) -> u64, who: Who<'_>, now_ms: u64) -> Result<(), Duration> {
        if !self.enabled {
            return Ok(());
        }
        let row = self.row(class, who);
        let pace = self.pace[class as usize];
        let now = now_ms.saturating_mul(US_PER_MS);
        let mut rows = self.rows.lock();
        // Only a clock that was set back makes it later than the whole.
        let full = rows.get(row).min(now + pace.whole);
        let next = pace.next(full, now, cost(pace));
        rows.set(row, next.unwrap_or(full));
        next.map(|_| ()).map_err(Duration::from_micros)
    }

    /// Counts so many requests more, without refusing any: the next ones may have to wait, no longer than until all would
    /// have come back.
    pub fn charge(&self, class: Class, who: Who<'_>, more: usize, now_ms: u64) {
        if !self.enabled {
            return;
        }
        let (row, pace) = (self.row(class, who), self.pace[class as usize]);
        let now = now_ms.saturating_mul(US_PER_MS);
        let mut rows = self.rows.lock();
        let cost = pace.interval.saturating_mul(more as u64);
        let full = rows.get(row).max(now).saturating_add(cost).min(now + pace.whole);
        rows.set(row, full);
    }

    fn row(&self, class: Class, who: Who<'_>) -> u64 {
        match who {
            Who::User(user) => self.hasher.hash_one((class, 0, user.as_str())),
            Who::Address(IpAddr::V4(address)) => self.hasher.hash_one((class, 4, address.to_bits())),
            Who::Address(IpAddr::V6(address)) => self.hasher.hash_one((class, 6, address.to_bits() >> 64)),
        }
    }
}

/// As clients are told it, and not too short.
fn in_whole_ms(wait: Duration) -> Duration {
    Duration::from_millis(u64::try_from(wait.as_micros().div_ceil(u128::from(US_PER_MS))).unwrap_or(u64::MAX))
}

impl Rows {
    fn get(&self, row: u64) -> u64 {
        self.young.get(&row).or_else(|| self.old.get(&row)).copied().unwrap_or_default()
    }

    fn set(&mut self, row: u64, full: u64) {
        if self.young.len() >= GENERATION && !self.young.contains_key(&row) {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(row, full);
    }
}

#[cfg(test)]
mod tests {
    use ruma::{UserId, user_id};

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    fn limits(messages_burst: u32, messages_per_minute: u32) -> RateLimits {
        let text = format!(
            "[server]\nname = \"a.test\"\n[rate_limits]\nmessages_burst = {messages_burst}\n\
             messages_per_minute = {messages_per_minute}\nlogins_burst = 1\n"
        );
        RateLimits::new(&depesche_config::Config::parse(&text).unwrap().rate_limits)
    }

    fn said(limits: &RateLimits, now_ms: u64) -> Result<(), Duration> {
        limits.count(Class::Messages, Who::User(user_id!("@a:b")), now_ms)
    }

    #[test]
    fn so_many_at_once_and_then_at_a_pace() {
        let limits = limits(3, 60);
        for _ in 0..3 {
            assert_eq!(said(&limits, NOW), Ok(()));
        }
        assert_eq!(said(&limits, NOW), Err(Duration::from_secs(1)));
        assert_eq!(said(&limits, NOW + 999), Err(Duration::from_millis(1)));
        assert_eq!(said(&limits, NOW + 1000), Ok(()), "who waits as told is let through");
        assert_eq!(said(&limits, NOW + 1000), Err(Duration::from_secs(1)), "and being refused cost nothing");
        for _ in 0..3 {
            assert_eq!(said(&limits, NOW + 60_000), Ok(()), "all comes back, and no more than all");
        }
        assert!(said(&limits, NOW + 60_000).is_err());
    }

    #[test]
    fn what_cost_more_counts_as_more() {
        let limits = limits(10, 60);
        let charge = |more| limits.charge(Class::Messages, Who::User(user_id!("@a:b")), more, NOW);
        assert_eq!(said(&limits, NOW), Ok(()));
        charge(8);
        assert_eq!(said(&limits, NOW), Ok(()));
        assert_eq!(said(&limits, NOW), Err(Duration::from_secs(1)));
        charge(1_000_000);
        assert_eq!(
            said(&limits, NOW),
            Err(Duration::from_secs(1)),
            "nobody waits longer than for the next to come back"
        );
        assert_eq!(said(&limits, NOW + 1000), Ok(()));
    }

    #[test]
    fn what_costs_much_takes_nearly_as_much_as_there_is() {
        let limits = limits(5, 60);
        let more = |requests, now_ms| limits.count_more(Class::Messages, requests, Who::User(user_id!("@a:b")), now_ms);
        assert_eq!(more(3, NOW), Ok(()));
        assert_eq!(more(3, NOW), Err(Duration::from_secs(2)), "and none of them counts");
        assert_eq!((more(2, NOW), more(0, NOW)), (Ok(()), Ok(())));
        assert_eq!(said(&limits, NOW), Err(Duration::from_secs(1)));
        assert_eq!(more(100, NOW), Err(Duration::from_secs(5)));
        assert_eq!(said(&limits, NOW + 5000), Ok(()));
        assert_eq!(more(100, NOW + 5000), Ok(()), "with the request itself nothing is out of reach");
        assert_eq!(said(&limits, NOW + 5000), Err(Duration::from_secs(1)));
    }

    #[test]
    fn what_costs_much_comes_through_when_it_waits_as_told() {
        // So many a minute that a request takes no whole number of milliseconds.
        for (burst, per_minute) in [(1, 60), (5, 60), (50, 61), (50, 7001)] {
            for requests in [0, 1, 3, 49, 1_000_000] {
                let limits = limits(burst, per_minute);
                let more = |now_ms| limits.count_more(Class::Messages, requests, Who::User(user_id!("@a:b")), now_ms);
                for _ in 1..burst {
                    assert_eq!(said(&limits, NOW), Ok(()));
                }
                let mut now = NOW;
                for _ in 0..3 {
                    // What is told to wait comes again, as a whole, when it may.
                    let mut refused = 0;
                    while let Err(wait) = said(&limits, now).and_then(|()| more(now)) {
                        now += u64::try_from(wait.as_millis()).unwrap();
                        refused += 1;
                        assert!(refused <= 2, "{requests} more, {burst} at once, {per_minute} a minute");
                    }
                }
            }
        }
    }

    #[test]
    fn each_counts_alone() {
        let limits = limits(1, 60);
        assert_eq!(said(&limits, NOW), Ok(()));
        assert!(said(&limits, NOW).is_err());
        assert_eq!(limits.count(Class::Messages, Who::User(user_id!("@b:b")), NOW), Ok(()));
        assert_eq!(limits.count(Class::Logins, Who::User(user_id!("@a:b")), NOW), Ok(()));
        let from = |address: &str| limits.count(Class::Logins, Who::Address(address.parse().unwrap()), NOW).is_ok();
        assert!(from("192.0.2.1") && from("192.0.2.2") && !from("192.0.2.1"));
        assert!(from("2001:db8:0:1::1") && !from("2001:db8:0:1:ffff::2") && from("2001:db8:0:2::1"), "a /64 is one");
    }

    #[test]
    fn a_clock_set_back_locks_nobody_out() {
        let limits = limits(3, 60);
        for _ in 0..3 {
            assert_eq!(said(&limits, NOW), Ok(()));
        }
        assert_eq!(said(&limits, NOW - 86_400_000), Err(Duration::from_secs(1)));
        assert_eq!(said(&limits, NOW - 86_400_000 + 1000), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_who_asks_on_is_remembered() {
        let limits = limits(1, 1);
        assert_eq!(said(&limits, NOW), Ok(()));
        for number in 0..u32::try_from(3 * GENERATION).unwrap() {
            let user = UserId::parse(format!("@{number}:b")).unwrap();
            limits.count(Class::Messages, Who::User(&user), NOW).unwrap();
            if number % 30_000 == 0 {
                assert!(said(&limits, NOW).is_err(), "who was let through {number} others ago");
            }
        }
        let rows = limits.rows.lock();
        assert!(rows.young.len() <= GENERATION && rows.old.len() <= GENERATION);
    }

    #[test]
    fn classes_follow_the_path() {
        let of = |line: &str, rate_limited| {
            let (method, path) = line.split_once(' ').unwrap();
            Class::of(&method.parse().unwrap(), path, rate_limited)
        };
        for (line, class) in [
            ("PUT /_matrix/client/v3/rooms/{}/send/{}/{}", Class::Messages),
            ("PUT /_matrix/client/v3/rooms/{}/state/{}/{}", Class::Messages),
            ("PUT /_matrix/client/v3/rooms/{}/redact/{}/{}", Class::Messages),
            ("POST /_matrix/client/v3/rooms/{}/kick", Class::Messages),
            ("POST /_matrix/client/v3/rooms/{}/ban", Class::Messages),
            ("POST /_matrix/client/r0/rooms/{}/unban", Class::Messages),
            ("POST /_matrix/client/v3/login", Class::Logins),
            ("POST /_matrix/client/r0/register", Class::Logins),
            ("POST /_matrix/client/v1/login/get_token", Class::Logins),
            ("POST /_matrix/client/v3/account/password", Class::Logins),
            ("POST /_matrix/client/v3/account/deactivate", Class::Logins),
            ("POST /_matrix/client/v3/auth/{}/fallback/web", Class::Logins),
            ("GET /_matrix/client/v1/register/m.login.registration_token/validity", Class::Logins),
            ("GET /_matrix/client/unstable/org.x/register/org.x.login.registration_token/validity", Class::Logins),
            ("POST /_matrix/client/v3/join/{}", Class::Joins),
            ("POST /_matrix/client/v3/knock/{}", Class::Joins),
            ("POST /_matrix/client/v3/rooms/{}/invite", Class::Joins),
            ("POST /_matrix/client/v3/rooms/{}/report/{}", Class::Joins),
            ("POST /_matrix/client/v3/users/{}/report", Class::Joins),
            ("POST /_matrix/client/v3/createRoom", Class::Joins),
            ("GET /_matrix/client/v1/media/download/{}/{}", Class::Media),
            ("GET /_matrix/client/unstable/org.matrix.msc3916/media/preview_url", Class::Media),
            ("POST /_matrix/media/v3/upload", Class::Media),
            ("PUT /_matrix/client/v3/sendToDevice/{}/{}", Class::ToDevice),
            ("PUT /_matrix/client/v3/devices/{}", Class::Other),
            ("POST /_matrix/client/v3/keys/signatures/upload", Class::Other),
            ("PUT /_matrix/client/v3/directory/room/{}", Class::Other),
            ("DELETE /_matrix/client/v3/directory/room/{}", Class::Other),
            ("PUT /_matrix/client/v3/directory/list/room/{}", Class::Other),
            ("GET /_matrix/client/v3/publicRooms", Class::Other),
            ("POST /_matrix/client/v3/publicRooms", Class::Other),
        ] {
            assert_eq!(of(line, false), Some(class), "{line}");
        }
        for line in ["GET /_matrix/client/v3/login", "GET /_matrix/client/v3/profile/{}"] {
            assert_eq!((of(line, true), of(line, false)), (Some(Class::Other), None), "{line}");
        }
        assert_eq!(of("GET /_matrix/client/v3/rooms/{}/state", false), None);
        assert_eq!(of("GET /_matrix/client/v3/sync", false), None);
        assert_eq!(of("GET /_matrix/client/v3/directory/room/{}", false), None);
        assert_eq!(of("POST /_matrix/client/v3/keys/query", false), None);
    }
}
