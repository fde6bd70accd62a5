use std::sync::Arc;

use super::{House, PASSWORD};
use crate::{
    accounts::{Accounts, AuthenticateError, LoggedIn, NewSession, RefreshError},
    keyspace::{ACCESS_TOKEN, REFRESH_TOKEN},
};

const HOUR_MS: u64 = 3_600_000;

async fn refreshable(house: &House) -> LoggedIn {
    house.user("alice").await;
    let new = NewSession { device: Some("PHONE".into()), refreshable: true, ..NewSession::default() };
    house.try_login("alice", PASSWORD, &new).await.unwrap()
}

async fn refresh(house: &House, session: &LoggedIn) -> Result<LoggedIn, RefreshError> {
    house.accounts.refresh(session.tokens.refresh.as_deref().unwrap()).await
}

/// Rows of access and refresh tokens.
async fn rows(house: &House) -> (usize, usize) {
    let view = house.base.view();
    let access = view.scan(&ACCESS_TOKEN, ACCESS_TOKEN.under(&()), 100).await.unwrap().len();
    (access, view.scan(&REFRESH_TOKEN, REFRESH_TOKEN.under(&()), 100).await.unwrap().len())
}

#[tokio::test]
async fn an_expired_token_is_a_soft_logout() {
    let house = House::new();
    let session = refreshable(&house).await;
    assert_eq!(session.tokens.expires_in_ms, Some(HOUR_MS));
    house.pass_ms(HOUR_MS - 1);
    assert!(house.admits(&session).await);
    house.pass_ms(1);
    let expired = house.accounts.authenticate(&session.tokens.access).await;
    assert!(matches!(expired, Err(AuthenticateError::Expired)));
    let next = refresh(&house, &session).await.unwrap();
    assert_eq!((&next.user, &next.device), (&session.user, &session.device));
    assert!(house.admits(&next).await);
}

#[tokio::test]
async fn the_old_refresh_token_lives_until_the_new_access_token_is_used() {
    let house = House::new();
    let first = refreshable(&house).await;
    let lost = refresh(&house, &first).await.unwrap();
    let second = refresh(&house, &first).await.unwrap();
    assert!(house.admits(&second).await);
    for replaced in [&first, &lost] {
        assert!(matches!(refresh(&house, replaced).await, Err(RefreshError::Replaced)));
    }
    assert!(house.admits(&first).await, "requests under way lose their token");
    assert!(house.admits(&second).await);
    assert_eq!(rows(&house).await, (3, 3), "in use: two and one");
}

#[tokio::test]
async fn of_refreshes_at_once_any_answer_does() {
    for is_first in [true, false] {
        let house = House::new();
        let before = refreshable(&house).await;
        let (one, other) = tokio::join!(refresh(&house, &before), refresh(&house, &before));
        let (one, other) = if is_first { (one.unwrap(), other.unwrap()) } else { (other.unwrap(), one.unwrap()) };
        assert!(house.admits(&one).await && house.admits(&other).await && house.admits(&one).await);
        let unused = refresh(&house, &other).await;
        assert!(matches!(unused, Err(RefreshError::Replaced)), "the pair used first is the session's");
        let next = refresh(&house, &one).await.unwrap();
        assert!(house.admits(&next).await);
        let ended = house.accounts.authenticate(&other.tokens.access).await;
        assert!(matches!(ended, Err(AuthenticateError::Unknown)), "no longer than what was in use");
    }
}

#[tokio::test]
async fn a_refresh_token_of_an_earlier_answer_may_be_used_first() {
    let house = House::new();
    let before = refreshable(&house).await;
    let mut answers = Vec::new();
    for _ in 0..20 {
        answers.push(refresh(&house, &before).await.unwrap());
    }
    let (access, _) = rows(&house).await;
    assert_eq!(access, 1 + 1 + 4, "many answers are kept");
    assert!(matches!(refresh(&house, &answers[0]).await, Err(RefreshError::Unknown | RefreshError::Replaced)));
    let next = refresh(&house, &answers[16]).await.unwrap();
    assert!(house.admits(&next).await);
    assert!(matches!(refresh(&house, &answers[19]).await, Err(RefreshError::Replaced)));
    house.devices.log_out_all(&before.user).await.unwrap();
    assert_eq!(rows(&house).await, (0, 0));
}

#[tokio::test]
async fn the_old_refresh_token_lives_until_the_new_refresh_token_is_used() {
    let house = House::new();
    let first = refreshable(&house).await;
    let second = refresh(&house, &first).await.unwrap();
    let third = refresh(&house, &second).await.unwrap();
    assert!(matches!(refresh(&house, &first).await, Err(RefreshError::Replaced)));
    assert!(house.admits(&third).await);
    assert!(matches!(refresh(&house, &second).await, Err(RefreshError::Replaced)));
    assert!(!house.admits(&first).await, "two replaced access tokens are kept");
    assert_eq!(rows(&house).await, (2, 3), "in use: two and one");
}

