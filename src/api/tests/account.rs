//! `/account`.

use std::time::Duration;

use serde_json::json;

use super::{Home, ask, fixture::password_stage, refused};

const PASSWORD: &str = "POST /_matrix/client/v3/account/password";
const DEACTIVATE: &str = "POST /_matrix/client/v3/account/deactivate";
const WHOAMI: &str = "GET /_matrix/client/v3/account/whoami";

#[tokio::test]
async fn a_new_password_is_confirmed_with_the_old_one() {
    let home = Home::open().await;
    let (phone, tablet) = (home.user("alice").await, home.device("alice", "TABLET").await);
    let body = json!({ "new_password": "another-password" });
    let asked = home.send_as(&phone, PASSWORD, body.clone()).await;
    assert_eq!((asked.status, &asked.body["flows"]), (401, &json!([{ "stages": ["m.login.password"] }])));
    let mut wrong = body.clone();
    wrong["auth"] = password_stage(&phone, &asked.body["session"], "wrong");
    let answer = home.send_as(&phone, PASSWORD, wrong).await;
    assert_eq!(refused(&answer), (401, "M_FORBIDDEN"));
    assert!(answer.body["flows"].is_array() && answer.body["error"].is_string(), "{}", answer.body);
    assert_eq!(home.confirm_as(&phone, PASSWORD, body).await.body, json!({}));
    assert_eq!(home.ask_as(&phone, WHOAMI, "").await.status, 200);
    assert_eq!(refused(&home.ask_as(&tablet, WHOAMI, "").await), (401, "M_UNKNOWN_TOKEN"));
}

#[tokio::test]
async fn a_password_may_name_its_user_in_the_older_field() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let asked = home.send_as(&alice, PASSWORD, json!({ "new_password": "another-password" })).await.body;
    let older = |field: &str, value: &str| {
        let mut auth = json!({ "type": "m.login.password", "session": asked["session"], "password": "pass-word" });
        auth[field] = json!(value);
        json!({ "new_password": "another-password", "auth": auth })
    };
    assert_eq!(refused(&home.send_as(&alice, PASSWORD, older("user", &bob.id)).await), (401, "M_FORBIDDEN"));
    let mut by_address = older("medium", "email");
    by_address["auth"]["address"] = json!("alice@example.org");
    assert_eq!(refused(&home.send_as(&alice, PASSWORD, by_address).await), (403, "M_FORBIDDEN"));
    assert_eq!(refused(&home.send_as(&alice, PASSWORD, older("username", &alice.id)).await), (400, "M_BAD_JSON"));
    let mut right = older("user", &alice.id);
    right["auth"]["identifier"] = json!(null);
    assert_eq!(home.send_as(&alice, PASSWORD, right).await.body, json!({}));
}

#[tokio::test]
async fn the_passwords_of_others_cannot_be_tried() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    home.user("carol").await;
    home.app.server.deactivate(ruma::user_id!("@carol:test"), false).await.unwrap();
    let line = "DELETE /_matrix/client/v3/devices/PHONE";
    let asked = home.send_as(&alice, line, json!({})).await.body;
    let carol = super::Person { id: "@carol:test".to_owned(), ..bob.clone() };
    for (person, password) in [(&bob, "pass-word"), (&carol, "pass-word")] {
        let body = json!({ "auth": password_stage(person, &asked["session"], password) });
        let answer = home.send_as(&alice, line, body).await;
        assert_eq!(refused(&answer), (401, "M_FORBIDDEN"), "{}", person.id);
        assert!(answer.body["flows"].is_array());
    }
    // Nor does it make them wait.
    for _ in 0..20 {
        home.send_as(&alice, line, json!({ "auth": password_stage(&bob, &asked["session"], "wrong") })).await;
    }
    home.device("bob", "TABLET").await;
}

