//! `POST /register`: an account and its first session in one batch.
//!
//! Spec: [account registration](https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration).

use depesche_config::RegistrationMode;
use depesche_rules::bounds::{MAX_DEVICE_DISPLAY_NAME_BYTES, MAX_DEVICE_ID_BYTES};
use ruma::{OwnedUserId, api::client::uiaa::AuthData};
use zeroize::Zeroizing;

use crate::{
    Fault,
    accounts::{
        Accounts, Confirmation, Door, Fingerprint, LoggedIn, Needed, NewAccount, NewSession, Outcome, Proof,
        ProvisionError, Purpose, UiaError, UnfitPassword, passwords, sessions,
    },
    devices::OpenDeviceError,
};

/// What somebody asks for.
#[derive(Clone)]
pub struct Register<'a> {
    /// The wanted name.
    pub username: Option<&'a str>,
    /// The password.
    pub password: Option<&'a str>,
    /// The session; `None` to be logged in later (`inhibit_login`).
    pub session: Option<NewSession>,
    /// What the request is.
    pub request: Fingerprint,
    /// The `auth` of the body.
    pub auth: Option<&'a AuthData>,
}

/// What a registration asked for, kept until it is confirmed: a client that was sent to a page comes back with nothing but
/// the session. The password is wiped from memory with it.
#[derive(Clone)]
pub(super) struct Wanted {
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    session: Option<NewSession>,
    request: Fingerprint,
}

/// What comes of it.
pub enum Registered {
    /// The account is there.
    Done {
        /// Its user id.
        user: OwnedUserId,
        /// Its first session, if one was wanted.
        session: Option<LoggedIn>,
    },
    /// It is to be confirmed first.
    NeedMore(Needed),
}

