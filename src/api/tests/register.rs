//! `/register`.

use depesche_server::accounts::NewRegistrationToken;
use serde_json::{Value, json};

use super::{Home, ask, refused};

const REGISTER: &str = "POST /_matrix/client/v3/register";

async fn home(registration: &str) -> Home {
    Home::with(&format!("[server]\nname = \"test\"\n[registration]\n{registration}\n")).await
}

fn alice() -> Value {
    json!({ "username": "alice", "password": "pass-word" })
}

#[tokio::test]
async fn registration_is_closed_unless_opened() {
    let home = home("").await;
    assert_eq!(refused(&home.send(REGISTER, alice()).await), (403, "M_FORBIDDEN"));
    let validity = "GET /_matrix/client/v1/register/m.login.registration_token/validity?token=a";
    assert_eq!(refused(&home.ask(validity, "").await), (403, "M_FORBIDDEN"));
    let available = "GET /_matrix/client/v3/register/available?username=alice";
    assert_eq!(refused(&home.ask(available, "").await), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn who_comes_back_from_a_page_has_nothing_but_the_session() {
    let home = home("mode = \"open\"").await;
    let mut body = alice();
    body["device_id"] = json!("PHONE");
    let asked = home.send(REGISTER, body).await.body;
    let page = "POST /_matrix/client/v3/auth/m.login.dummy/fallback/web";
    let form = format!("session={}", asked["session"].as_str().unwrap());
    let sent = http::Request::post(page.split_once(' ').unwrap().1).body(axum::body::Body::from(form)).unwrap();
    let sent = tower::ServiceExt::oneshot(home.router.clone(), sent).await.unwrap();
    assert_eq!(sent.status(), 200);
    let back = json!({ "auth": { "session": asked["session"] } });
    for _ in 0..2 {
        let made = home.send(REGISTER, back.clone()).await;
        assert_eq!((made.status, &made.body["user_id"]), (200, &json!("@alice:test")), "{}", made.body);
        assert_eq!(made.body["device_id"], "PHONE");
        assert!(made.body["access_token"].is_string());
    }
}

#[tokio::test]
async fn an_open_registration_has_one_stage() {
    let home = home("mode = \"open\"").await;
    let asked = home.send(REGISTER, alice()).await;
    assert_eq!((asked.status, &asked.body["flows"]), (401, &json!([{ "stages": ["m.login.dummy"] }])));
    assert_eq!(asked.body["params"], json!({}));
    assert!(asked.body.get("errcode").is_none() && asked.body.get("completed").is_none(), "{}", asked.body);
    let mut body = alice();
    body["auth"] = json!({ "type": "m.login.dummy", "session": asked.body["session"] });
    let made = home.send(REGISTER, body).await;
    assert_eq!((made.status, &made.body["user_id"]), (200, &json!("@alice:test")));
    let whoami = "GET /_matrix/client/v3/account/whoami";
    let whoami = ask(&home.router, made.body["access_token"].as_str(), whoami, "").await;
    assert_eq!(whoami.body["device_id"], made.body["device_id"]);
}

#[tokio::test]
async fn a_registration_may_leave_out_the_login() {
    let home = home("mode = \"open\"").await;
    let mut body = alice();
    body["inhibit_login"] = json!(true);
    body["auth"] = json!({ "type": "m.login.dummy" });
    assert_eq!(home.send(REGISTER, body).await.body, json!({ "user_id": "@alice:test" }));
}

#[tokio::test]
async fn what_cannot_be_registered_is_said_before_any_stage() {
    let home = home("mode = \"open\"").await;
    home.user("bob").await;
    let service = json!({ "type": "m.login.application_service", "username": "bot" });
    for (body, expected) in [
        (json!({ "username": "bob" }), (400, "M_USER_IN_USE")),
        (json!({ "username": "al ice" }), (400, "M_INVALID_USERNAME")),
        (json!({ "username": "carol", "password": "short" }), (400, "M_WEAK_PASSWORD")),
        (service, (400, "M_APPSERVICE_LOGIN_UNSUPPORTED")),
    ] {
        assert_eq!(refused(&home.send(REGISTER, body.clone()).await), expected, "{body}");
    }
    let service =
        json!({ "type": "m.login.application_service", "username": "bot", "inhibit_login": true }).to_string();
    assert_eq!(refused(&home.ask(REGISTER, service.clone()).await), (401, "M_MISSING_TOKEN"));
    assert_eq!(refused(&ask(&home.router, Some("no service's"), REGISTER, service).await), (401, "M_UNKNOWN_TOKEN"));
    let guest = home.send(&format!("{REGISTER}?kind=guest"), json!({})).await;
    assert_eq!(refused(&guest), (403, "M_FORBIDDEN"));
    let robot = home.send(&format!("{REGISTER}?kind=robot"), alice()).await;
    assert_eq!(refused(&robot), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn a_name_is_available_or_not() {
    let home = home("mode = \"open\"").await;
    home.user("bob").await;
    let ask = async |query: &str| home.ask(&format!("GET /_matrix/client/v3/register/available{query}"), "").await;
    assert_eq!(ask("?username=alice").await.body, json!({ "available": true }));
    assert_eq!(refused(&ask("?username=bob").await), (400, "M_USER_IN_USE"));
    assert_eq!(refused(&ask("?username=b%20b").await), (400, "M_INVALID_USERNAME"));
    assert_eq!(refused(&ask("").await), (400, "M_MISSING_PARAM"));
}

#[tokio::test]
async fn a_registration_token_lets_in_as_often_as_it_says() {
    let home = home("mode = \"token\"").await;
    let new = NewRegistrationToken { token: Some("welcome".into()), uses_allowed: Some(1), expires_ms: None };
    home.app.server.accounts.create_registration_token(&new).await.unwrap();
    let validity = "GET /_matrix/client/v1/register/m.login.registration_token/validity?token=welcome";
    assert_eq!(home.ask(validity, "").await.body, json!({ "valid": true }));
    let asked = home.send(REGISTER, alice()).await.body;
    let mut body = alice();
    body["auth"] = json!({ "type": "m.login.registration_token", "session": asked["session"], "token": "wrong" });
    let wrong = home.send(REGISTER, body.clone()).await;
    assert_eq!(refused(&wrong), (401, "M_UNAUTHORIZED"));
    assert_eq!(wrong.body["session"], asked["session"]);
    body["auth"]["token"] = json!("welcome");
    assert_eq!(home.send(REGISTER, body).await.status, 200);
    assert_eq!(home.ask(validity, "").await.body, json!({ "valid": false }));
}

#[tokio::test]
async fn a_session_that_is_not_known_begins_anew() {
    let home = home("mode = \"open\"").await;
    let mut body = alice();
    body["auth"] = json!({ "type": "m.login.dummy", "session": "nothing" });
    let answer = home.send(REGISTER, body).await;
    assert_eq!(refused(&answer), (401, "M_UNKNOWN"));
    assert!(answer.body["session"].is_string() && answer.body["session"] != "nothing", "{}", answer.body);
}

#[tokio::test]
async fn terms_are_shown_and_each_stage_is_counted() {
    let terms =
        "[[registration.terms]]\nid = \"privacy\"\nversion = \"1\"\nname = \"Privacy\"\nurl = \"https://test/p\"";
    let home = home(&format!("mode = \"token\"\n{terms}")).await;
    let new = NewRegistrationToken { token: Some("welcome".into()), ..NewRegistrationToken::default() };
    home.app.server.accounts.create_registration_token(&new).await.unwrap();
    let asked = home.send(REGISTER, alice()).await.body;
    let policy = &asked["params"]["m.login.terms"]["policies"]["privacy"];
    assert_eq!(policy["en"], json!({ "name": "Privacy", "url": "https://test/p" }));
    let mut body = alice();
    body["auth"] = json!({ "type": "m.login.registration_token", "session": asked["session"], "token": "welcome" });
    let second = home.send(REGISTER, body.clone()).await;
    assert_eq!((second.status, &second.body["completed"]), (401, &json!(["m.login.registration_token"])));
    body["auth"] = json!({ "type": "m.login.terms", "session": asked["session"] });
    assert_eq!(home.send(REGISTER, body).await.status, 200);
}
