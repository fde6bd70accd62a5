//! The confirmations under way, in memory: bounded in number and in time, and so that no user can end those of others.
//! Who has no access token is bounded by the rate limits of logins.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use depesche_store::Mutex;
use ruma::{OwnedDeviceId, OwnedUserId, UserId, api::client::uiaa::AuthType};

use super::{Confirmation, Fingerprint, Proof, Purpose};
use crate::accounts::register::Wanted;

/// Confirmations of one user at a time; the user's own oldest go beyond. Clients have one or two, a script that takes away
/// many devices at once some dozens.
const OF_ONE_USER: usize = 100;

/// All that are under way.
pub(crate) struct Confirmations {
    lifetime_ms: u64,
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_session: HashMap<String, State>,
    /// Oldest first, by the order in which they began; all live equally long.
    by_age: BTreeMap<u64, String>,
    /// Those that a user began.
    by_user: HashMap<OwnedUserId, BTreeSet<u64>>,
    /// How many have begun.
    begun: u64,
}

/// How far one is.
#[derive(Clone)]
pub(in crate::accounts) struct State {
    pub(super) session: String,
    pub(in crate::accounts) purpose: Purpose,
    pub(super) completed: Vec<AuthType>,
    caller: Option<(OwnedUserId, OwnedDeviceId)>,
    request: Fingerprint,
    began_ms: u64,
    /// Its place among all that have begun.
    number: u64,
    user: Option<OwnedUserId>,
    registration_token: Option<String>,
    consents: BTreeMap<String, String>,
    wanted: Option<Wanted>,
    registered: Option<(Fingerprint, OwnedUserId)>,
}

/// A stage that passed, and what it showed.
pub(in crate::accounts) struct Passed {
    pub(super) stage: AuthType,
    pub(super) user: Option<OwnedUserId>,
    pub(super) registration_token: Option<String>,
    pub(super) consents: BTreeMap<String, String>,
}

impl State {
    pub(super) fn new(session: String, request: &Confirmation<'_>, now_ms: u64) -> Self {
        Self {
            session,
            purpose: request.purpose,
            completed: Vec::new(),
            caller: request.caller.map(|(user, device)| (user.to_owned(), device.to_owned())),
            request: request.request,
            began_ms: now_ms,
            number: 0,
            user: None,
            registration_token: None,
            consents: BTreeMap::new(),
            wanted: None,
            registered: None,
        }
    }

    /// Whether it was begun for this request.
    pub(super) fn is_for(&self, request: &Confirmation<'_>) -> bool {
        let caller = self.caller.as_ref().map(|(user, device)| (&**user, &**device));
        self.purpose == request.purpose
            && caller == request.caller
            && (self.purpose == Purpose::Register || self.request == request.request)
    }

    /// Whether this stage is behind it.
    pub(in crate::accounts) fn has_passed(&self, stage: &AuthType) -> bool {
        self.completed.contains(stage)
    }

    pub(super) fn proof(self) -> Proof {
        let Self { session, user, registration_token, consents, .. } = self;
        Proof { session, user, registration_token, consents }
    }
}

impl Confirmations {
    pub(crate) fn new(lifetime: Duration, most: usize) -> Self {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        Self { lifetime_ms, most, kept: Mutex::default() }
    }

    /// Keeps a new one; the oldest go if there are too many, of the user or in all.
    pub(super) fn begin(&self, mut state: State, now_ms: u64) {
        let mut kept = self.kept.lock();
        while let Some(oldest) = kept.oldest()
            && (kept.by_session.len() >= self.most || self.is_over(oldest.began_ms, now_ms))
        {
            let session = oldest.session.clone();
            kept.remove(&session);
        }
        state.number = kept.begun;
        kept.begun += 1;
        if let Some((user, _)) = &state.caller {
            kept.make_room_for(user);
            kept.by_user.entry(user.clone()).or_default().insert(state.number);
        }
        kept.by_age.insert(state.number, state.session.clone());
        kept.by_session.insert(state.session.clone(), state);
    }

    /// One that is still valid.
    pub(super) fn find(&self, session: &str, now_ms: u64) -> Option<State> {
        self.kept.lock().by_session.get(session).filter(|state| !self.is_over(state.began_ms, now_ms)).cloned()
    }

    /// Notes that a stage passed; `None` if the session has ended meanwhile.
    pub(super) fn pass(&self, session: &str, passed: Passed, now_ms: u64) -> Option<State> {
        let mut kept = self.kept.lock();
        let state = kept.by_session.get_mut(session).filter(|state| !self.is_over(state.began_ms, now_ms))?;
        // Two requests may have passed the same stage at once.
        if !state.completed.contains(&passed.stage) {
            state.completed.push(passed.stage);
            state.user = passed.user.or(state.user.take());
            state.registration_token = passed.registration_token.or(state.registration_token.take());
            state.consents.extend(passed.consents);
        }
        Some(state.clone())
    }

    /// Ends one; `false` if it had ended.
    pub(super) fn end(&self, session: &str) -> bool {
        self.kept.lock().remove(session)
    }

