//! The pages that a server shows where a client knows no other way. Client-server API, "Fallback" of user-interactive
//! authentication and "Login Fallback".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{Options, Registration, SERVER_NAME};
use depesche_spec_tests::user::PASSWORD;

#[tokio::test]
async fn terms_are_agreed_to_on_a_page() {
    let server = Server::start(Options { registration: Registration::Terms, ..Options::default() });
    let client = server.client();
    let mut body = json!({ "username": "alice", "password": PASSWORD });
    let first = client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await.status(401);
    let session = first["session"].as_str().expect("a session");
    let page = client.get("/_matrix/client/v3/auth/{authType}/fallback/web", &["m.login.terms"]);
    let page = page.query(&[("session", session)]).await;
    assert!(page.status == 200 && page.header("Content-Type").starts_with("text/html"), "{page}");
    assert!(page.text().contains("<form") && page.text().contains(session), "{page}");
    let request = client.post("/_matrix/client/v3/auth/{authType}/fallback/web", &["m.login.terms"]);
    let form = format!("session={session}").into_bytes();
    let done = request.raw("application/x-www-form-urlencoded", form).await;
    assert!(done.status == 200 && done.text().contains("onAuthDone"), "{done}");
    // A double click sends two, and people see the answer to the second.
    let request = client.post("/_matrix/client/v3/auth/{authType}/fallback/web", &["m.login.terms"]);
    let again = request.raw("application/x-www-form-urlencoded", format!("session={session}").into_bytes()).await;
    assert!(again.status == 200 && again.text().contains("onAuthDone"), "{again}");
    body["auth"] = json!({ "session": session });
    let mut answer = client.post("/_matrix/client/v3/register", &[]).json(body.clone()).await;
    if answer.status == 401 {
        // A server may ask for the dummy stage besides.
        body["auth"] = json!({ "type": "m.login.dummy", "session": session });
        answer = client.post("/_matrix/client/v3/register", &[]).json(body).await;
    }
    assert_eq!(answer.ok()["user_id"], format!("@alice:{SERVER_NAME}"));
}

#[tokio::test]
async fn the_login_is_a_page_too() {
    let page = shared().client().get("/_matrix/static/client/login/", &[]).await;
    assert!(page.status == 200 && page.header("Content-Type").starts_with("text/html"), "{page}");
    assert!(page.text().to_lowercase().contains("password"), "{page}");
}
