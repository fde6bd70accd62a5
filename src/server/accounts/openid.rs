//! OpenID tokens: a user shows one to another service, which asks this server whose it is.
//!
//! Such a token is good for nothing else. Stored are its hash, its user and its end.
//!
//! Spec: [OpenID](https://spec.matrix.org/v1.19/client-server-api/#openid); the question comes by
//! [federation](https://spec.matrix.org/v1.19/server-server-api/#openid): [`Accounts::openid_user`].

use ruma::{OwnedUserId, UserId};

use crate::{
    Fault,
    accounts::{Accounts, sessions},
    expiry,
    keyspace::OPENID_TOKEN,
    records::accounts::{OpenIdToken, Standing},
};

/// How long a token is valid: as long as in the specification's example.
const LIFETIME_MS: u64 = 60 * 60 * 1000;

/// A token in clear, to be told once.
#[derive(Clone)]
pub struct IssuedOpenIdToken {
    /// The token.
    pub token: String,
    /// For how long it is valid.
    pub expires_in_ms: u64,
}

impl Accounts {
    /// A token by which another service learns who this user is.
    pub async fn issue_openid_token(&self, user: &UserId) -> Result<IssuedOpenIdToken, Fault> {
        let token = sessions::secret("dpo", &self.base.random);
        let hash = sessions::hash(&token).ok_or_else(|| Fault::Bug("our own token is too long".to_owned()))?;
        let expires_ms = self.base.clock.now_ms().saturating_add(LIFETIME_MS);
        let stored = &OpenIdToken { user: user.to_owned(), expires_ms };
        self.base
            .transact(|tx| async move {
                tx.put(&OPENID_TOKEN, &(hash,), stored);
                expiry::put(&tx, &OPENID_TOKEN, &(hash,), stored, expires_ms);
                Ok::<_, Fault>(())
            })
            .await?;
        Ok(IssuedOpenIdToken { token, expires_in_ms: LIFETIME_MS })
    }

    /// Whose token it is, while it is valid and its user may use the server.
    pub async fn openid_user(&self, token: &str) -> Result<Option<OwnedUserId>, Fault> {
        let Some(hash) = sessions::hash(token) else { return Ok(None) };
        let view = self.base.view();
        let Some(OpenIdToken { user, expires_ms }) = view.get(&OPENID_TOKEN, &(hash,)).await? else { return Ok(None) };
        if expires_ms <= self.base.clock.now_ms() {
            return Ok(None);
        }
        let account = self.find(&view, &user).await?;
        let usable = account.is_some_and(|account| account.standing == Standing::Active && !account.locked);
        Ok(usable.then_some(user))
    }
}
