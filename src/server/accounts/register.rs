//! `POST /register`: an account and its first session in one batch.
//!
//! Spec: [account registration](https://spec.matrix.org/v1.19/client-server-api/#legacy-account-registration).

use depesche_config::RegistrationMode;
use ruma::{OwnedUserId, api::client::uiaa::AuthData};

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
    /// Registers a user. Guests are not admitted: the caller refuses that kind.
    pub async fn register(&self, register: &Register<'_>) -> Result<Registered, RegisterError> {
        if self.base.config.registration.mode == RegistrationMode::Closed {
            return Err(RegisterError::Closed);
        }
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
            Outcome::NeedMore(needed) => Ok(Registered::NeedMore(needed)),
            Outcome::Proceed(proof) => self.make(register, proof).await,
        }
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