#[tokio::test]
async fn a_session_leaves_nothing_behind() {
    let house = House::new();
    let first = refreshable(&house).await;
    let second = refresh(&house, &first).await.unwrap();
    house.admits(&second).await;
    refresh(&house, &second).await.unwrap();
    assert_eq!(rows(&house).await, (3, 3));
    house.devices.log_out_all(&first.user).await.unwrap();
    assert_eq!(rows(&house).await, (0, 0));
}

#[tokio::test]
async fn a_replaced_refresh_token_is_told_from_one_whose_session_has_ended() {
    let house = House::new();
    let first = refreshable(&house).await;
    let mut last = first.clone();
    for _ in 0..20 {
        let next = refresh(&house, &last).await.unwrap();
        assert!(house.admits(&next).await);
        assert!(matches!(refresh(&house, &last).await, Err(RefreshError::Replaced)));
        last = next;
    }
    assert_eq!(rows(&house).await, (2, 9), "what was replaced long ago stays");
    assert!(matches!(refresh(&house, &first).await, Err(RefreshError::Unknown)));
    house.devices.log_out_all(&first.user).await.unwrap();
    assert!(matches!(refresh(&house, &last).await, Err(RefreshError::Unknown)));
    assert_eq!(rows(&house).await, (0, 0));
}

#[tokio::test]
async fn who_logs_out_may_show_a_token_that_has_expired() {
    let house = House::new();
    let session = refreshable(&house).await;
    house.pass_ms(HOUR_MS);
    let caller = house.accounts.authenticate_for_logout(&session.tokens.access).await.unwrap();
    assert_eq!((&caller.user, &caller.device), (&session.user, &session.device));
    house.devices.log_out(&caller.user, &caller.device).await.unwrap();
    let ended = house.accounts.authenticate_for_logout(&session.tokens.access).await;
    assert!(matches!(ended, Err(AuthenticateError::Unknown)));
}

#[tokio::test]
async fn locked_accounts_cannot_refresh_yet() {
    let house = House::new();
    let session = refreshable(&house).await;
    house.accounts.set_locked(&session.user, true).await.unwrap();
    assert!(matches!(refresh(&house, &session).await, Err(RefreshError::Locked)));
    house.accounts.set_locked(&session.user, false).await.unwrap();
    refresh(&house, &session).await.unwrap();
}

#[tokio::test]
async fn what_is_no_token_is_unknown() {
    let house = House::new();
    let session = refreshable(&house).await;
    let refresh_token = session.tokens.refresh.clone().unwrap();
    for token in ["", "x", &refresh_token, &"x".repeat(100_000)] {
        assert!(matches!(house.accounts.authenticate(token).await, Err(AuthenticateError::Unknown)));
    }
    for token in ["", &session.tokens.access, &"x".repeat(100_000)] {
        assert!(matches!(house.accounts.refresh(token).await, Err(RefreshError::Unknown)));
    }
}

#[tokio::test]
async fn no_token_is_stored() {
    let house = House::new();
    let session = refreshable(&house).await;
    let rows = house.base.engine.snapshot().scan(depesche_store::Range::new("\x01", ""), false, 1000).await.unwrap();
    assert!(rows.len() > 5);
    let refresh = session.tokens.refresh.unwrap();
    for secret in [session.tokens.access.as_str(), &refresh, PASSWORD] {
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!rows.iter().any(|(key, value)| holds(key) || holds(value)));
    }
}

#[tokio::test]
async fn after_a_restore_unknown_tokens_may_be_lost_ones() {
    // Tokens that were made after the backup: another house has them.
    let lost = refreshable(&House::new()).await;
    let mut house = House::new();
    let ended = refreshable(&house).await;
    house.devices.log_out_all(&ended.user).await.unwrap();
    assert!(matches!(refresh(&house, &lost).await, Err(RefreshError::Unknown)), "there was no restore");
    let until = house.base.clock.now_ms() + HOUR_MS;
    house.accounts = Accounts::new(Arc::clone(&house.base), Arc::clone(&house.devices)).sparing_until(until);
    for _ in 0..2 {
        let access = house.accounts.authenticate(&lost.tokens.access).await;
        assert!(matches!(access, Err(AuthenticateError::Lost)));
        assert!(matches!(refresh(&house, &lost).await, Err(RefreshError::Lost)));
    }
    let refresh_token = lost.tokens.refresh.as_deref().unwrap();
    for none in ["", "dpa_", "dpa_short", refresh_token, &format!("{}x", lost.tokens.access)] {
        assert!(matches!(house.accounts.authenticate(none).await, Err(AuthenticateError::Unknown)), "{none}");
    }
    assert!(matches!(house.accounts.refresh(&lost.tokens.access).await, Err(RefreshError::Unknown)));
    house.pass_ms(HOUR_MS);
    assert!(matches!(house.accounts.authenticate(&lost.tokens.access).await, Err(AuthenticateError::Unknown)));
    assert!(matches!(refresh(&house, &lost).await, Err(RefreshError::Unknown)));
}
