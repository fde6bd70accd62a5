//! Accounts: how they are made, how their users prove who they are, and how they end.
//!
//! - [`provision`]: the one function in which all accounts are born;
//! - [`login`], [`sessions`], [`login_tokens`]: from a proof to tokens, and from a token to the caller;
//! - [`openid`]: tokens that name a user to other services;
//! - [`register`], [`registration_tokens`], [`uia`], [`fallback`]: user-interactive authentication;
//! - [`password`], [`deactivate`], [`admin`], [`moderation`]: what changes an account later.
//!
//! Passwords are stored hashed, tokens only as SHA-256. What a request reads on its way in is two rows.
//!
//! Spec: [client authentication](https://spec.matrix.org/v1.19/client-server-api/#client-authentication).

use std::sync::Arc;

use ruma::UserId;

use crate::{
    Base, Fault,
    devices::Devices,
    keyspace::ACCOUNT,
    records::accounts::{Account, Standing},
    tx::View,
};

pub mod admin;
mod backoff;
pub mod deactivate;
pub mod fallback;
mod flows;
pub mod login;
pub mod login_tokens;
pub mod moderation;
pub mod names;
pub mod openid;
pub mod password;
mod passwords;
pub mod provision;
pub mod register;
pub mod registration_tokens;
pub mod sessions;
#[cfg(test)]
pub(crate) mod tests;
pub mod uia;

pub use admin::{AccountInfo, AdminError};
pub use deactivate::{DeactivateError, Unfinished};
pub use login::{Credentials, LoginError};
pub use login_tokens::IssuedLoginToken;
pub use moderation::ModerationError;
pub use names::InvalidName;
pub use openid::IssuedOpenIdToken;
pub use password::{ChangePassword, ChangePasswordError};
pub use passwords::UnfitPassword;
pub use provision::{Door, NewAccount, ProvisionError};
pub use register::{Register, RegisterError, Registered};
pub use registration_tokens::{NewRegistrationToken, RegistrationTokenError, RegistrationTokenInfo};
pub use sessions::{AuthenticateError, Caller, LoggedIn, NewSession, RefreshError, Refreshed};
pub use uia::{Confirmation, Fingerprint, Needed, Outcome, Proof, Purpose, StageError, UiaError};

/// The accounts of this server.
pub struct Accounts {
    base: Arc<Base>,
    devices: Arc<Devices>,
    passwords: passwords::Passwords,
    backoff: backoff::Backoff,
    confirmations: uia::Confirmations,
    /// Until when an unknown token may be one that a restore has lost, in milliseconds since 1970.
    spares_until_ms: u64,
}

impl Accounts {
    /// Over this base. `devices` ends the devices of who logs out.
    pub fn new(base: Arc<Base>, devices: Arc<Devices>) -> Self {
        let lifetime = base.config.accounts.confirmation_lifetime;
        let confirmations = uia::Confirmations::new(lifetime, base.config.limits.confirmations);
        let passwords = passwords::Passwords::new(base.random.clone());
        Self { base, devices, passwords, backoff: backoff::Backoff::default(), confirmations, spares_until_ms: 0 }
    }

    /// Until this time (in milliseconds since 1970) a token that nobody knows counts as lost by a restore.
    #[must_use]
    pub fn sparing_until(self, spares_until_ms: u64) -> Self {
        Self { spares_until_ms, ..self }
    }

    /// An account, whatever its standing.
    pub async fn find(&self, view: &View, user: &UserId) -> Result<Option<Account>, Fault> {
        view.get(&ACCOUNT, &(user.to_owned(),)).await
    }

    /// Whether this is a user of this server who has not gone: who may be invited, or shown.
    pub async fn is_active(&self, view: &View, user: &UserId) -> Result<bool, Fault> {
        Ok(self.find(view, user).await?.is_some_and(|account| account.standing == Standing::Active))
    }
}
