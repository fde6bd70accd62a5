//! `POST /login`: from a proof to a session.
//!
//! Spec: [login](https://spec.matrix.org/v1.19/client-server-api/#legacy-login). Third-party identifiers are none of
//! ours yet; whoever names one is told the same as after a wrong password, as the specification asks.

use ruma::{OwnedUserId, api::client::uiaa::UserIdentifier};

use crate::{
    Fault,
    accounts::{
        Accounts, names,
        sessions::{self, LoggedIn, NewSession},
    },
    devices::OpenDeviceError,
    keyspace::{ACCOUNT, PASSWORD},
    records::accounts::{Account, Password, Standing},
    tx::Tx,
};

/// How somebody proves who they are.
#[derive(Clone, Copy)]
pub enum Credentials<'a> {
    /// `m.login.password`: a user id or a localpart, and the password.
    Password {
        /// Who.
        user: &'a str,
        /// The proof.
        password: &'a str,
    },
    /// `m.login.token`.
    Token(&'a str),
}

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The operator does not allow this way to log in.
    #[error("this way to log in is not offered here")]
    NotOffered,
    /// The user is unknown, or the password or token is wrong.
    #[error("the user name or the password is wrong, or the token is not valid")]
    Forbidden,
    /// Too many failures; the next attempt counts after this time.
    #[error("too many failed attempts: wait {retry_after_ms} ms")]
    LimitExceeded {
        /// In milliseconds.
        retry_after_ms: u64,
    },
    /// The account is gone.
    #[error("the account has been deactivated")]
    Deactivated,
    /// An operator locked the account.
    #[error("the account has been locked")]
    Locked,
    /// About the device.
    #[error(transparent)]
    Device(#[from] OpenDeviceError),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A password that was right, and what must not have changed when it is acted upon.
pub(super) struct Verified {
    pub(super) user: OwnedUserId,
    password: Password,
}

impl Accounts {
    /// Logs in. The device is given a new session; the tokens it had are revoked.
    pub async fn login(&self, credentials: Credentials<'_>, new: &NewSession) -> Result<LoggedIn, LoginError> {
        match credentials {
            Credentials::Password { user, password } => {
                if !self.base.config.accounts.password_login {
                    return Err(LoginError::NotOffered);
                }
                let verified = self.verify(user, password).await?;
                self.begin_verified(&verified, new).await
            }
            Credentials::Token(token) => {
                if !self.base.config.accounts.token_login {
                    return Err(LoginError::NotOffered);
                }
                let minted = &self.mint(new.refreshable);
                let transacted = self.base.transact(|tx| async move {
                    let user = self.spend_login_token(&tx, token).await?;
                    let account = tx.read(&ACCOUNT, &(user.clone(),)).await?.ok_or(LoginError::Forbidden)?;
                    may_log_in(&account)?;
                    let device = self.devices.open(&tx, &user, new).await?;
                    Ok(sessions::begin(&tx, user, device, minted).await?)
                });
                transacted.await
            }
        }
    }

    /// A session for who showed the right password.
    pub(super) async fn begin_verified(&self, verified: &Verified, new: &NewSession) -> Result<LoggedIn, LoginError> {
        let minted = &self.mint(new.refreshable);
        let transacted = self.base.transact(|tx| async move {
            self.still_verified(&tx, verified).await?;
            let device = self.devices.open(&tx, &verified.user, new).await?;
            Ok(sessions::begin(&tx, verified.user.clone(), device, minted).await?)
        });
        transacted.await
    }

    /// Whose password it is. The same work is done for users that do not exist.
    pub(super) async fn verify(&self, name: &str, password: &str) -> Result<Verified, LoginError> {
        let Some(user) = names::local_user_id(name, &self.base.name) else {
            self.passwords.verify(password, None).await?;
            return Err(LoginError::Forbidden);
        };
        let attempt = self.backoff.attempt(&user, self.base.clock.now_ms());
        attempt.map_err(|retry_after_ms| LoginError::LimitExceeded { retry_after_ms })?;
        let view = self.base.view();
        let account = view.get(&ACCOUNT, &(user.clone(),)).await?;
        let stored = view.get(&PASSWORD, &(user.clone(),)).await?;
        let hash = stored.as_ref().map(|password| password.hash.as_str());
        let right = self.passwords.verify(password, hash).await?;
        if let Some(account) = &account
            && account.standing != Standing::Active
        {
            // The password is gone with the account, so there is nothing to prove; the name is public anyway.
            return Err(LoginError::Deactivated);
        }
        let (true, Some(account), Some(password)) = (right, account, stored) else {
            return Err(LoginError::Forbidden);
        };
        self.backoff.succeeded(&user);
        may_log_in(&account)?;
        Ok(Verified { user, password })
    }

    /// The password has not been changed since it was verified, nor the account deactivated.
    async fn still_verified(&self, tx: &Tx, verified: &Verified) -> Result<(), LoginError> {
        let key = (verified.user.clone(),);
        let account = tx.read(&ACCOUNT, &key).await?.ok_or(LoginError::Forbidden)?;
        may_log_in(&account)?;
        let password = tx.read(&PASSWORD, &key).await?;
        password.filter(|password| *password == verified.password).map(|_| ()).ok_or(LoginError::Forbidden)
    }
}

/// The user that an identifier names, as [`Credentials::Password`] wants it; `None` for third-party identifiers.
pub fn named_user(identifier: &UserIdentifier) -> Option<&str> {
    if let UserIdentifier::Matrix(matrix) = identifier { Some(&matrix.user) } else { None }
}

/// Whether an identifier is one of a third party, of which nobody here has any.
pub fn is_third_party(identifier: &UserIdentifier) -> bool {
    matches!(identifier.identifier_type(), "m.id.thirdparty" | "m.id.phone")
}

fn may_log_in(account: &Account) -> Result<(), LoginError> {
    if account.standing != Standing::Active {
        return Err(LoginError::Deactivated);
    }
    if account.locked {
        return Err(LoginError::Locked);
    }
    Ok(())
}
