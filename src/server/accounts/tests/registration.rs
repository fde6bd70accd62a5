use ruma::{
    api::client::uiaa::{AuthData, AuthType, Dummy, Password, RegistrationToken, Terms, UserIdentifier},
    device_id,
};
use serde_json::json;

use super::{House, PASSWORD};
use crate::{
    accounts::{
        Confirmation, Credentials, Fingerprint, Needed, NewRegistrationToken, NewSession, Outcome, ProvisionError,
        Purpose, Register, RegisterError, Registered, RegistrationTokenError, StageError, UiaError,
    },
    keyspace::CONSENT,
};

const OPEN: &str = "[registration]\nmode = \"open\"\n";
const TOKEN_AND_TERMS: &str = "[registration]\nmode = \"token\"\nterms = [{ id = \"privacy\", version = \"1\", \
     name = \"Privacy\", url = \"https://agency.test/privacy\" }]\n";

fn wants<'a>(username: &'a str, auth: Option<&'a AuthData>) -> Register<'a> {
    Register {
        username: Some(username),
        password: Some(PASSWORD),
        session: Some(NewSession::default()),
        request: Fingerprint::of(&(username, PASSWORD)),
        auth,
    }
}

async fn ask(house: &House, username: &str, auth: Option<&AuthData>) -> Needed {
    match house.accounts.register(&wants(username, auth)).await.unwrap() {
        Registered::NeedMore(needed) => needed,
        Registered::Done { user, .. } => panic!("{user} is registered"),
    }
}

fn dummy(session: &str) -> AuthData {
    AuthData::Dummy(Dummy { session: Some(session.to_owned()) })
}

fn terms(session: &str) -> AuthData {
    AuthData::Terms(Terms { session: Some(session.to_owned()) })
}

fn token(token: &str, session: &str) -> AuthData {
    AuthData::RegistrationToken(RegistrationToken { token: token.to_owned(), session: Some(session.to_owned()) })
}

fn password(house_user: &ruma::UserId, password: &str, session: Option<&str>) -> AuthData {
    AuthData::Password(Password {
        identifier: UserIdentifier::from(house_user.to_owned()),
        password: password.to_owned(),
        session: session.map(str::to_owned),
    })
}

#[tokio::test]
async fn closed_is_closed() {
    let house = House::new();
    let refused = house.accounts.register(&wants("alice", None)).await;
    assert!(matches!(refused, Err(RegisterError::Closed)));
    let refused = house.accounts.is_registration_token_valid("x").await;
    assert!(matches!(refused, Err(RegistrationTokenError::RegistrationClosed)));
}

#[tokio::test]
async fn an_open_server_asks_once_for_nothing() {
    let house = House::with(OPEN, Vec::new());
    let needed = ask(&house, "Alice", None).await;
    assert_eq!(needed.flows.len(), 1);
    assert_eq!(needed.flows[0].stages, [AuthType::Dummy]);
    assert!(needed.params.is_none() && needed.error.is_none() && needed.completed.is_empty());
    let auth = dummy(&needed.session);
    let Registered::Done { user, session } = house.accounts.register(&wants("Alice", Some(&auth))).await.unwrap()
    else {
        panic!("more is asked")
    };
    assert_eq!(user, "@alice:agency.test");
    assert!(house.admits(&session.unwrap()).await);
    let new = &NewSession::default();
    house.accounts.login(Credentials::Password { user: "alice", password: PASSWORD }, new).await.unwrap();
}

#[tokio::test]
async fn names_and_passwords_are_checked_before_anything_is_asked() {
    let house = House::with(OPEN, Vec::new());
    house.user("alice").await;
    let refused = house.accounts.register(&wants("alice", None)).await;
    assert!(matches!(refused, Err(RegisterError::Provision(ProvisionError::UserInUse))));
    let refused = house.accounts.register(&wants("al ice", None)).await;
    assert!(matches!(refused, Err(RegisterError::Provision(ProvisionError::InvalidUsername(_)))));
    let refused = house.accounts.register(&Register { password: Some("short"), ..wants("bob", None) }).await;
    assert!(matches!(refused, Err(RegisterError::Provision(ProvisionError::UnfitPassword(_)))));
    // A client that only asks for the stages.
    let asked = Register { username: None, password: None, ..wants("", None) };
    assert!(matches!(house.accounts.register(&asked).await, Ok(Registered::NeedMore(_))));
    // But nobody gets an account without a password.
    let skipped = AuthData::Dummy(Dummy { session: None });
    let refused = house.accounts.register(&Register { password: None, ..wants("bob", Some(&skipped)) }).await;
    assert!(matches!(refused, Err(RegisterError::NoPassword)));
}

