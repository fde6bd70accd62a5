//! Where accounts are born: the one function, whatever door they come through.
//!
//! It writes into a batch of the caller's, so that an account, its first device and the token that let it in land
//! together. Doors to come (directory, single sign-on, application services) call the same function.

use std::collections::BTreeMap;

use depesche_config::DisplayName;
use depesche_rules::bounds::MAX_DISPLAY_NAME_CHARS;
use ruma::OwnedUserId;

use crate::{
    Fault,
    accounts::{Accounts, InvalidName, UnfitPassword, names, passwords, registration_tokens},
    keyspace::{ACCOUNT, CONSENT, PASSWORD},
    profiles,
    records::accounts::{Account, Consent, Origin, Password, Standing},
    tx::Tx,
};

/// Letters of a localpart that the server chooses.
const CHOSEN_LETTERS: usize = 12;

/// Through what an account comes.
#[derive(Clone, Debug)]
pub enum Door {
    /// `POST /register`, with the registration token that was shown, if one is needed, and the documents that were
    /// agreed to (id and version).
    Registration {
        /// Is used up by one.
        token: Option<String>,
        /// Is kept with the account.
        consents: BTreeMap<String, String>,
    },
    /// The command line or the admin API.
    Operator,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct NewAccount {
    /// The name; the server chooses one if absent.
    pub localpart: Option<String>,
    /// The password. Without one nobody can log in until an operator sets it.
    pub password: Option<String>,
    /// The display name; the operator's default if absent.
    pub display_name: Option<String>,
    /// May it use the admin API?
    pub admin: bool,
}

/// Why no account is made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The name is not one.
    #[error(transparent)]
    InvalidUsername(#[from] InvalidName),
    /// The name is taken, or was: it is never given again.
    #[error("the user name is taken")]
    UserInUse,
    /// The name is kept for others (application services).
    #[error("the user name is reserved")]
    Exclusive,
    /// The password does not do.
    #[error(transparent)]
    UnfitPassword(#[from] UnfitPassword),
    /// The display name is too long.
    #[error("a display name may have at most {MAX_DISPLAY_NAME_CHARS} characters")]
    DisplayNameTooLong,
    /// The registration token has been used up, removed or has expired.
    #[error("the registration token is not valid")]
    InvalidRegistrationToken,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// An account with everything done that takes time.
pub(super) struct Prepared {
    pub(super) user: OwnedUserId,
    hash: Option<String>,
    display_name: Option<String>,
    admin: bool,
}

impl Accounts {
    /// Makes an account without logging in. For operators.
    pub async fn create(&self, door: &Door, new: &NewAccount) -> Result<OwnedUserId, ProvisionError> {
        let prepared = &self.prepare(new).await?;
        self.base.transact(|tx| async move { self.provision(&tx, door, prepared).await }).await?;
        Ok(prepared.user.clone())
    }

    /// Whether the name could be registered now.
    pub async fn check_available(&self, localpart: &str) -> Result<OwnedUserId, ProvisionError> {
        let user = names::new_user_id(localpart, &self.base.name)?;
        match self.base.view().get(&ACCOUNT, &(user.clone(),)).await? {
            Some(_) => Err(ProvisionError::UserInUse),
            None => Ok(user),
        }
    }

    /// Checks what is asked for and hashes the password.
    pub(super) async fn prepare(&self, new: &NewAccount) -> Result<Prepared, ProvisionError> {
        let user = if let Some(localpart) = &new.localpart {
            self.check_available(localpart).await?
        } else {
            names::new_user_id(&self.base.random.letters(CHOSEN_LETTERS), &self.base.name)?
        };
        let display_name = match &new.display_name {
            Some(name) => Some(name.clone()),
            None => (self.base.config.accounts.default_display_name == DisplayName::Localpart)
                .then(|| user.localpart().to_owned()),
        };
        if display_name.as_ref().is_some_and(|name| name.chars().count() > MAX_DISPLAY_NAME_CHARS) {
            return Err(ProvisionError::DisplayNameTooLong);
        }
        let hash = match &new.password {
            Some(password) => Some(self.hash_new::<ProvisionError>(password).await?),
            None => None,
        };
        Ok(Prepared { user, hash, display_name, admin: new.admin })
    }

    /// Puts the account into the batch. All accounts come from here.
    pub(super) async fn provision(&self, tx: &Tx, door: &Door, new: &Prepared) -> Result<(), ProvisionError> {
        let key = (new.user.clone(),);
        if tx.read(&ACCOUNT, &key).await?.is_some() {
            return Err(ProvisionError::UserInUse);
        }
        let now_ms = self.base.clock.now_ms();
        let account = Account {
            created_ms: now_ms,
            origin: self.enter(tx, door, &new.user).await?,
            admin: new.admin,
            standing: Standing::Active,
            erased: false,
            locked: false,
            suspended: false,
        };
        tx.put(&ACCOUNT, &key, &account);
        if let Some(hash) = &new.hash {
            tx.put(&PASSWORD, &key, &Password { hash: hash.clone(), set_ms: now_ms });
        }
        profiles::first(tx, &new.user, new.display_name.as_deref()).await?;
        Ok(())
    }

    /// What a door takes and leaves.
    async fn enter(&self, tx: &Tx, door: &Door, user: &OwnedUserId) -> Result<Origin, ProvisionError> {
        let Door::Registration { token, consents } = door else { return Ok(Origin::Operator) };
        let now_ms = self.base.clock.now_ms();
        for (document, version) in consents {
            let consent = Consent { version: version.clone(), agreed_ms: now_ms };
            tx.put(&CONSENT, &(user.clone(), document.clone()), &consent);
        }
        let Some(token) = token else { return Ok(Origin::Registration) };
        if !registration_tokens::spend(tx, token, now_ms).await? {
            return Err(ProvisionError::InvalidRegistrationToken);
        }
        Ok(Origin::RegistrationToken)
    }

    /// The hash of a password that is about to be set.
    pub(super) async fn hash_new<E>(&self, password: &str) -> Result<String, E>
    where
        E: From<UnfitPassword> + From<Fault>,
    {
        passwords::check(password, &self.base.config.accounts)?;
        Ok(self.passwords.hash(password).await?)
    }
}
