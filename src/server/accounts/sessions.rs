//! Sessions: the tokens of a device, and from a token to the caller.
//!
//! A session has one pair of tokens in use. A refresh makes a second pair beside it; the first use of either of the new
//! tokens revokes the refresh token it was made from, so that a client which never got the answer can ask again. Whoever
//! asked several times, at once perhaps, may use the tokens of any of the answers: the pair used first stays. The access
//! tokens of the others, and the one that was replaced, stay valid for requests that are still under way: until they
//! expire, or the tokens of the refresh after that are used, whichever is first. The refresh tokens
//! replaced last are still known, so that a client which comes with one (another process of it was faster) can be told
//! from one whose session has ended, and keeps its data.
//!
//! Clients that cannot refresh get an access token that does not expire.
//!
//! Spec: [refreshing access tokens](https://spec.matrix.org/v1.19/client-server-api/#refreshing-access-tokens),
//! [soft logout](https://spec.matrix.org/v1.19/client-server-api/#soft-logout).

use depesche_rules::bounds::MAX_TOKEN_BYTES;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use sha2::{Digest, Sha256};

use crate::{
    Fault,
    accounts::Accounts,
    clock::Random,
    keyspace::{ACCESS_TOKEN, ACCOUNT, REFRESH_TOKEN, SESSION},
    records::accounts::{AccessToken, Account, Pair, RefreshToken, Session, Standing, TokenHash},
    tx::Tx,
};

/// Replaced refresh tokens that are still known. Two processes of one client are some refreshes apart at most.
const REPLACED: usize = 8;
/// Pairs of one refresh token that can be used, beside the last. Ours.
const DISPLACED: usize = 4;

/// How access tokens and refresh tokens begin.
const ACCESS: &str = "dpa";
const REFRESH: &str = "dpr";
/// The characters of a secret.
const SECRET: usize = 32;

/// What a client asks of its new session.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    /// The device to log in; a new one if absent or unknown.
    pub device: Option<OwnedDeviceId>,
    /// What a new device is called.
    pub display_name: Option<String>,
    /// Whether the client can refresh its access token.
    pub refreshable: bool,
}

/// A session that has begun.
#[derive(Clone)]
pub struct LoggedIn {
    /// The user.
    pub user: OwnedUserId,
    /// The device.
    pub device: OwnedDeviceId,
    /// Its tokens.
    pub tokens: Tokens,
}

/// Tokens in clear, to be told once and never stored. They are not printed either.
#[derive(Clone)]
pub struct Tokens {
    /// Admits requests.
    pub access: String,
    /// Makes new tokens.
    pub refresh: Option<String>,
    /// For how long the access token is valid; `None` if it does not expire.
    pub expires_in_ms: Option<u64>,
}

/// What a refresh gives.
pub type Refreshed = LoggedIn;

/// Who makes a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The user.
    pub user: OwnedUserId,
    /// The device.
    pub device: OwnedDeviceId,
    /// May use the admin API.
    pub admin: bool,
    /// May do nothing but log out.
    pub locked: bool,
    /// May not write.
    pub suspended: bool,
}

/// Why a token admits nobody.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// It never did, or the session has ended.
    #[error("the access token is not known")]
    Unknown,
    /// Nobody knows it, and it may be one that a restore has lost: the device goes on after another login (soft logout).
    #[error("the access token is not known; a restore may have lost it")]
    Lost,
    /// It has expired; the session goes on after a refresh or another login of the same device (soft logout).
    #[error("the access token has expired")]
    Expired,
    /// The server could not tell.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a refresh token gives no tokens.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It never did, or the session has ended.
    #[error("the refresh token is not known")]
    Unknown,
    /// Nobody knows it, and it may be one that a restore has lost: the device goes on after another login (soft logout).
    #[error("the refresh token is not known; a restore may have lost it")]
    Lost,
    /// Another took its place, and the session goes on (soft logout).
    #[error("the refresh token has been replaced")]
    Replaced,
    /// The account is locked; the token stays valid.
    #[error("the account is locked")]
    Locked,
    /// The server could not tell.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A pair in clear and as stored.
pub(super) struct Minted {
    tokens: Tokens,
    pair: Pair,
    expires_ms: Option<u64>,
}

impl Accounts {
    /// Whom an access token admits. Reads two rows; the first use of refreshed tokens writes.
    pub async fn authenticate(&self, token: &str) -> Result<Caller, AuthenticateError> {
        self.admit(token, false).await
    }

    /// Whom an access token admits or did until it expired: who wants to log out need not refresh it first.
    pub async fn authenticate_for_logout(&self, token: &str) -> Result<Caller, AuthenticateError> {
        self.admit(token, true).await
    }

