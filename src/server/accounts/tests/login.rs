use ruma::device_id;

use super::{House, PASSWORD};
use crate::{
    accounts::{AdminError, Credentials, Door, LoginError, NewAccount, NewSession, ProvisionError, UnfitPassword},
    devices::{OpenDeviceError, UnfitDevice},
    profiles::Profiles,
};

#[tokio::test]
async fn takes_user_ids_and_localparts_in_any_case() {
    let house = House::new();
    let alice = house.user("alice").await;
    for name in ["alice", "Alice", "@alice:agency.test", "@ALICE:agency.test"] {
        let session = house.try_login(name, PASSWORD, &NewSession::default()).await.unwrap();
        assert_eq!(session.user, alice, "{name}");
        assert_eq!(session.device.as_str().len(), 10);
        assert_eq!((session.tokens.refresh, session.tokens.expires_in_ms), (None, None));
    }
    assert_eq!(house.devices.list(&alice).await.unwrap().len(), 4);
}

#[tokio::test]
async fn says_the_same_of_wrong_passwords_and_unknown_users() {
    let house = House::new();
    house.user("alice").await;
    for (name, password) in [
        ("alice", "wrong horse"),
        ("bob", PASSWORD),
        ("@alice:elsewhere.test", PASSWORD),
        ("", PASSWORD),
        ("alice", ""),
        ("not a name", PASSWORD),
    ] {
        let refused = house.try_login(name, password, &NewSession::default()).await;
        assert!(matches!(refused, Err(LoginError::Forbidden)), "{name} {password}");
    }
}

#[tokio::test]
async fn failures_make_even_the_right_password_wait() {
    let house = House::new();
    house.user("alice").await;
    for _ in 0..10 {
        let refused = house.try_login("alice", "wrong horse", &NewSession::default()).await;
        assert!(matches!(refused, Err(LoginError::Forbidden)));
    }
    let refused = house.try_login("alice", PASSWORD, &NewSession::default()).await;
    assert!(matches!(refused, Err(LoginError::LimitExceeded { retry_after_ms: 1000 })));
    house.pass_ms(1000);
    house.try_login("alice", PASSWORD, &NewSession::default()).await.unwrap();
}

#[tokio::test]
async fn the_same_device_again_gets_new_tokens_and_keeps_its_name() {
    let house = House::new();
    let alice = house.user("alice").await;
    let named = |name: &str| NewSession {
        device: Some("PHONE".into()),
        display_name: Some(name.to_owned()),
        ..NewSession::default()
    };
    let first = house.try_login("alice", PASSWORD, &named("Phone")).await.unwrap();
    let second = house.try_login("alice", PASSWORD, &named("Other")).await.unwrap();
    assert!(!house.admits(&first).await);
    assert!(house.admits(&second).await);
    let device = house.devices.get(&alice, device_id!("PHONE")).await.unwrap();
    assert_eq!(device.device.display_name.as_deref(), Some("Phone"));
}

#[tokio::test]
async fn devices_are_bounded() {
    let house = House::with("[limits]\ndevices_per_user = 2\n", Vec::new());
    let alice = house.user("alice").await;
    house.login(&alice, "A").await;
    house.login(&alice, "B").await;
    let third = NewSession { device: Some("C".into()), ..NewSession::default() };
    let refused = house.try_login("alice", PASSWORD, &third).await;
    assert!(matches!(refused, Err(LoginError::Device(OpenDeviceError::Unfit(UnfitDevice::TooMany)))));
    house.login(&alice, "B").await;
    house.devices.log_out(&alice, device_id!("A")).await.unwrap();
    house.login(&alice, "C").await;

    for (id, fits) in [("D".repeat(255), true), ("D".repeat(256), false), (String::new(), false)] {
        house.devices.log_out_all(&alice).await.unwrap();
        let new = NewSession { device: Some(id.into()), ..NewSession::default() };
        assert_eq!(house.try_login("alice", PASSWORD, &new).await.is_ok(), fits);
    }
}

#[tokio::test]
async fn login_tokens_work_once_and_not_for_long() {
    let house = House::with("[accounts]\ntoken_login = true\n", Vec::new());
    let alice = house.user("alice").await;
    let new = &NewSession::default();
    let issued = house.accounts.issue_login_token(&alice).await.unwrap();
    assert_eq!(issued.expires_in_ms, 120_000);
    let session = house.accounts.login(Credentials::Token(&issued.token), new).await.unwrap();
    assert_eq!(session.user, alice);
    assert!(house.admits(&session).await);
    let again = house.accounts.login(Credentials::Token(&issued.token), new).await;
    assert!(matches!(again, Err(LoginError::Forbidden)));

    let issued = house.accounts.issue_login_token(&alice).await.unwrap();
    house.pass_ms(120_000);
    let late = house.accounts.login(Credentials::Token(&issued.token), new).await;
    assert!(matches!(late, Err(LoginError::Forbidden)));
    let unknown = house.accounts.login(Credentials::Token("dpl_unknown"), new).await;
    assert!(matches!(unknown, Err(LoginError::Forbidden)));
}