    /// Notes what a registration asks for.
    pub(in crate::accounts) fn wants(&self, session: &str, wanted: Wanted) {
        if let Some(state) = self.kept.lock().by_session.get_mut(session) {
            state.wanted = Some(wanted);
        }
    }

    /// What a registration asked for when it last said so.
    pub(in crate::accounts) fn wanted(&self, session: &str, now_ms: u64) -> Option<Wanted> {
        self.find(session, now_ms)?.wanted
    }

    /// Notes the account that a registration has made.
    pub(crate) fn registered(&self, session: &str, request: Fingerprint, user: OwnedUserId) {
        if let Some(state) = self.kept.lock().by_session.get_mut(session) {
            state.registered = Some((request, user));
            if let Some(wanted) = &mut state.wanted {
                wanted.forget_password();
            }
        }
    }

    /// The account that this very registration made before.
    pub(crate) fn registered_before(&self, session: &str, request: Fingerprint, now_ms: u64) -> Option<OwnedUserId> {
        let (made_by, user) = self.find(session, now_ms)?.registered?;
        (made_by == request).then_some(user)
    }

    /// How many have shown this registration token and made no account yet.
    pub(crate) fn pending(&self, token: &str, now_ms: u64) -> usize {
        let kept = self.kept.lock();
        let pending = kept.by_session.values().filter(|state| {
            state.registration_token.as_deref() == Some(token)
                && state.registered.is_none()
                && !self.is_over(state.began_ms, now_ms)
        });
        pending.count()
    }

    fn is_over(&self, began_ms: u64, now_ms: u64) -> bool {
        began_ms.saturating_add(self.lifetime_ms) <= now_ms
    }
}

impl Kept {
    fn oldest(&self) -> Option<&State> {
        let (_, session) = self.by_age.first_key_value()?;
        self.by_session.get(session)
    }

    fn make_room_for(&mut self, user: &UserId) {
        while let Some(own) = self.by_user.get(user).filter(|own| own.len() >= OF_ONE_USER)
            && let Some(session) = own.first().and_then(|oldest| self.by_age.get(oldest)).cloned()
        {
            self.remove(&session);
        }
    }

    /// Whether it was there.
    fn remove(&mut self, session: &str) -> bool {
        let Some(state) = self.by_session.remove(session) else { return false };
        self.by_age.remove(&state.number);
        if let Some((user, _)) = &state.caller
            && let Some(own) = self.by_user.get_mut(user)
        {
            own.remove(&state.number);
            if own.is_empty() {
                self.by_user.remove(user);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, user_id};

    use super::*;

    fn begin(confirmations: &Confirmations, session: &str, now_ms: u64) {
        let request =
            Confirmation { purpose: Purpose::Register, caller: None, request: Fingerprint::of(&()), auth: None };
        confirmations.begin(State::new(session.to_owned(), &request, now_ms), now_ms);
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let confirmations = Confirmations::new(Duration::from_mins(15), 3);
        for session in ["a", "b", "c", "d"] {
            begin(&confirmations, session, 1);
        }
        let found = ["a", "b", "c", "d"].map(|session| confirmations.find(session, 1).is_some());
        assert_eq!(found, [false, true, true, true]);
    }

    #[test]
    fn one_user_ends_only_their_own() {
        let confirmations = Confirmations::new(Duration::from_mins(15), 10_000);
        let begin_as = |user: &UserId, session: &str| {
            let caller = Some((user, device_id!("PHONE")));
            let request =
                Confirmation { purpose: Purpose::LoginToken, caller, request: Fingerprint::of(&()), auth: None };
            confirmations.begin(State::new(session.to_owned(), &request, 1), 1);
        };
        begin(&confirmations, "nobody's", 1);
        begin_as(user_id!("@bob:a"), "bob's");
        for number in 0..20_000 {
            begin_as(user_id!("@eve:a"), &number.to_string());
        }
        for session in ["nobody's", "bob's", "19999", &(20_000 - OF_ONE_USER).to_string()] {
            assert!(confirmations.find(session, 1).is_some(), "{session}");
        }
        assert!(confirmations.find(&(20_000 - OF_ONE_USER - 1).to_string(), 1).is_none());
        assert!(confirmations.end("bob's") && !confirmations.end("bob's"));
        let kept = confirmations.kept.lock();
        let of_users: usize = kept.by_user.values().map(BTreeSet::len).sum();
        assert_eq!(
            (kept.by_session.len(), kept.by_age.len(), of_users),
            (OF_ONE_USER + 1, OF_ONE_USER + 1, OF_ONE_USER)
        );
    }

    #[test]
    fn they_end_with_their_time() {
        let confirmations = Confirmations::new(Duration::from_millis(100), 10);
        begin(&confirmations, "a", 1);
        assert!(confirmations.find("a", 100).is_some());
        assert!(confirmations.find("a", 101).is_none());
        begin(&confirmations, "b", 101);
        assert_eq!(confirmations.kept.lock().by_session.len(), 1, "what is over stays in memory");
    }
}