    async fn admit(&self, token: &str, even_expired: bool) -> Result<Caller, AuthenticateError> {
        let hash = hash(token).ok_or(AuthenticateError::Unknown)?;
        let view = self.base.view();
        let Some(token) = view.get(&ACCESS_TOKEN, &(hash,)).await? else {
            let lost = self.may_be_lost(ACCESS, token);
            return Err(if lost { AuthenticateError::Lost } else { AuthenticateError::Unknown });
        };
        let account = view.get(&ACCOUNT, &(token.user.clone(),)).await?;
        let account = account.filter(in_use).ok_or(AuthenticateError::Unknown)?;
        if !even_expired && token.expires_ms.is_some_and(|expires| expires <= self.base.clock.now_ms()) {
            return Err(AuthenticateError::Expired);
        }
        if token.fresh {
            self.first_use(hash, &token).await?;
        }
        let Account { admin, locked, suspended, .. } = account;
        Ok(Caller { user: token.user, device: token.device, admin, locked, suspended })
    }

    /// Whom a device that was admitted a while ago stands for now, if it is still logged in. For requests that waited.
    pub async fn again(&self, user: &UserId, device: &DeviceId) -> Result<Caller, AuthenticateError> {
        let view = self.base.view();
        let key = (user.to_owned(), device.to_owned());
        view.get(&SESSION, &key).await?.ok_or(AuthenticateError::Unknown)?;
        let account = view.get(&ACCOUNT, &(key.0.clone(),)).await?;
        let account = account.filter(in_use).ok_or(AuthenticateError::Unknown)?;
        let Account { admin, locked, suspended, .. } = account;
        Ok(Caller { user: key.0, device: key.1, admin, locked, suspended })
    }

    /// New tokens for a refresh token.
    pub async fn refresh(&self, token: &str) -> Result<Refreshed, RefreshError> {
        let hash = hash(token).ok_or(RefreshError::Unknown)?;
        let unknown = || if self.may_be_lost(REFRESH, token) { RefreshError::Lost } else { RefreshError::Unknown };
        let minted = &self.mint(true);
        let (user, device) = self
            .base
            .transact(|tx| async move {
                let RefreshToken { user, device } = tx.read(&REFRESH_TOKEN, &(hash,)).await?.ok_or_else(unknown)?;
                let account = tx.read(&ACCOUNT, &(user.clone(),)).await?;
                let account = account.filter(in_use).ok_or(RefreshError::Unknown)?;
                if account.locked {
                    return Err(RefreshError::Locked);
                }
                let key = (user, device);
                let mut session = tx.read(&SESSION, &key).await?.ok_or(RefreshError::Unknown)?;
                // A refresh token of the next pair counts as its first use.
                if choose(&mut session, |pair| pair.refresh == Some(hash)) {
                    advance(&tx, &mut session);
                }
                if session.current.refresh != Some(hash) {
                    return Err(RefreshError::Replaced);
                }
                // The answer to an earlier refresh got lost, or is on its way.
                if let Some(earlier) = session.next.take() {
                    displace(&tx, &mut session, earlier);
                }
                write_pair(&tx, &key.0, &key.1, minted, true);
                session.next = Some(minted.pair);
                tx.put(&SESSION, &key, &session);
                Ok(key)
            })
            .await?;
        Ok(LoggedIn { user, device, tokens: minted.tokens.clone() })
    }

    /// The client has the tokens of a refresh: those before go.
    async fn first_use(&self, access: TokenHash, token: &AccessToken) -> Result<(), Fault> {
        let key = &(token.user.clone(), token.device.clone());
        self.base
            .transact(|tx| async move {
                let Some(mut session) = tx.read(&SESSION, key).await? else { return Ok(()) };
                let used = AccessToken { fresh: false, ..token.clone() };
                // Another request with the same token may have been first.
                if choose(&mut session, |pair| pair.access == access) {
                    advance(&tx, &mut session);
                    tx.put(&ACCESS_TOKEN, &(access,), &used);
                    tx.put(&SESSION, key, &session);
                } else if session.displaced.iter().any(|pair| pair.access == access) {
                    // Another pair was: this token ends as it would, and need not be asked about again.
                    tx.put(&ACCESS_TOKEN, &(access,), &used);
                }
                Ok(())
            })
            .await
    }

    /// Whether a token that is not stored may have been made by the original of this restored copy.
    fn may_be_lost(&self, prefix: &str, token: &str) -> bool {
        self.base.clock.now_ms() < self.spares_until_ms && is_one(prefix, token)
    }

    /// New tokens, not yet valid.
    pub(super) fn mint(&self, refreshable: bool) -> Minted {
        let access = secret(ACCESS, &self.base.random);
        let refresh = refreshable.then(|| secret(REFRESH, &self.base.random));
        let lifetime = u64::try_from(self.base.config.accounts.access_token_lifetime.as_millis()).unwrap_or(u64::MAX);
        let expires_in_ms = refreshable.then_some(lifetime);
        Minted {
            pair: Pair { access: digest(&access), refresh: refresh.as_deref().map(digest) },
            expires_ms: expires_in_ms.map(|lifetime| self.base.clock.now_ms().saturating_add(lifetime)),
            tokens: Tokens { access, refresh, expires_in_ms },
        }
    }
}

