use ruma::{device_id, user_id};
use serde_json::{json, value::to_raw_value};

use super::{House, PASSWORD};
use crate::{
    account_data::{AccountData, GLOBAL},
    accounts::{
        ChangePassword, ChangePasswordError, DeactivateError, LoginError, NewSession, ProvisionError, Unfinished,
    },
    profiles::{ProfileError, Profiles},
    records::accounts::Standing,
};

const NEW: &str = "battery staple";

#[tokio::test]
async fn a_new_password_logs_out_the_others() {
    let house = House::new();
    let alice = house.user("alice").await;
    let (here, there) = (house.login(&alice, "HERE").await, house.login(&alice, "THERE").await);
    let change = ChangePassword {
        user: &alice,
        device: Some(device_id!("HERE").to_owned()),
        new_password: NEW,
        logout_devices: true,
    };
    house.accounts.change_password(change.clone()).await.unwrap();
    assert!(house.admits(&here).await);
    assert!(!house.admits(&there).await);
    let old = house.try_login("alice", PASSWORD, &NewSession::default()).await;
    assert!(matches!(old, Err(LoginError::Forbidden)));
    let there = house.try_login("alice", NEW, &NewSession::default()).await.unwrap();

    let change = ChangePassword { new_password: PASSWORD, logout_devices: false, ..change };
    house.accounts.change_password(change.clone()).await.unwrap();
    assert!(house.admits(&there).await);
    let short = ChangePassword { new_password: "short", ..change };
    let refused = house.accounts.change_password(short).await;
    assert!(matches!(refused, Err(ChangePasswordError::UnfitPassword(_))));
}

#[tokio::test]
async fn an_operator_resets_a_password() {
    let house = House::new();
    let alice = house.user("alice").await;
    let session = house.login(&alice, "PHONE").await;
    for _ in 0..11 {
        house.try_login("alice", "wrong horse", &NewSession::default()).await.err().unwrap();
    }
    house.accounts.reset_password(&alice, NEW, true).await.unwrap();
    assert!(!house.admits(&session).await);
    house.try_login("alice", NEW, &NewSession::default()).await.unwrap();
    let nobody = user_id!("@nobody:agency.test");
    let refused = house.accounts.reset_password(nobody, NEW, true).await;
    assert!(matches!(refused, Err(ChangePasswordError::NotFound)));
}

#[tokio::test]
async fn operators_may_forbid_changes() {
    let house = House::with("[accounts]\nchange_password = false\n", Vec::new());
    let alice = house.user("alice").await;
    let change = ChangePassword { user: &alice, device: None, new_password: NEW, logout_devices: true };
    assert!(matches!(house.accounts.change_password(change).await, Err(ChangePasswordError::NotOffered)));
    house.accounts.reset_password(&alice, NEW, true).await.unwrap();
}

#[tokio::test]
async fn a_deactivated_account_is_gone_but_its_name_stays_taken() {
    let house = House::new();
    let alice = house.user("alice").await;
    let session = house.login(&alice, "PHONE").await;
    let data = AccountData::new(house.base.clone());
    data.set(&alice, GLOBAL, "a", &to_raw_value(&json!({})).unwrap()).await.unwrap();

    let unfinished = Unfinished { user: alice.clone(), erase: false };
    let begun = house.accounts.begin_deactivation(&alice, false).await.unwrap();
    assert_eq!(begun, Some(unfinished.clone()));
    assert!(!house.admits(&session).await);
    assert!(!house.accounts.is_active(&house.base.view(), &alice).await.unwrap());
    assert_eq!(house.accounts.unfinished(None).await.unwrap(), std::slice::from_ref(&unfinished));
    // After a restart it is begun again.
    assert_eq!(house.accounts.begin_deactivation(&alice, false).await.unwrap(), Some(unfinished));

    house.accounts.finish_deactivation(&alice).await.unwrap();
    assert_eq!(house.accounts.unfinished(None).await.unwrap(), []);
    assert_eq!(house.accounts.show(&alice).await.unwrap().account.standing, Standing::Deactivated);
    assert_eq!(house.accounts.begin_deactivation(&alice, false).await.unwrap(), None);

    let refused = house.try_login("alice", PASSWORD, &NewSession::default()).await;
    assert!(matches!(refused, Err(LoginError::Deactivated)));
    assert!(matches!(house.accounts.check_available("alice").await, Err(ProvisionError::UserInUse)));
    let reset = house.accounts.reset_password(&alice, NEW, true).await;
    assert!(matches!(reset, Err(ChangePasswordError::Deactivated)));
    assert!(matches!(Profiles::new(house.base.clone()).get(&alice).await, Err(ProfileError::NotFound)));
    assert_eq!(house.devices.list(&alice).await.unwrap(), []);
    // Account data goes only with erasure.
    assert!(data.get(&house.base.view(), &alice, GLOBAL, "a").await.is_ok());
    assert!(!house.accounts.show(&alice).await.unwrap().account.erased);

    let nobody = user_id!("@nobody:agency.test");
    assert!(matches!(house.accounts.begin_deactivation(nobody, false).await, Err(DeactivateError::NotFound)));
}

#[tokio::test]
async fn erasure_takes_account_data_also_later() {
    let house = House::new();
    let alice = house.user("alice").await;
    let data = AccountData::new(house.base.clone());
    data.set(&alice, GLOBAL, "a", &to_raw_value(&json!({})).unwrap()).await.unwrap();
    house.accounts.begin_deactivation(&alice, false).await.unwrap();
    house.accounts.finish_deactivation(&alice).await.unwrap();
    house.accounts.begin_deactivation(&alice, true).await.unwrap();
    assert!(data.get(&house.base.view(), &alice, GLOBAL, "a").await.is_err());
    assert!(house.accounts.show(&alice).await.unwrap().account.erased);
    assert_eq!(house.accounts.unfinished(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_login_cannot_slip_past_a_new_password() {
    let house = House::new();
    let alice = house.user("alice").await;
    let verified = house.accounts.verify("alice", PASSWORD).await.unwrap();
    house.accounts.reset_password(&alice, NEW, true).await.unwrap();
    let late = house.accounts.begin_verified(&verified, &NewSession::default()).await;
    assert!(matches!(late, Err(LoginError::Forbidden)));
    assert_eq!(house.devices.list(&alice).await.unwrap(), []);
}
