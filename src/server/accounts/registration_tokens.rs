//! Registration tokens: who has one may register.
//!
//! A use is *pending* from the moment a confirmation has shown the token until its account is made. Pending uses live
//! in memory with the confirmations, so that an abandoned one never blocks a token; what counts in the end is the
//! number in the row, which the batch that makes the account raises.
//!
//! Spec: [token-authenticated registration](https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration).

use depesche_config::RegistrationMode;

use crate::{Fault, accounts::Accounts, keyspace::REGISTRATION_TOKEN, records::accounts::RegistrationToken, tx::Tx};

/// Bytes of a token. Spec: "maximum length of 64 characters".
pub const MAX_REGISTRATION_TOKEN_BYTES: usize = 64;
/// Letters of a token that the server chooses.
const CHOSEN_LETTERS: usize = 16;
/// Tokens in one page of a list.
const PAGE: usize = 100;

/// A token to be made.
#[derive(Clone, Debug, Default)]
pub struct NewRegistrationToken {
    /// The text; the server chooses one if absent.
    pub token: Option<String>,
    /// How many accounts it is good for; any number if absent.
    pub uses_allowed: Option<u32>,
    /// From when on it is refused.
    pub expires_ms: Option<u64>,
}

/// A token and how far it is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegistrationTokenInfo {
    /// The text.
    pub token: String,
    /// What is stored.
    pub stored: RegistrationToken,
    /// Registrations under way.
    pub pending: usize,
}

/// Why a token is not made, shown or removed.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationTokenError {
    /// The text is not of the opaque identifier grammar, or too long.
    #[error("a registration token has 1 to {MAX_REGISTRATION_TOKEN_BYTES} letters, digits and the characters - . _ ~")]
    Invalid,
    /// There is one.
    #[error("there is such a token already")]
    Exists,
    /// There is none.
    #[error("there is no such token")]
    NotFound,
    /// Registration is closed: all tokens count as invalid.
    #[error("registration is closed")]
    RegistrationClosed,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Accounts {
    /// Whether a token would be accepted now.
    pub async fn is_registration_token_valid(&self, token: &str) -> Result<bool, RegistrationTokenError> {
        if self.base.config.registration.mode == RegistrationMode::Closed {
            return Err(RegistrationTokenError::RegistrationClosed);
        }
        Ok(self.accepts_registration_token(token).await?)
    }

    /// Makes a token.
    pub async fn create_registration_token(
        &self,
        new: &NewRegistrationToken,
    ) -> Result<RegistrationTokenInfo, RegistrationTokenError> {
        let token = new.token.clone().unwrap_or_else(|| self.base.random.letters(CHOSEN_LETTERS));
        if !is_opaque_identifier(&token) {
            return Err(RegistrationTokenError::Invalid);
        }
        let stored = RegistrationToken {
            uses_allowed: new.uses_allowed,
            completed: 0,
            created_ms: self.base.clock.now_ms(),
            expires_ms: new.expires_ms,
        };
        let (key, row) = (&(token.clone(),), &stored);
        self.base
            .transact(|tx| async move {
                if tx.read(&REGISTRATION_TOKEN, key).await?.is_some() {
                    return Err(RegistrationTokenError::Exists);
                }
                tx.put(&REGISTRATION_TOKEN, key, row);
                Ok(())
            })
            .await?;
        Ok(RegistrationTokenInfo { token, stored, pending: 0 })
    }

    /// The tokens after this one in alphabetical order, at most a page.
    pub async fn list_registration_tokens(&self, after: Option<&str>) -> Result<Vec<RegistrationTokenInfo>, Fault> {
        let range = match after {
            Some(after) => REGISTRATION_TOKEN.behind(&(), &(after.to_owned(),)),
            None => REGISTRATION_TOKEN.under(&()),
        };
        let rows = self.base.view().scan(&REGISTRATION_TOKEN, range, PAGE).await?;
        let infos = rows.into_iter().map(|((token,), stored)| RegistrationTokenInfo {
            pending: self.confirmations.pending(&token, self.base.clock.now_ms()),
            token,
            stored,
        });
        Ok(infos.collect())
    }

    /// Removes a token. Accounts made with it stay.
    pub async fn delete_registration_token(&self, token: &str) -> Result<(), RegistrationTokenError> {
        let key = &(token.to_owned(),);
        self.base
            .transact(|tx| async move {
                tx.read(&REGISTRATION_TOKEN, key).await?.ok_or(RegistrationTokenError::NotFound)?;
                tx.delete(&REGISTRATION_TOKEN, key);
                Ok(())
            })
            .await
    }

    /// Whether a confirmation may show this token.
    pub(super) async fn accepts_registration_token(&self, token: &str) -> Result<bool, Fault> {
        if !is_opaque_identifier(token) {
            return Ok(false);
        }
        let now_ms = self.base.clock.now_ms();
        let stored = self.base.view().get(&REGISTRATION_TOKEN, &(token.to_owned(),)).await?;
        Ok(stored.is_some_and(|stored| has_use(&stored, self.confirmations.pending(token, now_ms), now_ms)))
    }
}

/// Counts one use in the batch; `false` if none is left.
pub(super) async fn spend(tx: &Tx, token: &str, now_ms: u64) -> Result<bool, Fault> {
    let key = (token.to_owned(),);
    let Some(mut stored) = tx.read(&REGISTRATION_TOKEN, &key).await? else { return Ok(false) };
    if !has_use(&stored, 0, now_ms) {
        return Ok(false);
    }
    stored.completed = stored.completed.saturating_add(1);
    tx.put(&REGISTRATION_TOKEN, &key, &stored);
    Ok(true)
}

fn has_use(token: &RegistrationToken, pending: usize, now_ms: u64) -> bool {
    let used = u64::from(token.completed) + pending as u64;
    token.uses_allowed.is_none_or(|allowed| used < u64::from(allowed))
        && token.expires_ms.is_none_or(|expires| now_ms < expires)
}

/// Spec: [opaque identifiers](https://spec.matrix.org/v1.19/appendices/#opaque-identifiers).
fn is_opaque_identifier(token: &str) -> bool {
    (1..=MAX_REGISTRATION_TOKEN_BYTES).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}
