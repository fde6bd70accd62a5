//! What an operator sees and changes of accounts.

use ruma::{OwnedUserId, UserId};

use crate::{
    Fault,
    accounts::Accounts,
    keyspace::ACCOUNT,
    records::accounts::{Account, Standing},
};

/// The most accounts in one page of a list.
pub const MAX_ACCOUNTS_PER_PAGE: usize = 1000;

/// An account as an operator sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountInfo {
    /// The user.
    pub user: OwnedUserId,
    /// What is stored.
    pub account: Account,
}

/// Why an account is not changed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// There is no such account.
    #[error("there is no such account")]
    NotFound,
    /// It is deactivated.
    #[error("the account has been deactivated")]
    Deactivated,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Accounts {
    /// The accounts after this one in alphabetical order, deactivated ones included, at most `limit`.
    pub async fn list(&self, after: Option<&UserId>, limit: usize) -> Result<Vec<AccountInfo>, Fault> {
        let range = match after {
            Some(after) => ACCOUNT.behind(&(), &(after.to_owned(),)),
            None => ACCOUNT.under(&()),
        };
        let rows = self.base.view().scan(&ACCOUNT, range, limit.min(MAX_ACCOUNTS_PER_PAGE)).await?;
        Ok(rows.into_iter().map(|((user,), account)| AccountInfo { user, account }).collect())
    }

    /// One account.
    pub async fn show(&self, user: &UserId) -> Result<AccountInfo, AdminError> {
        let account = self.find(&self.base.view(), user).await?.ok_or(AdminError::NotFound)?;
        Ok(AccountInfo { user: user.to_owned(), account })
    }

    /// Lets an account use the admin API, or no longer.
    pub async fn set_admin(&self, user: &UserId, admin: bool) -> Result<(), AdminError> {
        self.change(user, |account| account.admin = admin).await
    }

    /// Locks an account, or unlocks it.
    pub async fn set_locked(&self, user: &UserId, locked: bool) -> Result<(), AdminError> {
        self.change(user, |account| account.locked = locked).await
    }

    /// Suspends an account, or lifts it.
    pub async fn set_suspended(&self, user: &UserId, suspended: bool) -> Result<(), AdminError> {
        self.change(user, |account| account.suspended = suspended).await
    }

    async fn change(&self, user: &UserId, change: impl Fn(&mut Account)) -> Result<(), AdminError> {
        let (key, change) = (&(user.to_owned(),), &change);
        self.base
            .transact(|tx| async move {
                let mut account = tx.read(&ACCOUNT, key).await?.ok_or(AdminError::NotFound)?;
                if account.standing != Standing::Active {
                    return Err(AdminError::Deactivated);
                }
                change(&mut account);
                tx.put(&ACCOUNT, key, &account);
                Ok(self.devices.tell(&tx, user).await?)
            })
            .await
    }
}
