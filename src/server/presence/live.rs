//! What is known of one user, and what follows from it at a moment. No clock of its own: the caller says what time it is.

use std::{collections::BTreeMap, time::Duration};

use ruma::{DeviceId, OwnedDeviceId, presence::PresenceState};
use tokio::time::Instant;

use super::Shown;

/// How long a device is still there after its last poll, and a user after saying so.
pub const GONE_AFTER: Duration = Duration::from_secs(30);
/// How long ago the last activity was, at most, of somebody who is active right now.
const ACTIVE_FOR: Duration = Duration::from_mins(1);
/// After how long without activity somebody is idle. Spec: "a threshold value (e.g. 5 minutes)".
const IDLE_AFTER: Duration = Duration::from_mins(5);
/// The most devices of one user that are remembered.
const MAX_DEVICES: usize = 100;

/// What is known of one user.
pub struct Live {
    devices: BTreeMap<OwnedDeviceId, Device>,
    /// What the user said last, and when; activity takes an "unavailable" back.
    said: Option<(PresenceState, Instant)>,
    active: Option<Instant>,
    status: Option<String>,
    /// The rooms are to be told even what they know.
    pub tell_again: bool,
    /// Whether a keeper looks after the user.
    pub kept: bool,
}

struct Device {
    /// As its polls say.
    state: PresenceState,
    /// The user did something since it said "unavailable".
    woken: bool,
    polls: u32,
    last: Instant,
}

impl Live {
    /// Nothing is known.
    pub fn new() -> Self {
        Self { devices: BTreeMap::new(), said: None, active: None, status: None, tell_again: false, kept: false }
    }

    /// A device polls. To come back is to do something; to go on polling is not.
    pub fn poll(&mut self, device: &DeviceId, state: &PresenceState, now: Instant) {
        let comes = *state == PresenceState::Online
            && !self.devices.get(device).is_some_and(|device| device.is_there(now) && device.state == *state);
        if self.devices.len() >= MAX_DEVICES {
            self.devices.retain(|_, device| device.is_there(now));
        }
        let new = Device { state: state.clone(), woken: false, polls: 0, last: now };
        let entry = self.devices.entry(device.to_owned()).or_insert(new);
        entry.woken &= entry.is_there(now) && entry.state == *state;
        entry.state = state.clone();
        entry.polls += 1;
        entry.last = now;
        if comes {
            // Who comes back shows themselves again, whatever was said before.
            self.said = None;
            self.bump(now);
        }
    }

    /// A poll ends.
    pub fn end_poll(&mut self, device: &DeviceId, now: Instant) {
        if let Some(device) = self.devices.get_mut(device) {
            device.polls = device.polls.saturating_sub(1);
            device.last = now;
        }
    }

    /// The user did something: on whichever device, those that said "unavailable" are no more until they say so anew.
    pub fn active(&mut self, now: Instant) {
        self.bump(now);
        for device in self.devices.values_mut().filter(|device| device.is_there(now)) {
            device.woken = true;
        }
    }

    fn bump(&mut self, now: Instant) {
        self.active = Some(now);
        if self.said.as_ref().is_some_and(|(state, _)| *state == PresenceState::Unavailable) {
            self.said = None;
        }
    }

    /// The user says how they are. A status that is not given is none.
    pub fn say(&mut self, state: &PresenceState, status: Option<String>, now: Instant) {
        self.said = Some((state.clone(), now));
        self.status = status.filter(|status| !status.is_empty());
        // Setting it is an activity, whatever it is set to.
        self.active = Some(now);
    }

    /// What others see.
    pub fn shown(&self, now: Instant) -> Shown {
        let state = self.state(now);
        let ago = self.active.map(|active| now.saturating_duration_since(active));
        Shown {
            currently_active: state == PresenceState::Online && ago.is_some_and(|ago| ago < ACTIVE_FOR),
            state,
            status: self.status.clone(),
            last_active_ago_ms: ago.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    fn state(&self, now: Instant) -> PresenceState {
        let said = self.said.as_ref().map(|(state, _)| state);
        if said == Some(&PresenceState::Offline) {
            return PresenceState::Offline;
        }
        let there = |device: &&Device| device.is_there(now) && device.state != PresenceState::Offline;
        let mut devices = self.devices.values().filter(there).peekable();
        let recently = self.said.as_ref().is_some_and(|(_, at)| now < *at + GONE_AFTER);
        if devices.peek().is_none() && !recently {
            return PresenceState::Offline;
        }
        let says_online = recently && said == Some(&PresenceState::Online);
        let awake = says_online || devices.any(|device| device.woken || device.state == PresenceState::Online);
        let idle = self.active.is_none_or(|active| now >= active + IDLE_AFTER);
        if idle || !awake || said == Some(&PresenceState::Unavailable) {
            return PresenceState::Unavailable;
        }
        PresenceState::Online
    }

    /// When to look again whether something else is shown; `None` if nothing will be, unless somebody comes.
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let gone = self.devices.values().filter(|device| device.polls == 0).map(|device| device.last + GONE_AFTER);
        let said = self.said.iter().map(|(_, at)| *at + GONE_AFTER);
        // A poll may end at any moment, and then there is time enough to look again.
        let polling = self.devices.values().any(|device| device.polls > 0).then(|| now + GONE_AFTER);
        let active = self.active.iter().flat_map(|active| [*active + ACTIVE_FOR, *active + IDLE_AFTER]);
        gone.chain(said).chain(active).chain(polling).filter(|at| *at > now).min()
    }
}

impl Device {
    fn is_there(&self, now: Instant) -> bool {
        self.polls > 0 || now < self.last + GONE_AFTER
    }
}