#[tokio::test]
async fn a_third_party_identifier_is_nobodys() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    for identifier in [
        json!({ "type": "m.id.thirdparty", "medium": "email", "address": "alice@example.org" }),
        json!({ "type": "m.id.phone", "country": "GB", "phone": "07700900001" }),
    ] {
        let auth = json!({ "type": "m.login.password", "identifier": identifier, "password": "pass-word" });
        let answer = home.send_as(&alice, "DELETE /_matrix/client/v3/devices/PHONE", json!({ "auth": auth })).await;
        assert_eq!(refused(&answer), (403, "M_FORBIDDEN"), "{identifier}");
    }
}

#[tokio::test]
async fn what_was_confirmed_for_one_request_does_not_serve_another() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let asked = home.send_as(&alice, PASSWORD, json!({ "new_password": "another-password" })).await.body;
    let auth = password_stage(&alice, &asked["session"], "pass-word");
    let other = home.send_as(&alice, PASSWORD, json!({ "new_password": "a-third-one", "auth": auth })).await;
    assert_eq!(refused(&other), (403, "M_FORBIDDEN"));
    assert_eq!(refused(&home.send_as(&alice, DEACTIVATE, json!({ "auth": auth })).await), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn a_password_that_does_not_do_is_refused_before_the_confirmation() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let answer = home.send_as(&alice, PASSWORD, json!({ "new_password": "short" })).await;
    assert_eq!(refused(&answer), (400, "M_WEAK_PASSWORD"));
    assert_eq!(refused(&home.send_as(&alice, PASSWORD, json!({})).await), (400, "M_BAD_JSON"));
}

#[tokio::test]
async fn without_a_token_the_password_says_whose_it_is() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let body = json!({ "new_password": "another-password" });
    let asked = home.send(PASSWORD, body.clone()).await;
    assert_eq!(asked.status, 401);
    let mut body = body;
    body["auth"] = password_stage(&alice, &asked.body["session"], "pass-word");
    assert_eq!(home.send(PASSWORD, body).await.status, 200);
    assert_eq!(refused(&home.ask_as(&alice, WHOAMI, "").await), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(home.ask_as(&bob, WHOAMI, "").await.status, 200);
}

