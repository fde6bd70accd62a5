use depesche_store::MAX_SCAN;

use super::House;
use crate::{expiry, keyspace::OPENID_TOKEN};

#[tokio::test]
async fn a_token_tells_its_user_for_an_hour() {
    let house = House::new();
    let alice = house.user("alice").await;
    let issued = house.accounts.issue_openid_token(&alice).await.unwrap();
    assert_eq!(issued.expires_in_ms, 3_600_000);
    assert_eq!(house.accounts.openid_user(&issued.token).await.unwrap().as_ref(), Some(&alice));
    assert_eq!(house.accounts.openid_user("dpo_nothing").await.unwrap(), None);
    assert!(house.accounts.authenticate(&issued.token).await.is_err(), "it admits nobody");
    let session = house.login(&alice, "PHONE").await;
    assert_eq!(house.accounts.openid_user(&session.tokens.access).await.unwrap(), None);
    house.accounts.set_locked(&alice, true).await.unwrap();
    assert_eq!(house.accounts.openid_user(&issued.token).await.unwrap(), None);
    house.accounts.set_locked(&alice, false).await.unwrap();
    house.pass_ms(3_600_000);
    assert_eq!(house.accounts.openid_user(&issued.token).await.unwrap(), None);
}

#[tokio::test]
async fn expired_tokens_do_not_pile_up() {
    let house = House::new();
    let alice = house.user("alice").await;
    for _ in 0..5 {
        house.accounts.issue_openid_token(&alice).await.unwrap();
    }
    house.pass_ms(3_600_000);
    house.accounts.issue_openid_token(&alice).await.unwrap();
    expiry::sweep(&house.base, 0).await.unwrap();
    let view = house.base.view();
    assert_eq!(view.scan(&OPENID_TOKEN, OPENID_TOKEN.under(&()), MAX_SCAN).await.unwrap().len(), 1);
}