/// Gives the device these tokens; those it had before are revoked.
pub(super) async fn begin(
    tx: &Tx,
    user: OwnedUserId,
    device: OwnedDeviceId,
    minted: &Minted,
) -> Result<LoggedIn, Fault> {
    end(tx, &user, &device).await?;
    write_pair(tx, &user, &device, minted, false);
    let session =
        Session { current: minted.pair, next: None, previous: None, replaced: Vec::new(), displaced: Vec::new() };
    let key = (user, device);
    tx.put(&SESSION, &key, &session);
    Ok(LoggedIn { user: key.0, device: key.1, tokens: minted.tokens.clone() })
}

/// Revokes all tokens of a device.
pub(crate) async fn end(tx: &Tx, user: &UserId, device: &DeviceId) -> Result<(), Fault> {
    let key = (user.to_owned(), device.to_owned());
    let Some(session) = tx.read(&SESSION, &key).await? else { return Ok(()) };
    delete_pair(tx, &session.current);
    if let Some(next) = session.next {
        delete_pair(tx, &next);
    }
    for displaced in session.displaced {
        delete_pair(tx, &displaced);
    }
    if let Some(previous) = session.previous {
        tx.delete(&ACCESS_TOKEN, &(previous,));
    }
    for replaced in session.replaced {
        tx.delete(&REFRESH_TOKEN, &(replaced,));
    }
    tx.delete(&SESSION, &key);
    Ok(())
}

/// Makes the pair of one of the last refreshes the next one, if this says so: its answer is the one that arrived.
fn choose(session: &mut Session, is_it: impl Fn(&Pair) -> bool) -> bool {
    if session.next.as_ref().is_some_and(&is_it) {
        return true;
    }
    let Some(at) = session.displaced.iter().position(|pair| pair.refresh.is_some() && is_it(pair)) else {
        return false;
    };
    let chosen = session.displaced.remove(at);
    session.displaced.extend(session.next.replace(chosen));
    true
}

/// Another refresh from the same token was later.
fn displace(tx: &Tx, session: &mut Session, pair: Pair) {
    session.displaced.push(pair);
    if session.displaced.len() > DISPLACED {
        let oldest = session.displaced.remove(0);
        tx.delete(&ACCESS_TOKEN, &(oldest.access,));
        replace(tx, session, oldest.refresh);
    }
}

/// The next pair comes into use.
fn advance(tx: &Tx, session: &mut Session) {
    let Some(next) = session.next.take() else { return };
    replace(tx, session, session.current.refresh);
    for pair in std::mem::take(&mut session.displaced) {
        if pair.refresh.is_some() {
            replace(tx, session, pair.refresh);
            session.displaced.push(Pair { refresh: None, ..pair });
        } else {
            tx.delete(&ACCESS_TOKEN, &(pair.access,));
        }
    }
    if let Some(previous) = session.previous.replace(session.current.access) {
        tx.delete(&ACCESS_TOKEN, &(previous,));
    }
    session.current = next;
}

/// A refresh token is good for nothing any more, but known for a while.
fn replace(tx: &Tx, session: &mut Session, refresh: Option<TokenHash>) {
    session.replaced.extend(refresh);
    if session.replaced.len() > REPLACED {
        let oldest = session.replaced.remove(0);
        tx.delete(&REFRESH_TOKEN, &(oldest,));
    }
}

fn write_pair(tx: &Tx, user: &UserId, device: &DeviceId, minted: &Minted, fresh: bool) {
    let (user, device) = (user.to_owned(), device.to_owned());
    if let Some(refresh) = minted.pair.refresh {
        tx.put(&REFRESH_TOKEN, &(refresh,), &RefreshToken { user: user.clone(), device: device.clone() });
    }
    let access = AccessToken { user, device, expires_ms: minted.expires_ms, fresh };
    tx.put(&ACCESS_TOKEN, &(minted.pair.access,), &access);
}

fn delete_pair(tx: &Tx, pair: &Pair) {
    tx.delete(&ACCESS_TOKEN, &(pair.access,));
    if let Some(refresh) = pair.refresh {
        tx.delete(&REFRESH_TOKEN, &(refresh,));
    }
}

fn in_use(account: &Account) -> bool {
    account.standing == Standing::Active
}

/// A token of 192 random bits. The prefix says what it is, to people and to programs that look for leaked secrets.
pub(super) fn secret(prefix: &str, random: &Random) -> String {
    format!("{prefix}_{}", random.secret())
}

/// Whether a token has the form of those that [`secret`] makes.
fn is_one(prefix: &str, token: &str) -> bool {
    let of_secret = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let secret = token.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    secret.is_some_and(|secret| secret.len() == SECRET && secret.bytes().all(of_secret))
}

/// Under what a token is stored. `None` for what is too long to be one.
pub(super) fn hash(token: &str) -> Option<TokenHash> {
    (token.len() <= MAX_TOKEN_BYTES).then(|| digest(token))
}

fn digest(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}