#[tokio::test]
async fn the_server_chooses_a_name_and_may_not_log_in() {
    let house = House::with(OPEN, Vec::new());
    let auth = AuthData::Dummy(Dummy { session: None });
    let register = Register { username: None, session: None, ..wants("", Some(&auth)) };
    let Registered::Done { user, session } = house.accounts.register(&register).await.unwrap() else {
        panic!("more is asked")
    };
    assert_eq!(user.localpart().len(), 12);
    assert!(session.is_none());
    assert_eq!(house.devices.list(&user).await.unwrap(), []);
}

#[tokio::test]
async fn a_registration_whose_answer_got_lost_is_answered_again() {
    let house = House::with(OPEN, Vec::new());
    let auth = AuthData::Dummy(Dummy { session: None });
    // Without a session there is nothing to recognise it by.
    house.accounts.register(&wants("bob", Some(&auth))).await.unwrap();
    let again = house.accounts.register(&wants("bob", Some(&auth))).await;
    assert!(matches!(again, Err(RegisterError::Provision(ProvisionError::UserInUse))));

    let auth = dummy(&ask(&house, "alice", None).await.session);
    house.accounts.register(&wants("alice", Some(&auth))).await.unwrap();
    let again = house.accounts.register(&wants("alice", Some(&auth))).await.unwrap();
    assert!(matches!(again, Registered::Done { session: Some(_), .. }));
    // Another request of the same session is another request.
    let other = Register { request: Fingerprint::of(&"other"), ..wants("alice", Some(&auth)) };
    let refused = house.accounts.register(&other).await;
    assert!(matches!(refused, Err(RegisterError::Provision(ProvisionError::UserInUse))));
}

#[tokio::test]
async fn stages_are_passed_in_order_and_each_once() {
    let house = House::with(TOKEN_AND_TERMS, Vec::new());
    let new = NewRegistrationToken { token: Some("letmein".to_owned()), ..NewRegistrationToken::default() };
    house.accounts.create_registration_token(&new).await.unwrap();
    let needed = ask(&house, "alice", None).await;
    let id = &needed.session;
    assert_eq!(needed.flows[0].stages, [AuthType::RegistrationToken, AuthType::Terms]);
    let params: serde_json::Value = serde_json::from_str(needed.params.unwrap().get()).unwrap();
    let privacy = json!({ "version": "1", "en": { "name": "Privacy", "url": "https://agency.test/privacy" } });
    assert_eq!(params, json!({ "m.login.terms": { "policies": { "privacy": privacy } } }));

    let early = ask(&house, "alice", Some(&terms(id))).await;
    assert_eq!((early.error, early.completed.len()), (Some(StageError::NotOffered), 0));
    let wrong = ask(&house, "alice", Some(&token("wrong", id))).await;
    assert_eq!(wrong.error, Some(StageError::InvalidRegistrationToken));
    let foreign = ask(&house, "alice", Some(&dummy(id))).await;
    assert_eq!(foreign.error, Some(StageError::NotOffered));
    for _ in 0..2 {
        let half = ask(&house, "alice", Some(&token("letmein", id))).await;
        assert_eq!((half.error, half.completed, &half.session), (None, vec![AuthType::RegistrationToken], id));
    }
    let only_session = AuthData::fallback_acknowledgement(id.clone());
    assert_eq!(ask(&house, "alice", Some(&only_session)).await.completed, [AuthType::RegistrationToken]);

    let done = house.accounts.register(&wants("alice", Some(&terms(id)))).await.unwrap();
    let Registered::Done { user, .. } = done else { panic!("more is asked") };
    let consent = house.base.view().get(&CONSENT, &(user, "privacy".to_owned())).await.unwrap();
    assert_eq!(consent.unwrap().version, "1");
    let listed = house.accounts.list_registration_tokens(None).await.unwrap();
    assert_eq!((listed[0].stored.completed, listed[0].pending), (1, 0));
}

