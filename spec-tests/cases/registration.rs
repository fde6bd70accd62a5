//! Registration and its user-interactive authentication. Client-server API, "Account registration", "User-Interactive
//! Authentication API", "Token-authenticated registration", "Terms of service at registration".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{Options, Registration, SERVER_NAME, unique};
use depesche_spec_tests::user::PASSWORD;

fn account(name: &str) -> Value {
    json!({ "username": name, "password": PASSWORD })
}

#[tokio::test]
async fn registration_asks_for_a_stage_first() {
    let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(account(&unique("alice"))).await;
    let body = answer.status(401);
    assert!(body["session"].is_string(), "{body}");
    let flows = body["flows"].as_array().expect("flows");
    assert!(flows.iter().any(|flow| flow["stages"] == json!(["m.login.dummy"])), "{body}");
    assert!(body["params"].is_object(), "{body}");
}

#[tokio::test]
async fn registration_goes_on_in_its_session() {
    let name = unique("alice");
    let client = shared().client();
    let first = client.post("/_matrix/client/v3/register", &[]).json(account(&name)).await.status(401);
    let mut body = account(&name);
    body["auth"] = json!({ "type": "m.login.dummy", "session": first["session"] });
    let answer = client.post("/_matrix/client/v3/register", &[]).json(body).await.ok();
    assert_eq!(answer["user_id"], format!("@{name}:{SERVER_NAME}"));
    assert!(answer["access_token"].is_string() && answer["device_id"].is_string(), "{answer}");
}

#[tokio::test]
async fn registration_with_an_unknown_session_is_refused() {
    let mut body = account(&unique("alice"));
    body["auth"] = json!({ "type": "m.login.dummy", "session": "nothing" });
    let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(body).await;
    differs(
        "client-server-api#user-interactive-authentication-api",
        || assert_eq!(answer.clone().status(401)["flows"].as_array().map(Vec::is_empty), Some(false)),
        || drop(answer.clone().error(400, "M_UNKNOWN")),
    );
}

#[tokio::test]
async fn registration_can_leave_out_the_login() {
    let mut body = account(&unique("alice"));
    body["inhibit_login"] = json!(true);
    body["auth"] = json!({ "type": "m.login.dummy" });
    let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(body).await.ok();
    assert!(answer["user_id"].is_string(), "{answer}");
    assert!(answer["access_token"].is_null() && answer["device_id"].is_null(), "{answer}");
}

