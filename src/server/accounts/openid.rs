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
    keyspace::{OPENID_TOKEN, OPENID_TOKEN_DUE},
    records::accounts::{OpenIdToken, Standing, TokenHash},
    tx::Tx,
};

/// How long a token is valid: as long as in the specification's example.
const LIFETIME_MS: u64 = 60 * 60 * 1000;
/// Expired tokens that the issue of a new one removes: more than it adds, so that they never pile up.
const SWEEP: usize = 10;

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
        let now_ms = self.base.clock.now_ms();
        let expires_ms = now_ms.saturating_add(LIFETIME_MS);
        let stored = &OpenIdToken { user: user.to_owned(), expires_ms };
        self.base
            .transact(|tx| async move {
                sweep(&tx, now_ms).await?;
                tx.put(&OPENID_TOKEN, &(hash,), stored);
                tx.put(&OPENID_TOKEN_DUE, &(expires_ms, hash), &());
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

async fn sweep(tx: &Tx, now_ms: u64) -> Result<(), Fault> {
    let due = OPENID_TOKEN_DUE.before(&(), &(now_ms, [0; 32]));
    for ((expires_ms, hash), ()) in tx.view().scan(&OPENID_TOKEN_DUE, due, SWEEP).await? {
        delete(tx, hash, expires_ms);
    }
    Ok(())
}

fn delete(tx: &Tx, hash: TokenHash, expires_ms: u64) {
    tx.delete(&OPENID_TOKEN, &(hash,));
    tx.delete(&OPENID_TOKEN_DUE, &(expires_ms, hash));
}
