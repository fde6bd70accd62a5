//! Deactivation: an account ends, and its name is never given again.
//!
//! It has three steps, because leaving rooms takes as many batches as there are rooms. The first batch marks the
//! account and takes away password, devices and whatever else is not in a room: from then on nobody can log in. Then a
//! workflow leaves the rooms. The last batch closes the journal row. A start resumes what [`Accounts::unfinished`]
//! returns; every step may be repeated.
//!
//! Spec: [account deactivation](https://spec.matrix.org/v1.19/client-server-api/#account-deactivation).

use ruma::{OwnedUserId, UserId};

use crate::{
    Fault, account_data,
    accounts::Accounts,
    filters,
    keyspace::{ACCOUNT, DEACTIVATION, PASSWORD},
    profiles,
    records::accounts::{Deactivation, Standing},
};

/// Unfinished deactivations in one page.
const PAGE: usize = 100;

/// A deactivation whose rooms are still to be left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unfinished {
    /// Whose.
    pub user: OwnedUserId,
    /// Whether erasure was asked for.
    pub erase: bool,
}

/// Why an account is not deactivated.
#[derive(Debug, thiserror::Error)]
pub enum DeactivateError {
    /// The operator does not let users do it.
    #[error("accounts cannot be deactivated by their users on this server")]
    NotOffered,
    /// There is no such account.
    #[error("there is no such account")]
    NotFound,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Accounts {
    /// Begins a deactivation: nobody can log in any more, and everything outside rooms is gone. `None` if the account
    /// was deactivated before; then there is nothing left to do.
    pub async fn begin_deactivation(&self, user: &UserId, erase: bool) -> Result<Option<Unfinished>, DeactivateError> {
        let key = &(user.to_owned(),);
        self.base
            .transact(|tx| async move {
                let mut account = tx.read(&ACCOUNT, key).await?.ok_or(DeactivateError::NotFound)?;
                // Who asks for erasure after the deactivation (an operator) gets it as well.
                account.erased |= erase;
                let was_over = account.standing == Standing::Deactivated;
                if !was_over {
                    account.standing = Standing::Deactivating;
                    let began_ms = self.base.clock.now_ms();
                    tx.put(&DEACTIVATION, key, &Deactivation { erase: account.erased, began_ms });
                }
                account.admin = false;
                tx.put(&ACCOUNT, key, &account);
                tx.delete(&PASSWORD, key);
                self.devices.remove_user(&tx, user).await?;
                profiles::forget(&tx, user).await?;
                filters::forget(&tx, user);
                if account.erased {
                    account_data::forget(&tx, user);
                }
                Ok((!was_over).then(|| Unfinished { user: user.to_owned(), erase: account.erased }))
            })
            .await
    }

    /// Ends a deactivation, after the rooms have been left.
    pub async fn finish_deactivation(&self, user: &UserId) -> Result<(), Fault> {
        let key = &(user.to_owned(),);
        self.base
            .transact(|tx| async move {
                let Some(mut account) = tx.read(&ACCOUNT, key).await? else { return Ok(()) };
                if account.standing == Standing::Deactivating {
                    account.standing = Standing::Deactivated;
                    tx.put(&ACCOUNT, key, &account);
                    tx.delete(&DEACTIVATION, key);
                }
                Ok(())
            })
            .await
    }

    /// Deactivations that were interrupted, at most a page, behind that of a user: to be resumed and finished.
    pub async fn unfinished(&self, after: Option<&UserId>) -> Result<Vec<Unfinished>, Fault> {
        let range = match after {
            Some(after) => DEACTIVATION.behind(&(), &(after.to_owned(),)),
            None => DEACTIVATION.under(&()),
        };
        let rows = self.base.view().scan(&DEACTIVATION, range, PAGE).await?;
        Ok(rows.into_iter().map(|((user,), row)| Unfinished { user, erase: row.erase }).collect())
    }
}
