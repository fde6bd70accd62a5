//! User-interactive authentication: a request that needs more than an access token is confirmed in stages.
//!
//! A confirmation belongs to one purpose, one caller and one request: what was confirmed cannot be used for something
//! else. Registration is the exception. Nobody is behind it who could be tricked, its stages only say that *somebody*
//! may register, and clients ask for the stages before the user has chosen a name; so its request may change.
//!
//! A confirmation that is complete stays so until it expires: a client that did not get the answer repeats the request,
//! and the request is carried out again. Login tokens are given once only, because the specification wants explicit
//! consent for each.
//!
//! Confirmations live in memory and are few and short-lived; a restart begins them anew, and the client is told so.
//!
//! Spec: [user-interactive authentication](https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api).

mod confirmations;

use std::collections::BTreeMap;

use ruma::{
    DeviceId, OwnedUserId, UserId,
    api::client::uiaa::{AuthData, AuthFlow, AuthType, Password},
};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};

pub(super) use confirmations::Confirmations;
pub(super) use confirmations::{Passed, State};

use crate::{
    Fault,
    accounts::{
        Accounts, flows,
        login::{LoginError, is_third_party, named_user},
        names,
    },
};

/// What is confirmed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// `POST /register`.
    Register,
    /// `POST /account/password`.
    ChangePassword,
    /// `POST /account/deactivate`.
    Deactivate,
    /// `DELETE /devices/{}` and `POST /delete_devices`.
    DeleteDevices,
    /// `POST /login/get_token`.
    LoginToken,
    /// `POST /keys/device_signing/upload`.
    UploadSigningKeys,
}

/// What a request is, without its `auth`: path parameters and body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of anything that serialises to the same JSON whenever the request is the same.
    pub fn of(request: &impl Serialize) -> Self {
        // What cannot be serialised has come from no client; all such requests count as one.
        Self(Sha256::digest(serde_json::to_vec(request).unwrap_or_default()).into())
    }
}

/// A request and what it brings.
#[derive(Clone, Copy)]
pub struct Confirmation<'a> {
    /// For what.
    pub purpose: Purpose,
    /// By whom; `None` without an access token.
    pub caller: Option<(&'a UserId, &'a DeviceId)>,
    /// What is asked for.
    pub request: Fingerprint,
    /// The `auth` of the body.
    pub auth: Option<&'a AuthData>,
}

/// What comes of it.
pub enum Outcome {
    /// Carry out the request.
    Proceed(Proof),
    /// Tell the client what is missing.
    NeedMore(Needed),
}

/// What the stages of a complete confirmation showed.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// The confirmation's id.
    pub session: String,
    /// Whose password it was.
    pub user: Option<OwnedUserId>,
    /// The registration token.
    pub registration_token: Option<String>,
    /// The documents that were agreed to: id and version.
    pub consents: BTreeMap<String, String>,
}

/// What the client is told: the fields of the answer 401.
#[derive(Debug)]
pub struct Needed {
    /// To be sent back.
    pub session: String,
    /// The ways to confirm.
    pub flows: Vec<AuthFlow>,
    /// The stages already passed.
    pub completed: Vec<AuthType>,
    /// What the client needs to know for the stages.
    pub params: Option<Box<RawValue>>,
    /// Why the stage just tried did not pass.
    pub error: Option<StageError>,
}

/// Why a stage did not pass. The client may try again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StageError {
    /// The password is wrong, or it is not the caller's.
    #[error("the user name or the password is wrong")]
    WrongPassword,
    /// The registration token is unknown, expired or used up.
    #[error("the registration token is not valid")]
    InvalidRegistrationToken,
    /// No flow has this stage at this point.
    #[error("this stage is not offered, or not yet")]
    NotOffered,
    /// The session is unknown or has expired: another one has begun.
    #[error("the session is not known any more: it has begun anew")]
    UnknownSession,
}

