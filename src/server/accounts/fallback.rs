//! Passing a stage of user-interactive authentication on a web page, for clients that do not know the stage.
//!
//! Who has the id of a session may pass stages in it, as with the request itself. Passwords are not among them: every
//! client knows that stage, and a page that asks for passwords teaches people to type them into pages.
//!
//! Spec: [fallback](https://spec.matrix.org/v1.19/client-server-api/#fallback).

use depesche_config::Term;
use ruma::api::client::uiaa::{AuthData, AuthType, Dummy, RegistrationToken, Terms};

use crate::accounts::{Accounts, Confirmation, Fingerprint, StageError, UiaError};

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
    /// What the page of a stage asks for in this session. The session is unknown, or it is not the turn of this stage.
    pub fn asked_on_page(&self, session: &str, stage: &AuthType) -> Result<Asked, StageError> {
        let state = self.session(session).ok_or(StageError::UnknownSession)?;
        if !self.is_turn_of(&state, stage) {
            return Err(StageError::NotOffered);
        }
        match stage {
            AuthType::Dummy => Ok(Asked::Dummy),
            AuthType::Terms => Ok(Asked::Terms(self.base.config.registration.terms.clone())),
            AuthType::RegistrationToken => Ok(Asked::RegistrationToken),
            _ => Err(StageError::NotOffered),
        }
    }

    /// Passes the stage, with the registration token that was typed where one is asked for.
    pub async fn pass_on_page(
        &self,
        session: &str,
        stage: &AuthType,
        token: &str,
    ) -> Result<Result<(), StageError>, UiaError> {
        let asked = match self.asked_on_page(session, stage) {
            Ok(asked) => asked,
            Err(error) => return Ok(Err(error)),
        };
        let Some(state) = self.session(session) else { return Ok(Err(StageError::UnknownSession)) };
        let auth = match asked {
            Asked::Dummy => AuthData::Dummy(Dummy::new()),
            Asked::Terms(_) => AuthData::Terms(Terms::new()),
            Asked::RegistrationToken => AuthData::RegistrationToken(RegistrationToken::new(token.to_owned())),
        };
        let request =
            Confirmation { purpose: state.purpose, caller: None, request: Fingerprint::of(&()), auth: Some(&auth) };
        match self.step(&request, &auth, &state).await? {
            Ok(Some(passed)) => Ok(self.note_passed(session, passed)),
            Ok(None) => Ok(Ok(())),
            Err(error) => Ok(Err(error)),
        }
    }
}
