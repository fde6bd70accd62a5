//! Tokens of `m.login.token`: a logged-in client asks for one, and another client logs in with it, once.
//!
//! Spec: [`POST /login/get_token`](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token).

use ruma::{OwnedUserId, UserId};

use crate::{
    Fault,
    accounts::{Accounts, login::LoginError, sessions},
    keyspace::{LOGIN_TOKEN, LOGIN_TOKEN_DUE},
    records::accounts::{LoginToken, TokenHash},
    tx::Tx,
};

/// Expired tokens that the issue of a new one removes: more than it adds, so that they never pile up.
const SWEEP: usize = 10;

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
        let now_ms = self.base.clock.now_ms();
        let expires_ms = now_ms.saturating_add(expires_in_ms);
        let stored = &LoginToken { user: user.to_owned(), expires_ms };
        self.base
            .transact(|tx| async move {
                sweep(&tx, now_ms).await?;
                tx.put(&LOGIN_TOKEN, &(hash,), stored);
                tx.put(&LOGIN_TOKEN_DUE, &(expires_ms, hash), &());
                Ok::<_, Fault>(())
            })
            .await?;
        Ok(IssuedLoginToken { token, expires_in_ms })
    }

    /// Takes a token out of use; its user.
    pub(super) async fn spend_login_token(&self, tx: &Tx, token: &str) -> Result<OwnedUserId, LoginError> {
        let hash = sessions::hash(token).ok_or(LoginError::Forbidden)?;
        let LoginToken { user, expires_ms } = tx.read(&LOGIN_TOKEN, &(hash,)).await?.ok_or(LoginError::Forbidden)?;
        if expires_ms <= self.base.clock.now_ms() {
            return Err(LoginError::Forbidden);
        }
        delete(tx, hash, expires_ms);
        Ok(user)
    }
}

async fn sweep(tx: &Tx, now_ms: u64) -> Result<(), Fault> {
    let due = LOGIN_TOKEN_DUE.before(&(), &(now_ms, [0; 32]));
    for ((expires_ms, hash), ()) in tx.view().scan(&LOGIN_TOKEN_DUE, due, SWEEP).await? {
        delete(tx, hash, expires_ms);
    }
    Ok(())
}

fn delete(tx: &Tx, hash: TokenHash, expires_ms: u64) {
    tx.delete(&LOGIN_TOKEN, &(hash,));
    tx.delete(&LOGIN_TOKEN_DUE, &(expires_ms, hash));
}
