//! What a server administrator does to other accounts through the client-server API: suspend, lock, look.
//!
//! Whether the caller is an administrator is asked before anything is looked up, so that nobody else learns which
//! accounts there are. Administrators are beyond each other's reach, and beyond their own: the operator's command line
//! is not ([`Accounts::set_suspended`], [`Accounts::set_locked`]).
//!
//! Spec: [account moderation](https://spec.matrix.org/v1.19/client-server-api/#account-moderation),
//! [server administration](https://spec.matrix.org/v1.19/client-server-api/#server-administration).

use ruma::UserId;

use crate::{
    Fault,
    accounts::Accounts,
    keyspace::ACCOUNT,
    records::accounts::{Account, Standing},
};

/// Why an account is neither shown to an administrator nor changed.
#[derive(Debug, thiserror::Error)]
pub enum ModerationError {
    /// The user is another server's.
    #[error("the user does not belong to this server")]
    NotLocal,
    /// There is no such account, or it is deactivated.
    #[error("there is no such user")]
    NotFound,
    /// Administrators do not suspend or lock themselves.
    #[error("this is your own account")]
    OwnAccount,
    /// The account is another administrator's.
    #[error("the user is an administrator")]
    Administrator,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Accounts {
    /// An account as an administrator may see it: one's own or an ordinary user's.
    pub async fn moderated(&self, admin: &UserId, target: &UserId) -> Result<Account, ModerationError> {
        self.must_be_local(target)?;
        let account = self.find(&self.base.view(), target).await?;
        within_reach(admin, target, account)
    }

    /// An administrator suspends an account, or lifts it.
    pub async fn suspend(&self, admin: &UserId, target: &UserId, suspended: bool) -> Result<(), ModerationError> {
        self.moderate(admin, target, |account| account.suspended = suspended).await
    }

    /// An administrator locks an account, or unlocks it.
    pub async fn lock(&self, admin: &UserId, target: &UserId, locked: bool) -> Result<(), ModerationError> {
        self.moderate(admin, target, |account| account.locked = locked).await
    }

    async fn moderate(
        &self,
        admin: &UserId,
        target: &UserId,
        change: impl Fn(&mut Account),
    ) -> Result<(), ModerationError> {
        self.must_be_local(target)?;
        if admin == target {
            return Err(ModerationError::OwnAccount);
        }
        let (key, change) = (&(target.to_owned(),), &change);
        self.base
            .transact(|tx| async move {
                let mut account = within_reach(admin, target, tx.read(&ACCOUNT, key).await?)?;
                change(&mut account);
                tx.put(&ACCOUNT, key, &account);
                Ok(self.devices.tell(&tx, target).await?)
            })
            .await
    }

    fn must_be_local(&self, target: &UserId) -> Result<(), ModerationError> {
        if target.server_name() == self.base.name { Ok(()) } else { Err(ModerationError::NotLocal) }
    }
}

fn within_reach(admin: &UserId, target: &UserId, account: Option<Account>) -> Result<Account, ModerationError> {
    let account = account.filter(|account| account.standing == Standing::Active).ok_or(ModerationError::NotFound)?;
    if account.admin && admin != target { Err(ModerationError::Administrator) } else { Ok(account) }
}