#[tokio::test]
async fn nobody_is_registered_by_an_application_service_that_is_none() {
    let body = json!({ "type": "m.login.application_service", "username": unique("bot"), "inhibit_login": true });
    let register = || shared().client().post("/_matrix/client/v3/register", &[]).json(body.clone());
    let answer = register().await;
    differs(
        "application-service-api#server-admin-style-permissions",
        || drop(answer.clone().error(401, "M_MISSING_TOKEN")),
        || drop(answer.clone().error(400, "M_UNKNOWN")),
    );
    register().header("Authorization", "Bearer nobody's").await.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn registration_takes_the_device_that_the_client_names() {
    let mut body = account(&unique("alice"));
    body["device_id"] = json!("MYDEVICE");
    body["initial_device_display_name"] = json!("Telephone");
    body["auth"] = json!({ "type": "m.login.dummy" });
    let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(body).await.ok();
    assert_eq!(answer["device_id"], "MYDEVICE");
    let alice = User::from_answer(&shared().client(), &answer);
    let device = alice.get("/_matrix/client/v3/devices/{deviceId}", &["MYDEVICE"]).await.ok();
    assert_eq!(device["display_name"], "Telephone");
}

#[tokio::test]
async fn registration_makes_up_a_name_where_none_is_asked_for() {
    let body = json!({ "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(body).await.ok();
    let id = answer["user_id"].as_str().expect("a user id");
    assert!(id.starts_with('@') && id.ends_with(&format!(":{SERVER_NAME}")), "{id}");
}

#[tokio::test]
async fn a_name_in_use_is_refused_before_any_stage() {
    let alice = shared().user("alice").await;
    let body = account(alice.localpart());
    shared().client().post("/_matrix/client/v3/register", &[]).json(body).await.error(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn a_name_of_two_sessions_is_given_once() {
    let name = unique("alice");
    let client = shared().client();
    let mut first = account(&name);
    first["auth"] = json!({ "type": "m.login.dummy" });
    client.post("/_matrix/client/v3/register", &[]).json(first.clone()).await.ok();
    client.post("/_matrix/client/v3/register", &[]).json(first).await.error(400, "M_USER_IN_USE");
}

#[tokio::test]
async fn names_outside_the_grammar_are_invalid() {
    let long = "a".repeat(250);
    for name in ["al ice", "alice!", "älice", "al:ice", "@", long.as_str()] {
        let mut body = account(name);
        body["auth"] = json!({ "type": "m.login.dummy" });
        let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(body).await;
        answer.error(400, "M_INVALID_USERNAME");
    }
}

#[tokio::test]
async fn capitals_in_a_name_become_small() {
    let name = unique("alice");
    let mut body = account(&name.to_uppercase());
    body["auth"] = json!({ "type": "m.login.dummy" });
    let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(body).await.ok();
    assert_eq!(answer["user_id"], format!("@{name}:{SERVER_NAME}"));
}

#[tokio::test]
async fn a_username_that_is_not_a_string_is_refused() {
    let body = json!({ "username": 7, "password": PASSWORD, "auth": { "type": "m.login.dummy" } });
    let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(body).await;
    differs(
        "client-server-api#post_matrixclientv3register",
        || answer.clone().error_in(400, &["M_INVALID_USERNAME", "M_BAD_JSON"]),
        || answer.clone().error(400, "M_UNKNOWN"),
    );
}

#[tokio::test]
async fn a_free_name_is_available_and_others_are_not() {
    let alice = shared().user("alice").await;
    let client = shared().client();
    let free = unique("free");
    let ask = |name| client.get("/_matrix/client/v3/register/available", &[]).query(&[("username", name)]);
    assert_eq!(ask(&free).await.ok()["available"], true);
    ask(alice.localpart()).await.error(400, "M_USER_IN_USE");
    ask("not/a name").await.error(400, "M_INVALID_USERNAME");
}

#[tokio::test]
async fn the_availability_of_no_name_is_refused() {
    let answer = shared().client().get("/_matrix/client/v3/register/available", &[]).await;
    answer.error_in(400, &["M_MISSING_PARAM", "M_INVALID_PARAM"]);
}

#[tokio::test]
async fn guests_are_refused() {
    let request = shared().client().post("/_matrix/client/v3/register", &[]).query(&[("kind", "guest")]);
    let answer = request.json(json!({})).await;
    answer.status(403);
}

#[tokio::test]
async fn an_unknown_kind_of_account_is_refused() {
    let request = shared().client().post("/_matrix/client/v3/register", &[]).query(&[("kind", "robot")]);
    let answer = request.json(account(&unique("alice"))).await;
    answer.error_in(400, &["M_UNKNOWN", "M_INVALID_PARAM", "M_BAD_JSON", "M_UNRECOGNIZED"]);
}

#[tokio::test]
async fn closed_registration_creates_nobody() {
    let server = Server::start(Options { registration: Registration::Closed, ..Options::default() });
    let mut body = account("alice");
    server.client().post("/_matrix/client/v3/register", &[]).json(body.clone()).await.error(403, "M_FORBIDDEN");
    body["auth"] = json!({ "type": "m.login.dummy" });
    server.client().post("/_matrix/client/v3/register", &[]).json(body).await.error(403, "M_FORBIDDEN");
    let available = server.client().get("/_matrix/client/v3/register/available", &[]);
    available.query(&[("username", "alice")]).await.error(403, "M_FORBIDDEN");
    let validity = server.client().get("/_matrix/client/v1/register/m.login.registration_token/validity", &[]);
    validity.query(&[("token", "any")]).await.error(403, "M_FORBIDDEN");
}

#[tokio::test]
async fn who_comes_back_with_the_session_alone_gets_what_was_asked_for() {
    let server = Server::start(Options { registration: Registration::Terms, ..Options::default() });
    let client = server.client();
    let first = client.post("/_matrix/client/v3/register", &[]).json(account("alice")).await.status(401);
    let stages = first["flows"][0]["stages"].as_array().expect("stages");
    for stage in stages {
        let body = json!({ "auth": { "type": stage, "session": first["session"] } });
        let answer = client.post("/_matrix/client/v3/register", &[]).json(body).await;
        if Some(stage) == stages.last() {
            assert_eq!(answer.ok()["user_id"], format!("@alice:{SERVER_NAME}"));
        } else {
            assert!(answer.status(401)["completed"].as_array().expect("completed").contains(stage));
        }
    }
}

#[tokio::test]
async fn without_open_registration_the_dummy_stage_is_not_enough() {
    let server = Server::start(Options { registration: Registration::Token, ..Options::default() });
    let client = server.client();
    let mut body = account("alice");
    let first = client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await.status(401);
    for flow in first["flows"].as_array().expect("flows") {
        assert!(flow["stages"].as_array().expect("stages").contains(&json!("m.login.registration_token")), "{first}");
    }
    body["auth"] = json!({ "type": "m.login.dummy", "session": first["session"] });
    client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await.status(401);
    body["auth"] = json!({ "type": "m.login.registration_token", "token": "wrong", "session": first["session"] });
    let refused = client.post("/_matrix/client/v3/register", &[]).json(body).await.error(401, "M_UNAUTHORIZED");
    assert_eq!(refused["session"], first["session"]);
    let validity = client.get("/_matrix/client/v1/register/m.login.registration_token/validity", &[]);
    assert_eq!(validity.query(&[("token", "wrong")]).await.ok()["valid"], false);
}

#[tokio::test]
async fn a_registration_token_makes_as_many_accounts_as_it_allows() {
    let server = Server::start(Options { registration: Registration::Token, ..Options::default() });
    let client = server.client();
    let token = server.registration_token(1).await;
    let is_valid = async || {
        let validity = client.get("/_matrix/client/v1/register/m.login.registration_token/validity", &[]);
        validity.query(&[("token", &token)]).await.ok()["valid"].clone()
    };
    assert_eq!(is_valid().await, true);
    let mut body = account("alice");
    let first = client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await.status(401);
    body["auth"] = json!({ "type": "m.login.registration_token", "token": token, "session": first["session"] });
    let mut answer = client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await;
    if answer.status == 401 {
        // A server may ask for the dummy stage besides.
        body["auth"] = json!({ "type": "m.login.dummy", "session": first["session"] });
        answer = client.post("/_matrix/client/v3/register", &[]).json(body).await;
    }
    assert_eq!(answer.ok()["user_id"], format!("@alice:{SERVER_NAME}"));
    assert_eq!(is_valid().await, false);
    let mut body = account("bob");
    let second = client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await.status(401);
    body["auth"] = json!({ "type": "m.login.registration_token", "token": token, "session": second["session"] });
    client.post("/_matrix/client/v3/register", &[]).json(body).await.error(401, "M_UNAUTHORIZED");
}

#[tokio::test]
async fn terms_are_shown_before_the_account_is_made() {
    let server = Server::start(Options { registration: Registration::Terms, ..Options::default() });
    let client = server.client();
    let mut body = account("alice");
    let first = client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await.status(401);
    let stages = first["flows"][0]["stages"].as_array().expect("stages");
    assert!(stages.contains(&json!("m.login.terms")), "{first}");
    let policies = first["params"]["m.login.terms"]["policies"].as_object().expect("policies");
    for policy in policies.values() {
        assert!(policy["version"].is_string(), "{policy}");
        assert!(policy["en"]["name"].is_string() && policy["en"]["url"].is_string(), "{policy}");
    }
    for stage in stages {
        body["auth"] = json!({ "type": stage, "session": first["session"] });
        let answer = client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await;
        if Some(stage) == stages.last() {
            assert_eq!(answer.ok()["user_id"], format!("@alice:{SERVER_NAME}"));
        } else {
            assert!(answer.status(401)["completed"].as_array().expect("completed").contains(stage));
        }
    }
}

#[tokio::test]
async fn an_account_needs_a_password() {
    let (client, name) = (shared().client(), unique("alice"));
    let body = json!({ "username": name, "auth": { "type": "m.login.dummy" } });
    let answer = client.post("/_matrix/client/v3/register", &[]).json(body).await;
    answer.error(400, "M_MISSING_PARAM");
    let available = client.get("/_matrix/client/v3/register/available", &[]);
    assert_eq!(available.query(&[("username", &name)]).await.ok()["available"], true);
}

#[tokio::test]
async fn an_empty_auth_asks_for_a_stage() {
    // The second is what matrix-nio sends first.
    for auth in [json!({}), json!({ "initial_device_display_name": "bot" })] {
        let mut body = account(&unique("alice"));
        body["auth"] = auth;
        let answer = shared().client().post("/_matrix/client/v3/register", &[]).json(body).await.status(401);
        assert!(answer["session"].is_string() && answer["flows"].is_array(), "{answer}");
    }
}
