//! A server with accounts on the memory engine, and what it promises.

mod endings;
mod login;
mod openid;
mod registration;
mod sessions;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use depesche_config::Config;
use depesche_store::Options;
use ruma::{OwnedUserId, UserId, device_id};
use tokio::sync::watch;

use crate::{
    Base, Clock, Random,
    accounts::{Accounts, Credentials, Door, LoggedIn, LoginError, NewAccount, NewSession},
    devices::{DeviceFollower, Devices},
    testing,
};

/// When the tests begin.
const START_MS: u64 = 1_700_000_000_000;
/// A password that does.
pub(crate) const PASSWORD: &str = "correct horse";

/// Accounts and devices over the memory engine.
pub(crate) struct House {
    pub(crate) base: Arc<Base>,
    pub(crate) devices: Arc<Devices>,
    pub(crate) accounts: Accounts,
    hand: Arc<AtomicU64>,
    _stop: watch::Sender<bool>,
}

impl House {
    /// With the default configuration.
    pub(crate) fn new() -> Self {
        Self::with("", Vec::new())
    }

    /// With these sections in the configuration and these followers of devices.
    pub(crate) fn with(sections: &str, followers: Vec<Arc<dyn DeviceFollower>>) -> Self {
        let config = Config::parse(&format!("[server]\nname = \"agency.test\"\n{sections}")).unwrap();
        let (clock, hand) = Clock::paused(START_MS);
        let (stop, stopping) = watch::channel(false);
        let engine = testing::engine(Options::default());
        let base = Arc::new(Base::new(engine, clock, Random::seeded(1), Arc::new(config), stopping));
        let devices = Arc::new(Devices::new(Arc::clone(&base), followers));
        let accounts = Accounts::new(Arc::clone(&base), Arc::clone(&devices));
        Self { base, devices, accounts, hand, _stop: stop }
    }

    /// Time passes.
    pub(crate) fn pass_ms(&self, ms: u64) {
        self.hand.fetch_add(ms, Ordering::Relaxed);
    }

    /// An account with [`PASSWORD`].
    pub(crate) async fn user(&self, localpart: &str) -> OwnedUserId {
        let new = NewAccount {
            localpart: Some(localpart.to_owned()),
            password: Some(PASSWORD.to_owned()),
            ..NewAccount::default()
        };
        self.accounts.create(&Door::Operator, &new).await.unwrap()
    }

    /// Tries to log a device in.
    pub(crate) async fn try_login(&self, user: &str, password: &str, new: &NewSession) -> Result<LoggedIn, LoginError> {
        self.accounts.login(Credentials::Password { user, password }, new).await
    }

    /// Logs a device in.
    pub(crate) async fn login(&self, user: &UserId, device: &str) -> LoggedIn {
        let new = NewSession { device: Some(device.into()), ..NewSession::default() };
        self.try_login(user.as_str(), PASSWORD, &new).await.unwrap()
    }

    /// Whether a token admits its device.
    pub(crate) async fn admits(&self, session: &LoggedIn) -> bool {
        let caller = self.accounts.authenticate(&session.tokens.access).await;
        caller.is_ok_and(|caller| caller.user == session.user && caller.device == session.device)
    }
}

#[tokio::test]
async fn who_logs_in_is_the_caller_and_who_logs_out_is_nobody() {
    let house = House::new();
    let alice = house.user("alice").await;
    let session = house.login(&alice, "PHONE").await;
    let caller = house.accounts.authenticate(&session.tokens.access).await.unwrap();
    assert_eq!((&*caller.user, &*caller.device), (&*alice, device_id!("PHONE")));
    assert!(!caller.admin && !caller.locked && !caller.suspended);
    house.devices.log_out(&alice, device_id!("PHONE")).await.unwrap();
    assert!(!house.admits(&session).await);
    assert_eq!(house.devices.list(&alice).await.unwrap(), []);
}