#[tokio::test]
async fn a_login_token_from_before_a_new_password_is_none() {
    let house = House::with("[accounts]\ntoken_login = true\n", Vec::new());
    let alice = house.user("alice").await;
    let new = &NewSession::default();
    let before = house.accounts.issue_login_token(&alice).await.unwrap();
    house.pass_ms(1);
    house.accounts.reset_password(&alice, "battery staple", false).await.unwrap();
    let refused = house.accounts.login(Credentials::Token(&before.token), new).await;
    assert!(matches!(refused, Err(LoginError::Forbidden)));
    let after = house.accounts.issue_login_token(&alice).await.unwrap();
    house.accounts.login(Credentials::Token(&after.token), new).await.unwrap();
}

#[tokio::test]
async fn expired_login_tokens_are_swept() {
    use crate::{expiry, keyspace::LOGIN_TOKEN};

    let house = House::with("[accounts]\ntoken_login = true\n", Vec::new());
    let alice = house.user("alice").await;
    for _ in 0..5 {
        house.accounts.issue_login_token(&alice).await.unwrap();
    }
    house.pass_ms(200_000);
    house.accounts.issue_login_token(&alice).await.unwrap();
    expiry::sweep(&house.base, 0).await.unwrap();
    let view = house.base.view();
    assert_eq!(view.scan(&LOGIN_TOKEN, LOGIN_TOKEN.under(&()), 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_the_operator_switched_off_is_not_offered() {
    let new = &NewSession::default();
    let house = House::with("[accounts]\npassword_login = false\ntoken_login = true\n", Vec::new());
    house.user("alice").await;
    assert!(matches!(house.try_login("alice", PASSWORD, new).await, Err(LoginError::NotOffered)));

    let house = House::new();
    let alice = house.user("alice").await;
    assert!(matches!(house.accounts.login(Credentials::Token("x"), new).await, Err(LoginError::NotOffered)));
    assert!(matches!(house.accounts.issue_login_token(&alice).await, Err(LoginError::NotOffered)));
}

#[tokio::test]
async fn locked_accounts_cannot_log_in_but_are_known() {
    let house = House::new();
    let alice = house.user("alice").await;
    let session = house.login(&alice, "PHONE").await;
    house.accounts.set_locked(&alice, true).await.unwrap();
    house.accounts.set_suspended(&alice, true).await.unwrap();
    house.accounts.set_admin(&alice, true).await.unwrap();
    let refused = house.try_login("alice", PASSWORD, &NewSession::default()).await;
    assert!(matches!(refused, Err(LoginError::Locked)));
    let caller = house.accounts.authenticate(&session.tokens.access).await.unwrap();
    assert!(caller.locked && caller.suspended && caller.admin);
    let nobody = ruma::user_id!("@nobody:agency.test");
    assert!(matches!(house.accounts.set_admin(nobody, true).await, Err(AdminError::NotFound)));
}

#[tokio::test]
async fn accounts_are_born_with_a_name_of_their_own() {
    let house = House::new();
    let alice = house.user("Alice").await;
    assert_eq!(alice, "@alice:agency.test");
    let profiles = Profiles::new(house.base.clone());
    assert_eq!(profiles.get(&alice).await.unwrap().displayname(), Some("alice"));
    let new = |localpart: &str, password: &str| NewAccount {
        localpart: Some(localpart.to_owned()),
        password: Some(password.to_owned()),
        ..NewAccount::default()
    };
    let taken = house.accounts.create(&Door::Operator, &new("ALICE", PASSWORD)).await;
    assert!(matches!(taken, Err(ProvisionError::UserInUse)));
    let bad = house.accounts.create(&Door::Operator, &new("a b", PASSWORD)).await;
    assert!(matches!(bad, Err(ProvisionError::InvalidUsername(_))));
    let short = house.accounts.create(&Door::Operator, &new("bob", "1234567")).await;
    assert!(matches!(short, Err(ProvisionError::UnfitPassword(UnfitPassword::Short { min_length: 8 }))));
    let chosen = house.accounts.create(&Door::Operator, &NewAccount::default()).await.unwrap();
    assert_eq!(chosen.localpart().len(), 12);
}

#[tokio::test]
async fn one_of_two_who_want_the_same_name_gets_it() {
    let house = House::new();
    let new = NewAccount { localpart: Some("alice".to_owned()), ..NewAccount::default() };
    let create = || house.accounts.create(&Door::Operator, &new);
    let (one, other) = tokio::join!(create(), create());
    assert!(one.is_ok() != other.is_ok());
}

#[tokio::test]
async fn the_list_of_accounts_has_pages() {
    let house = House::new();
    for name in ["carol", "alice", "bob", "alice-2"] {
        let new = NewAccount { localpart: Some(name.to_owned()), ..NewAccount::default() };
        house.accounts.create(&Door::Operator, &new).await.unwrap();
    }
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = house.accounts.list(after.as_deref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.user.clone());
        names.extend(page.iter().map(|info| info.user.localpart().to_owned()));
    }
    assert_eq!(names, ["alice-2", "alice", "bob", "carol"]);
}