#[tokio::test]
async fn a_token_for_one_lets_in_one() {
    let house = House::with("[registration]\nmode = \"token\"\n", Vec::new());
    let new = NewRegistrationToken { uses_allowed: Some(1), ..NewRegistrationToken::default() };
    let text = house.accounts.create_registration_token(&new).await.unwrap().token;
    assert!(house.accounts.is_registration_token_valid(&text).await.unwrap());
    let id = ask(&house, "alice", None).await.session;
    house.accounts.register(&wants("alice", Some(&token(&text, &id)))).await.unwrap();
    assert!(!house.accounts.is_registration_token_valid(&text).await.unwrap());
    let refused = ask(&house, "bob", Some(&token(&text, &ask(&house, "bob", None).await.session))).await;
    assert_eq!(refused.error, Some(StageError::InvalidRegistrationToken));
}

#[tokio::test]
async fn a_pending_use_counts_until_its_time_is_over() {
    let house = House::with(TOKEN_AND_TERMS, Vec::new());
    let new = NewRegistrationToken { uses_allowed: Some(1), ..NewRegistrationToken::default() };
    let text = house.accounts.create_registration_token(&new).await.unwrap().token;
    ask(&house, "alice", Some(&token(&text, &ask(&house, "alice", None).await.session))).await;
    assert!(!house.accounts.is_registration_token_valid(&text).await.unwrap());
    assert_eq!(house.accounts.list_registration_tokens(None).await.unwrap()[0].pending, 1);
    house.pass_ms(900_000);
    assert!(house.accounts.is_registration_token_valid(&text).await.unwrap());
}

