//! Setting a password: by its user, or by an operator.
//!
//! Spec: [password management](https://spec.matrix.org/v1.19/client-server-api/#password-management).

use ruma::{OwnedDeviceId, UserId};

use crate::{
    Fault,
    accounts::{Accounts, UnfitPassword},
    keyspace::{ACCOUNT, PASSWORD},
    records::accounts::{Password, Standing},
};

/// A change by the user, who has confirmed it.
#[derive(Clone)]
pub struct ChangePassword<'a> {
    /// Whose.
    pub user: &'a UserId,
    /// The device that asks, if any: it stays logged in.
    pub device: Option<OwnedDeviceId>,
    /// The new password.
    pub new_password: &'a str,
    /// Whether all other devices are logged out.
    pub logout_devices: bool,
}

/// Why a password is not set.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The operator does not allow it.
    #[error("passwords cannot be changed on this server")]
    NotOffered,
    /// There is no such account.
    #[error("there is no such account")]
    NotFound,
    /// It is deactivated.
    #[error("the account has been deactivated")]
    Deactivated,
    /// The new one does not do.
    #[error(transparent)]
    UnfitPassword(#[from] UnfitPassword),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Accounts {
    /// Whether a password would be accepted: to be asked before the confirmation.
    pub fn check_new_password(&self, password: &str) -> Result<(), UnfitPassword> {
        super::passwords::check(password, &self.base.config.accounts)
    }

    /// Changes a password and, in the same batch, logs out the other devices.
    pub async fn change_password(&self, change: ChangePassword<'_>) -> Result<(), ChangePasswordError> {
        if !self.base.config.accounts.change_password {
            return Err(ChangePasswordError::NotOffered);
        }
        self.set_password(&change).await
    }

    /// Sets a password for a user, on an operator's word.
    pub async fn reset_password(
        &self,
        user: &UserId,
        new_password: &str,
        logout_devices: bool,
    ) -> Result<(), ChangePasswordError> {
        self.set_password(&ChangePassword { user, device: None, new_password, logout_devices }).await?;
        // Whoever waits for the end of a pause because of the old one need not.
        self.backoff.succeeded(user);
        Ok(())
    }

    async fn set_password(&self, change: &ChangePassword<'_>) -> Result<(), ChangePasswordError> {
        let key = &(change.user.to_owned(),);
        let hash = self.hash_new::<ChangePasswordError>(change.new_password).await?;
        let password = &Password { hash, set_ms: self.base.clock.now_ms() };
        self.base
            .transact(|tx| async move {
                let account = tx.read(&ACCOUNT, key).await?.ok_or(ChangePasswordError::NotFound)?;
                if account.standing != Standing::Active {
                    return Err(ChangePasswordError::Deactivated);
                }
                tx.put(&PASSWORD, key, password);
                if change.logout_devices {
                    let mut devices = self.devices.ids(tx.view(), change.user).await?;
                    devices.retain(|device| Some(device) != change.device.as_ref());
                    self.devices.remove(&tx, change.user, &devices).await?;
                }
                Ok(())
            })
            .await
    }
}