/// Why a confirmation cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum UiaError {
    /// The request is not the one that the session was begun for, or its caller is another.
    #[error("the request differs from the one that this session was begun for")]
    Changed,
    /// Too many wrong passwords.
    #[error("too many failed attempts: wait {retry_after_ms} ms")]
    LimitExceeded {
        /// In milliseconds.
        retry_after_ms: u64,
    },
    /// The account is gone.
    #[error("the account has been deactivated")]
    Deactivated,
    /// The account is locked.
    #[error("the account has been locked")]
    Locked,
    /// The password is said to be that of a third-party identifier, which nobody has here.
    #[error("this server knows nobody by that third-party identifier")]
    UnknownThirdParty,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Accounts {
    /// Takes a confirmation one step on.
    pub async fn confirm(&self, request: Confirmation<'_>) -> Result<Outcome, UiaError> {
        let now_ms = self.base.clock.now_ms();
        let Some(auth) = request.auth else {
            return Ok(self.need_more(&self.begin(&request, now_ms), None));
        };
        let state = match auth.session() {
            // A client that knows the only stage may skip the question.
            None => self.begin(&request, now_ms),
            Some(session) => match self.confirmations.find(session, now_ms) {
                Some(state) => state,
                None => return Ok(self.need_more(&self.begin(&request, now_ms), Some(StageError::UnknownSession))),
            },
        };
        if !state.is_for(&request) {
            return Err(UiaError::Changed);
        }
        let state = match self.step(&request, auth, &state).await? {
            Ok(Some(passed)) => match self.confirmations.pass(&state.session, passed, now_ms) {
                Some(state) => state,
                None => return Ok(self.need_more(&self.begin(&request, now_ms), Some(StageError::UnknownSession))),
            },
            // A stage passed earlier, or only the session: what counts is how far it is.
            Ok(None) => state,
            Err(error) => return Ok(self.need_more(&state, Some(error))),
        };
        let complete = self.flows(request.purpose).iter().any(|flow| flow.stages == state.completed);
        if !complete {
            return Ok(self.need_more(&state, None));
        }
        if request.purpose == Purpose::LoginToken && !self.confirmations.end(&state.session) {
            return Ok(self.need_more(&self.begin(&request, now_ms), Some(StageError::UnknownSession)));
        }
        Ok(Outcome::Proceed(state.proof()))
    }

    fn begin(&self, request: &Confirmation<'_>, now_ms: u64) -> State {
        let state = State::new(self.base.random.secret(), request, now_ms);
        self.confirmations.begin(state.clone(), now_ms);
        state
    }

    /// Tries a stage: what passed, `None` if there is nothing to try, or why it did not pass.
    pub(super) async fn step(
        &self,
        request: &Confirmation<'_>,
        auth: &AuthData,
        state: &State,
    ) -> Result<Result<Option<Passed>, StageError>, UiaError> {
        let Some(tried) = auth.auth_type().filter(|tried| !state.completed.contains(tried)) else {
            return Ok(Ok(None));
        };
        if !is_next(&self.flows(request.purpose), &state.completed, &tried) {
            return Ok(Err(StageError::NotOffered));
        }
        let mut passed = Passed { stage: tried, user: None, registration_token: None, consents: BTreeMap::new() };
        match auth {
            AuthData::Dummy(_) => {}
            AuthData::Terms(_) => passed.consents = flows::documents(&self.base.config.registration),
            AuthData::RegistrationToken(shown) => {
                if !self.accepts_registration_token(&shown.token).await? {
                    return Ok(Err(StageError::InvalidRegistrationToken));
                }
                passed.registration_token = Some(shown.token.clone());
            }
            AuthData::Password(shown) => match self.password_stage(request, shown).await? {
                Some(user) => passed.user = Some(user),
                None => return Ok(Err(StageError::WrongPassword)),
            },
            _ => return Ok(Err(StageError::NotOffered)),
        }
        Ok(Ok(Some(passed)))
    }

    /// Whose password was shown; `None` if it is wrong or not the caller's.
    async fn password_stage(
        &self,
        request: &Confirmation<'_>,
        shown: &Password,
    ) -> Result<Option<OwnedUserId>, UiaError> {
        if is_third_party(&shown.identifier) {
            return Err(UiaError::UnknownThirdParty);
        }
        let named = named_user(&shown.identifier).unwrap_or_default();
        // Before any work is done: somebody else's password is nothing to try here, nor is their pause to be made longer.
        let is_callers = |caller| names::local_user_id(named, &self.base.name).is_some_and(|user| user == caller);
        if request.caller.is_some_and(|(caller, _)| !is_callers(caller)) {
            return Ok(None);
        }
        let verified = match self.verify(named, &shown.password).await {
            Ok(verified) => verified,
            Err(LoginError::LimitExceeded { retry_after_ms }) => {
                return Err(UiaError::LimitExceeded { retry_after_ms });
            }
            Err(LoginError::Deactivated) => return Err(UiaError::Deactivated),
            Err(LoginError::Locked) => return Err(UiaError::Locked),
            Err(LoginError::Fault(fault)) => return Err(fault.into()),
            Err(_) => return Ok(None),
        };
        Ok(Some(verified.user))
    }

    /// A session that has not ended.
    pub(super) fn session(&self, session: &str) -> Option<State> {
        self.confirmations.find(session, self.base.clock.now_ms())
    }

    /// Notes a stage that passed on a page.
    pub(super) fn note_passed(&self, session: &str, passed: Passed) -> Result<(), StageError> {
        let noted = self.confirmations.pass(session, passed, self.base.clock.now_ms());
        noted.map(|_| ()).ok_or(StageError::UnknownSession)
    }

    /// Whether a session goes on with this stage.
    pub(super) fn is_turn_of(&self, state: &State, stage: &AuthType) -> bool {
        is_next(&self.flows(state.purpose), &state.completed, stage)
    }

    fn flows(&self, purpose: Purpose) -> Vec<AuthFlow> {
        match purpose {
            Purpose::Register => flows::registration(&self.base.config.registration),
            _ => vec![AuthFlow { stages: vec![AuthType::Password] }],
        }
    }

    fn need_more(&self, state: &State, error: Option<StageError>) -> Outcome {
        let flows = self.flows(state.purpose);
        let asks_terms = flows.iter().any(|flow| flow.stages.contains(&AuthType::Terms));
        let params = asks_terms
            .then(|| {
                to_raw_value(&BTreeMap::from([("m.login.terms", flows::terms(&self.base.config.registration))])).ok()
            })
            .flatten();
        Outcome::NeedMore(Needed {
            session: state.session.clone(),
            flows,
            completed: state.completed.clone(),
            params,
            error,
        })
    }
}

/// Whether a flow goes on with this stage after those passed.
fn is_next(flows: &[AuthFlow], completed: &[AuthType], stage: &AuthType) -> bool {
    flows.iter().any(|flow| flow.stages.starts_with(completed) && flow.stages.get(completed.len()) == Some(stage))
}