/// Why nobody is registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Registration is closed.
    #[error("registration is closed on this server")]
    Closed,
    /// The name, the password or the token does not do.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// Nobody could log in to an account without a password.
    #[error("an account needs a password")]
    NoPassword,
    /// The confirmation cannot go on.
    #[error(transparent)]
    Confirm(#[from] UiaError),
    /// About the device.
    #[error(transparent)]
    Device(#[from] OpenDeviceError),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<UnfitPassword> for RegisterError {
    fn from(unfit: UnfitPassword) -> Self {
        Self::Provision(unfit.into())
    }
}

impl Accounts {
    /// Registers a user. Guests are not admitted: the caller refuses that kind. A request that has a session and says
    /// nothing else is the one that was made in that session before.
    pub async fn register(&self, register: &Register<'_>) -> Result<Registered, RegisterError> {
        if self.base.config.registration.mode == RegistrationMode::Closed {
            return Err(RegisterError::Closed);
        }
        let session = register.auth.and_then(AuthData::session);
        if let Some(session) = session
            && register.says_nothing()
            && let Some(wanted) = self.confirmations.wanted(session, self.base.clock.now_ms())
        {
            return self.register_wanted(&wanted.register(register.auth)).await;
        }
        self.register_wanted(register).await
    }

    async fn register_wanted(&self, register: &Register<'_>) -> Result<Registered, RegisterError> {
        if let Some(user) = self.registered_before(register) {
            let session = self.log_in_registered(&user, register).await?;
            return Ok(Registered::Done { user, session });
        }
        // The specification wants names checked before anything is asked. Clients that only ask for the stages send
        // neither name nor password.
        if let Some(username) = register.username {
            self.check_available(username).await?;
        }
        if let Some(password) = register.password {
            passwords::check(password, &self.base.config.accounts)?;
        }
        let confirmation =
            Confirmation { purpose: Purpose::Register, caller: None, request: register.request, auth: register.auth };
        match self.confirm(confirmation).await? {
            Outcome::NeedMore(needed) => {
                if let Some(wanted) = Wanted::of(register) {
                    self.confirmations.wants(&needed.session, wanted);
                }
                Ok(Registered::NeedMore(needed))
            }
            Outcome::Proceed(proof) => self.make(register, proof).await,
        }
    }

    /// Whether somebody could register under this name now.
    pub async fn check_registrable(&self, username: &str) -> Result<(), RegisterError> {
        if self.base.config.registration.mode == RegistrationMode::Closed {
            return Err(RegisterError::Closed);
        }
        self.check_available(username).await?;
        Ok(())
    }

    async fn make(&self, register: &Register<'_>, proof: Proof) -> Result<Registered, RegisterError> {
        let password = register.password.ok_or(RegisterError::NoPassword)?;
        let new = NewAccount {
            localpart: register.username.map(str::to_owned),
            password: Some(password.to_owned()),
            ..NewAccount::default()
        };
        let prepared = &self.prepare(&new).await?;
        let door = &Door::Registration { token: proof.registration_token, consents: proof.consents };
        let (new, minted) = (&register.session, &self.mint_for(register));
        let session = self
            .base
            .transact(|tx| async move {
                self.provision(&tx, door, prepared).await?;
                let Some(new) = new else { return Ok(None) };
                let device = self.devices.open(&tx, &prepared.user, new).await?;
                Ok::<_, RegisterError>(Some(sessions::begin(&tx, prepared.user.clone(), device, minted).await?))
            })
            .await?;
        let user = prepared.user.clone();
        self.confirmations.registered(&proof.session, register.request, user.clone());
        Ok(Registered::Done { user, session })
    }

    /// The account that this very request has made already: its answer got lost.
    fn registered_before(&self, register: &Register<'_>) -> Option<OwnedUserId> {
        let session = register.auth?.session()?;
        self.confirmations.registered_before(session, register.request, self.base.clock.now_ms())
    }

    async fn log_in_registered(
        &self,
        user: &OwnedUserId,
        register: &Register<'_>,
    ) -> Result<Option<LoggedIn>, RegisterError> {
        let Some(new) = &register.session else { return Ok(None) };
        if !self.is_active(&self.base.view(), user).await? {
            return Err(ProvisionError::UserInUse.into());
        }
        let minted = &self.mint_for(register);
        self.base
            .transact(|tx| async move {
                let device = self.devices.open(&tx, user, new).await?;
                Ok(Some(sessions::begin(&tx, user.clone(), device, minted).await?))
            })
            .await
    }

    fn mint_for(&self, register: &Register<'_>) -> sessions::Minted {
        self.mint(register.session.as_ref().is_some_and(|session| session.refreshable))
    }
}

impl Register<'_> {
    /// Whether there is nothing in the body beside `auth`.
    fn says_nothing(&self) -> bool {
        let is_plain =
            |session: &NewSession| session.device.is_none() && session.display_name.is_none() && !session.refreshable;
        self.username.is_none() && self.password.is_none() && self.session.as_ref().is_some_and(is_plain)
    }
}

impl Wanted {
    /// `None` if there is nothing to keep, or more than a registration may have: names and passwords have been checked.
    fn of(register: &Register<'_>) -> Option<Self> {
        let fits = |session: &NewSession| {
            let device = session.device.as_ref().is_none_or(|device| device.as_str().len() <= MAX_DEVICE_ID_BYTES);
            device && session.display_name.as_ref().is_none_or(|name| name.len() <= MAX_DEVICE_DISPLAY_NAME_BYTES)
        };
        (!register.says_nothing() && register.session.as_ref().is_none_or(fits)).then(|| Self {
            username: register.username.map(str::to_owned),
            password: register.password.map(|password| Zeroizing::new(password.to_owned())),
            session: register.session.clone(),
            request: register.request,
        })
    }

    /// The account is there, and a repetition only asks to be logged in.
    pub(super) fn forget_password(&mut self) {
        self.password = None;
    }

    fn register<'a>(&'a self, auth: Option<&'a AuthData>) -> Register<'a> {
        Register {
            username: self.username.as_deref(),
            password: self.password.as_deref().map(String::as_str),
            session: self.session.clone(),
            request: self.request,
            auth,
        }
    }
}