#[tokio::test]
async fn a_deactivated_account_is_gone() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let answer = home.confirm_as(&alice, DEACTIVATE, json!({ "erase": true })).await;
    assert_eq!(answer.body, json!({ "id_server_unbind_result": "success" }));
    assert_eq!(refused(&home.ask_as(&alice, WHOAMI, "").await), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(refused(&home.ask("GET /_matrix/client/v3/profile/@alice:test", "").await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn who_hangs_up_has_begun_what_goes_on() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let mut rooms = Vec::new();
    for _ in 0..4 {
        let made = home.send_as(&bob, "POST /_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).await;
        let path = format!("/_matrix/client/v3/rooms/{}", made.body["room_id"].as_str().unwrap());
        assert_eq!(home.send_as(&alice, &format!("POST {path}/join"), json!({})).await.status, 200);
        rooms.push(path);
    }
    let asked = home.send_as(&alice, DEACTIVATE, json!({})).await;
    let body = json!({ "auth": password_stage(&alice, &asked.body["session"], "pass-word") });
    // As a proxy hangs up when its client does: once the account is gone, and before the rooms are left.
    let gone = async {
        while home.ask_as(&alice, WHOAMI, "").await.status == 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = gone => {}
        _ = home.send_as(&alice, DEACTIVATE, body) => {}
    }
    let left = async {
        for path in rooms {
            loop {
                let members = home.ask_as(&bob, &format!("GET {path}/joined_members"), "").await.body;
                if members["joined"].get(&alice.id).is_none() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), left).await.expect("the rooms are left");
    tokio::time::timeout(Duration::from_secs(20), home.app.finished()).await.expect("nothing is left to do");
}

#[tokio::test]
async fn an_operator_may_keep_passwords_and_accounts_to_himself() {
    let home = Home::with("[server]\nname = \"test\"\n[accounts]\nchange_password = false\ndeactivate = false\n").await;
    let alice = home.user("alice").await;
    let body = json!({ "new_password": "another-password" });
    assert_eq!(refused(&home.send_as(&alice, PASSWORD, body).await), (403, "M_FORBIDDEN"));
    assert_eq!(refused(&home.send_as(&alice, DEACTIVATE, json!({})).await), (403, "M_FORBIDDEN"));
    let capabilities = home.ask_as(&alice, "GET /_matrix/client/v3/capabilities", "").await.body;
    assert_eq!(capabilities["capabilities"]["m.change_password"]["enabled"], false);
}

#[tokio::test]
async fn whoami_needs_a_token() {
    let home = Home::open().await;
    assert_eq!(refused(&home.ask(WHOAMI, "").await), (401, "M_MISSING_TOKEN"));
    assert_eq!(refused(&ask(&home.router, Some("wrong"), WHOAMI, "").await), (401, "M_UNKNOWN_TOKEN"));
}

#[tokio::test]
async fn there_are_no_third_party_identifiers() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let list = home.ask_as(&alice, "GET /_matrix/client/v3/account/3pid", "").await;
    assert_eq!(list.body, json!({ "threepids": [] }));
    let credentials = json!({ "client_secret": "s", "sid": "1", "id_server": "id.test", "id_access_token": "t" });
    for (line, status, code) in [
        ("POST /_matrix/client/v3/account/3pid/add", 403, "M_THREEPID_AUTH_FAILED"),
        ("POST /_matrix/client/v3/account/3pid/bind", 403, "M_SERVER_NOT_TRUSTED"),
    ] {
        assert_eq!(refused(&home.send_as(&alice, line, credentials.clone()).await), (status, code), "{line}");
    }
    let mut adding = credentials.clone();
    for auth in [json!({}), json!({ "type": "m.login.password", "user": "alice", "password": "p", "session": "s" })] {
        adding["auth"] = auth;
        let answer = home.send_as(&alice, "POST /_matrix/client/v3/account/3pid/add", adding.clone()).await;
        assert_eq!(refused(&answer), (403, "M_THREEPID_AUTH_FAILED"), "{adding}");
    }
    for (body, status, code) in [
        (json!({ "three_pid_creds": credentials }), 403, "M_THREEPID_AUTH_FAILED"),
        (json!({ "three_pid_creds": { "client_secret": "s", "sid": "1" } }), 403, "M_THREEPID_AUTH_FAILED"),
        (json!({ "three_pid_creds": { "client_secret": "s" } }), 400, "M_BAD_JSON"),
        (json!({ "three_pid_creds": "s" }), 400, "M_BAD_JSON"),
        (json!({}), 400, "M_BAD_JSON"),
    ] {
        for version in ["v3", "r0"] {
            let line = format!("POST /_matrix/client/{version}/account/3pid");
            assert_eq!(refused(&home.send_as(&alice, &line, body.clone()).await), (status, code), "{line} {body}");
        }
    }
    let address = json!({ "medium": "email", "address": "alice@example.org" });
    for line in ["POST /_matrix/client/v3/account/3pid/delete", "POST /_matrix/client/v3/account/3pid/unbind"] {
        let gone = home.send_as(&alice, line, address.clone()).await;
        assert_eq!(gone.body, json!({ "id_server_unbind_result": "no-support" }), "{line}");
    }
    let proof = json!({
        "client_secret": "s", "send_attempt": 1, "email": "alice@example.org", "country": "GB", "phone_number": "1"
    });
    for (path, status, code) in [
        ("account/3pid", 400, "M_THREEPID_MEDIUM_NOT_SUPPORTED"),
        ("account/password", 400, "M_THREEPID_NOT_FOUND"),
        ("register", 403, "M_THREEPID_DENIED"),
    ] {
        for medium in ["email", "msisdn"] {
            let line = format!("POST /_matrix/client/v3/{path}/{medium}/requestToken");
            assert_eq!(refused(&home.send(&line, proof.clone()).await), (status, code), "{line}");
        }
    }
}
