//! The pages that the specification has a server show.

use axum::{Router, body::Body};
use depesche_server::accounts::NewRegistrationToken;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use super::Home;

const REGISTRATION: &str = "
[server]
name = \"test\"
[registration]
mode = \"token\"
[[registration.terms]]
id = \"privacy\"
version = \"1\"
name = \"Privacy <&> you\"
url = \"https://test/privacy\"
";

/// Status, headers and text.
async fn page(router: &Router, line: &str, form: &str) -> (u16, HeaderMap, String) {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path).body(Body::from(form.to_owned())).unwrap();
    let (head, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, String::from_utf8(bytes.to_vec()).unwrap())
}

fn is_a_safe_page(headers: &HeaderMap) {
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
        assert_eq!(headers[name], value);
    }
}

#[tokio::test]
async fn get_and_post_auth_fallback_web() {
    let home = Home::with(REGISTRATION).await;
    let token =
        home.app.server.accounts.create_registration_token(&NewRegistrationToken::default()).await.unwrap().token;
    let mut body = json!({ "username": "alice", "password": "pass-word" });
    let asked = home.send("POST /_matrix/client/v3/register", body.clone()).await.body;
    let session = asked["session"].as_str().unwrap();
    let (first, second) = ("m.login.registration_token", "m.login.terms");
    assert_eq!(asked["flows"][0]["stages"], json!([first, second]));
    let path = |stage: &str| format!("/_matrix/client/v3/auth/{stage}/fallback/web");
    let show = |stage: &str| format!("GET {}?session={session}", path(stage));

    let (status, headers, html) = page(&home.router, &show(first), "").await;
    assert!(status == 200 && html.contains("name=\"token\"") && html.contains(session), "{html}");
    is_a_safe_page(&headers);
    assert_eq!(page(&home.router, &show(second), "").await.0, 400, "not yet");
    let send = |stage: &str| format!("POST {}", path(stage));
    let (status, _, html) = page(&home.router, &send(first), &format!("session={session}&token=wrong")).await;
    assert!(status == 200 && html.contains("not valid") && html.contains("name=\"token\""), "{html}");
    let (status, headers, html) = page(&home.router, &send(first), &format!("session={session}&token={token}")).await;
    assert!(status == 200 && html.contains("onAuthDone") && html.contains("\"authDone\""), "{html}");
    is_a_safe_page(&headers);
    let policy = headers["content-security-policy"].to_str().unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(html.contains(&format!("<script nonce=\"{nonce}\">")), "{policy} {html}");

    // A double click, and a page that is opened again.
    for line in [send(first), show(first)] {
        let (status, _, html) = page(&home.router, &line, &format!("session={session}&token={token}")).await;
        assert!(status == 200 && html.contains("onAuthDone") && !html.contains("<form"), "{line}: {html}");
    }

    let (_, _, html) = page(&home.router, &show(second), "").await;
    assert!(html.contains("Privacy &lt;&amp;&gt; you") && html.contains("https://test/privacy"), "{html}");
    assert!(page(&home.router, &send(second), &format!("session={session}")).await.2.contains("onAuthDone"));
    body["auth"] = json!({ "session": session });
    let made = home.send("POST /_matrix/client/v3/register", body).await;
    assert_eq!(made.body["user_id"], "@alice:test");
}

#[tokio::test]
async fn pages_refuse_what_is_not_theirs() {
    let home = Home::with(REGISTRATION).await;
    let path = "/_matrix/client/v3/auth/m.login.dummy/fallback/web";
    for (line, form) in [
        (format!("GET {path}?session=nothing"), ""),
        (format!("GET {path}"), ""),
        (format!("POST {path}"), "session=nothing"),
        (format!("POST {path}"), ""),
        (format!("POST {path}"), "{}"),
    ] {
        assert_eq!(page(&home.router, &line, form).await.0, 400, "{line} {form}");
    }
    let alice = home.user("alice").await;
    let asked = home.send_as(&alice, "POST /_matrix/client/v3/account/deactivate", json!({})).await.body;
    let session = asked["session"].as_str().unwrap();
    let line = format!("GET /_matrix/client/v3/auth/m.login.password/fallback/web?session={session}");
    assert_eq!(page(&home.router, &line, "").await.0, 400, "a page asks for no password");
    let line = format!("POST {path}");
    assert_eq!(page(&home.router, &line, &format!("session={session}")).await.0, 400, "no stage of this session");
}

#[tokio::test]
async fn get_static_client_login() {
    let home = Home::open().await;
    let line = "GET /_matrix/static/client/login/?device_id=PHONE";
    let (status, headers, html) = page(&home.router, line, "").await;
    assert!(status == 200 && html.contains("matrixLogin.onLogin") && html.contains("type=\"password\""), "{html}");
    is_a_safe_page(&headers);
    let closed = "[server]\nname = \"test\"\n[accounts]\npassword_login = false\ntoken_login = true\n";
    let (status, _, html) = page(&Home::with(closed).await.router, line, "").await;
    assert!(status == 200 && !html.contains("<form") && !html.contains("<script"), "{html}");
}
