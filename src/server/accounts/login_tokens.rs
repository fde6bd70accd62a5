//! Tokens of `m.login.token`: a logged-in client asks for one, and another client logs in with it, once.
//!
//! Spec: [`POST /login/get_token`](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token).

use ruma::{OwnedUserId, UserId};

use crate::{
    Fault,
    accounts::{Accounts, login::LoginError, sessions},
    expiry,
    keyspace::{LOGIN_TOKEN, PASSWORD},
    records::accounts::LoginToken,
    tx::Tx,
};

/// A token in clear, to be told once.
#[derive(Clone)]
pub struct IssuedLoginToken {
    /// The token.
    pub token: String,
    /// For how long it is valid.
    pub expires_in_ms: u64,
}

impl Accounts {
    /// A token that logs in this user once. The caller has confirmed [`super::Purpose::LoginToken`].
    pub async fn issue_login_token(&self, user: &UserId) -> Result<IssuedLoginToken, LoginError> {
        if !self.base.config.accounts.token_login {
            return Err(LoginError::NotOffered);
        }
        let token = sessions::secret("dpl", &self.base.random);
        let hash = sessions::hash(&token).ok_or_else(|| Fault::Bug("our own token is too long".to_owned()))?;
        let expires_in_ms =
            u64::try_from(self.base.config.accounts.token_login_lifetime.as_millis()).unwrap_or(u64::MAX);
        let issued_ms = self.base.clock.now_ms();
        let expires_ms = issued_ms.saturating_add(expires_in_ms);
        let stored = &LoginToken { user: user.to_owned(), expires_ms, issued_ms };
        self.base
            .transact(|tx| async move {
                tx.put(&LOGIN_TOKEN, &(hash,), stored);
                expiry::put(&tx, &LOGIN_TOKEN, &(hash,), stored, expires_ms);
                Ok::<_, Fault>(())
            })
            .await?;
        Ok(IssuedLoginToken { token, expires_in_ms })
    }

    /// Takes a token out of use; its user. One from before the password was changed is none any more.
    pub(super) async fn spend_login_token(&self, tx: &Tx, token: &str) -> Result<OwnedUserId, LoginError> {
        let hash = sessions::hash(token).ok_or(LoginError::Forbidden)?;
        let stored = tx.read(&LOGIN_TOKEN, &(hash,)).await?.ok_or(LoginError::Forbidden)?;
        let LoginToken { user, expires_ms, issued_ms } = stored;
        let password = tx.read(&PASSWORD, &(user.clone(),)).await?;
        let is_replaced = password.is_some_and(|password| issued_ms < password.set_ms);
        if is_replaced || expires_ms <= self.base.clock.now_ms() {
            return Err(LoginError::Forbidden);
        }
        tx.delete(&LOGIN_TOKEN, &(hash,));
        Ok(user)
    }
}
