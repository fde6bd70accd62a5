//! Passing a stage of user-interactive authentication on a web page, for clients that do not know the stage.
//!
//! Who has the id of a session may pass stages in it, as with the request itself. Passwords are not among them: every
//! client knows that stage, and a page that asks for passwords teaches people to type them into pages.
//!
//! Spec: [fallback](https://spec.matrix.org/v1.19/client-server-api/#fallback).

use depesche_config::Term;
use ruma::api::client::uiaa::{AuthData, AuthType, Dummy, RegistrationToken, Terms};

use crate::accounts::{Accounts, Confirmation, Fingerprint, StageError, UiaError, uia::State};

/// What a page asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    /// Nothing: to go on.
    Dummy,
    /// To agree to these documents.
    Terms(Vec<Term>),
    /// A registration token.
    RegistrationToken,
}

impl Accounts {
    /// What the page of a stage asks for in this session; `None` if the stage has been passed. The session is unknown, or
    /// it is not the turn of this stage.
    pub fn asked_on_page(&self, session: &str, stage: &AuthType) -> Result<Option<Asked>, StageError> {
        let state = self.session(session).ok_or(StageError::UnknownSession)?;
        self.asked(&state, stage)
    }

    fn asked(&self, state: &State, stage: &AuthType) -> Result<Option<Asked>, StageError> {
        if state.has_passed(stage) {
            return Ok(None);
        }
        if !self.is_turn_of(state, stage) {
            return Err(StageError::NotOffered);
        }
        match stage {
            AuthType::Dummy => Ok(Some(Asked::Dummy)),
            AuthType::Terms => Ok(Some(Asked::Terms(self.base.config.registration.terms.clone()))),
            AuthType::RegistrationToken => Ok(Some(Asked::RegistrationToken)),
            _ => Err(StageError::NotOffered),
        }
    }

    /// Passes the stage, with the registration token that was typed where one is asked for. A stage is passed once: the
    /// second of two requests, as a double click sends them, is answered as the first.
    pub async fn pass_on_page(
        &self,
        session: &str,
        stage: &AuthType,
        token: &str,
    ) -> Result<Result<(), StageError>, UiaError> {
        let Some(state) = self.session(session) else { return Ok(Err(StageError::UnknownSession)) };
        let auth = match self.asked(&state, stage) {
            Ok(None) => return Ok(Ok(())),
            Ok(Some(Asked::Dummy)) => AuthData::Dummy(Dummy::new()),
            Ok(Some(Asked::Terms(_))) => AuthData::Terms(Terms::new()),
            Ok(Some(Asked::RegistrationToken)) => AuthData::RegistrationToken(RegistrationToken::new(token.to_owned())),
            Err(error) => return Ok(Err(error)),
        };
        let request =
            Confirmation { purpose: state.purpose, caller: None, request: Fingerprint::of(&()), auth: Some(&auth) };
        let stepped = self.step(&request, &auth, &state).await?;
        Ok(stepped.and_then(|passed| passed.map_or(Ok(()), |passed| self.note_passed(session, passed))))
    }
}