#[tokio::test]
async fn tokens_expire_are_listed_and_removed() {
    let house = House::with("[registration]\nmode = \"token\"\n", Vec::new());
    let expires_ms = Some(house.base.clock.now_ms() + 10);
    let new = |name: &str| NewRegistrationToken { token: Some(name.to_owned()), uses_allowed: None, expires_ms };
    for name in ["b", "a"] {
        house.accounts.create_registration_token(&new(name)).await.unwrap();
    }
    let exists = house.accounts.create_registration_token(&new("a")).await;
    assert!(matches!(exists, Err(RegistrationTokenError::Exists)));
    for bad in ["", "a b", "ä", &"a".repeat(65)] {
        let refused = house.accounts.create_registration_token(&new(bad)).await;
        assert!(matches!(refused, Err(RegistrationTokenError::Invalid)), "{bad}");
    }
    house.accounts.create_registration_token(&new(&"c".repeat(64))).await.unwrap();
    let names = |infos: Vec<crate::accounts::RegistrationTokenInfo>| {
        infos.into_iter().map(|info| info.token[..1].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(house.accounts.list_registration_tokens(None).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(names(house.accounts.list_registration_tokens(Some("a")).await.unwrap()), ["b", "c"]);
    assert!(house.accounts.is_registration_token_valid("a").await.unwrap());
    house.pass_ms(10);
    assert!(!house.accounts.is_registration_token_valid("a").await.unwrap());
    house.accounts.delete_registration_token("a").await.unwrap();
    let gone = house.accounts.delete_registration_token("a").await;
    assert!(matches!(gone, Err(RegistrationTokenError::NotFound)));
}

#[tokio::test]
async fn an_unknown_session_begins_anew() {
    let house = House::with(OPEN, Vec::new());
    let anew = ask(&house, "alice", Some(&dummy("unknown"))).await;
    assert_eq!(anew.error, Some(StageError::UnknownSession));
    let expired = ask(&house, "alice", None).await.session;
    house.pass_ms(900_000);
    let anew = ask(&house, "alice", Some(&dummy(&expired))).await;
    assert_eq!(anew.error, Some(StageError::UnknownSession));
    assert_ne!(anew.session, expired);
}

#[tokio::test]
async fn a_confirmation_is_for_one_request_of_one_caller() {
    let house = House::new();
    let (alice, bob) = (house.user("alice").await, house.user("bob").await);
    let phone = device_id!("PHONE");
    let asked = Confirmation {
        purpose: Purpose::DeleteDevices,
        caller: Some((&alice, phone)),
        request: Fingerprint::of(&["A"]),
        auth: None,
    };
    let Outcome::NeedMore(needed) = house.accounts.confirm(asked).await.unwrap() else { panic!("nothing is asked") };
    assert_eq!(needed.flows[0].stages, [AuthType::Password]);
    let session = Some(needed.session.as_str());
    let right = password(&alice, PASSWORD, session);
    let confirmed = Confirmation { auth: Some(&right), ..asked };
    for changed in [
        Confirmation { request: Fingerprint::of(&["B"]), ..confirmed },
        Confirmation { purpose: Purpose::UploadSigningKeys, ..confirmed },
        Confirmation { caller: Some((&bob, phone)), ..confirmed },
        Confirmation { caller: Some((&alice, device_id!("OTHER"))), ..confirmed },
        Confirmation { caller: None, ..confirmed },
    ] {
        assert!(matches!(house.accounts.confirm(changed).await, Err(UiaError::Changed)));
    }
    for wrong in [password(&alice, "wrong horse", session), password(&bob, PASSWORD, session)] {
        let outcome = house.accounts.confirm(Confirmation { auth: Some(&wrong), ..asked }).await.unwrap();
        assert!(matches!(outcome, Outcome::NeedMore(Needed { error: Some(StageError::WrongPassword), .. })));
    }
    for _ in 0..2 {
        let Outcome::Proceed(proof) = house.accounts.confirm(confirmed).await.unwrap() else { panic!("more is asked") };
        assert_eq!(proof.user.as_ref(), Some(&alice));
    }
    assert!(matches!(
        house.accounts.confirm(Confirmation { request: Fingerprint::of(&["B"]), ..confirmed }).await,
        Err(UiaError::Changed)
    ));
}

#[tokio::test]
async fn each_login_token_is_confirmed_anew() {
    let house = House::new();
    let alice = house.user("alice").await;
    let asked = Confirmation {
        purpose: Purpose::LoginToken,
        caller: Some((&alice, device_id!("PHONE"))),
        request: Fingerprint::of(&()),
        auth: None,
    };
    let Outcome::NeedMore(needed) = house.accounts.confirm(asked).await.unwrap() else { panic!("nothing is asked") };
    let right = password(&alice, PASSWORD, Some(&needed.session));
    let confirmed = Confirmation { auth: Some(&right), ..asked };
    assert!(matches!(house.accounts.confirm(confirmed).await.unwrap(), Outcome::Proceed(_)));
    let again = house.accounts.confirm(confirmed).await.unwrap();
    assert!(matches!(again, Outcome::NeedMore(Needed { error: Some(StageError::UnknownSession), .. })));
}

#[tokio::test]
async fn without_a_token_the_password_says_who_it_is() {
    let house = House::new();
    let alice = house.user("alice").await;
    let right = password(&alice, PASSWORD, None);
    let confirmation = Confirmation {
        purpose: Purpose::ChangePassword,
        caller: None,
        request: Fingerprint::of(&"new"),
        auth: Some(&right),
    };
    let Outcome::Proceed(proof) = house.accounts.confirm(confirmation).await.unwrap() else { panic!("more is asked") };
    assert_eq!(proof.user, Some(alice.clone()));
    for _ in 0..10 {
        let wrong = password(&alice, "wrong horse", None);
        house.accounts.confirm(Confirmation { auth: Some(&wrong), ..confirmation }).await.unwrap();
    }
    assert!(matches!(house.accounts.confirm(confirmation).await, Err(UiaError::LimitExceeded { .. })));
}
