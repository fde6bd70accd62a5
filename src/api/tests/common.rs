//! What holds for every endpoint alike.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use depesche_rules::bounds::{MAX_BODY_BYTES, MAX_KEYS_BODY_BYTES};
use http::{Method, StatusCode};
use ruma::api::{
    IncomingRequest,
    client::{
        filter::create_filter, keys::get_key_changes, profile::set_display_name, state::get_state_event_for_key,
        state::send_state_event, to_device::send_event_to_device,
    },
};
use serde_json::json;

use super::{Answer, Body, Home, ask, refused};
use crate::{
    caller::{Scheme, User},
    envelope,
    error::Error,
    route::{Context, Endpoint, endpoint, unrecognized},
    routes::endpoints,
};

#[tokio::test]
async fn an_unknown_endpoint_is_not_a_wrong_method() {
    let home = Home::open().await;
    for line in
        ["GET /", "GET /_matrix/client/v3/nothing", "POST /_matrix/client/v99/sync", "GET /_matrix/client/versions/"]
    {
        assert_eq!(refused(&home.ask(line, "").await), (404, "M_UNRECOGNIZED"), "{line}");
    }
    for line in
        ["POST /_matrix/client/versions", "PATCH /_matrix/client/versions", "DELETE /_matrix/client/v3/capabilities"]
    {
        assert_eq!(refused(&home.ask(line, "").await), (405, "M_UNRECOGNIZED"), "{line}");
    }
}

#[tokio::test]
async fn a_token_is_checked_before_anything_else() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let line = "GET /_matrix/client/v3/capabilities";
    assert_eq!(refused(&home.ask(line, "").await), (401, "M_MISSING_TOKEN"));
    assert_eq!(refused(&ask(&home.router, Some("wrong"), line, "").await), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(home.ask_as(&alice, line, "").await.status, 200);
    let in_the_query = format!("{line}?access_token={}", alice.token);
    assert_eq!(refused(&home.ask(&in_the_query, "").await), (401, "M_MISSING_TOKEN"));
    assert_eq!(home.ask_as(&alice, "GET /_matrix/client/r0/capabilities", "").await.status, 200);
    // Where a token is optional, a wrong one is still wrong.
    let line = "GET /_matrix/client/versions";
    assert_eq!(refused(&ask(&home.router, Some("wrong"), line, "").await), (401, "M_UNKNOWN_TOKEN"));
}

#[tokio::test]
async fn a_locked_account_can_only_log_out() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    home.app.server.accounts.set_locked(ruma::user_id!("@alice:test"), true).await.unwrap();
    let answer = home.ask_as(&alice, "GET /_matrix/client/v3/capabilities", "").await;
    assert_eq!(refused(&answer), (401, "M_USER_LOCKED"));
    assert_eq!(answer.body["soft_logout"], true);
}

#[tokio::test]
async fn an_answer_says_to_the_log_whose_it_is() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let request = http::Request::get("/_matrix/client/v3/capabilities");
    let request = request.header("authorization", format!("Bearer {}", alice.token)).body(Body::empty()).unwrap();
    let answer = tower::ServiceExt::oneshot(home.router.clone(), request).await.unwrap();
    assert_eq!(answer.extensions().get::<crate::AnsweredTo>().unwrap().0, "@alice:test");
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let answer = Home::open().await.ask("HEAD /_matrix/client/versions", "").await;
    assert_eq!((answer.status, answer.body.is_null()), (200, true));
}

#[tokio::test]
async fn browsers_may_read_every_answer() {
    let home = Home::open().await;
    let lines =
        ["OPTIONS /_matrix/client/versions", "OPTIONS /nothing", "GET /nothing", "POST /_matrix/client/versions"];
    for line in lines {
        let answer = home.ask(line, "").await;
        assert_eq!(answer.headers["access-control-allow-origin"], "*", "{line}");
        assert_eq!(answer.headers["access-control-allow-methods"], "GET, HEAD, POST, PUT, DELETE, OPTIONS", "{line}");
        let allowed = "X-Requested-With, Content-Type, Authorization";
        assert_eq!(answer.headers["access-control-allow-headers"], allowed, "{line}");
    }
    assert_eq!(home.ask("OPTIONS /_matrix/client/v3/capabilities", "").await.status, 204);
}

/// A server with one endpoint, in everything else as the real one, and alice.
struct Alone {
    router: Router,
    token: String,
}

async fn alone(endpoint: Endpoint) -> Alone {
    let home = Home::open().await;
    let router = Router::new().fallback(|request| unrecognized(StatusCode::NOT_FOUND, request));
    let router = envelope::around(endpoint.mount(router, &home.app));
    Alone { router, token: home.user("alice").await.token }
}

async fn as_alice(alone: &Alone, method: &str, path: &str, body: impl Into<Body>) -> Answer {
    ask(&alone.router, Some(&alone.token), &format!("{method} {path}"), body).await
}

/// A handler that keeps what it got to itself.
async fn nothing<R>(_: Context, _: User, _: R) -> Result<R::OutgoingResponse, Error>
where
    R: IncomingRequest<Authentication: Scheme, OutgoingResponse: Default + Send + 'static>,
{
    Ok(Default::default())
}

async fn rename(
    _: Context,
    caller: User,
    request: set_display_name::v3::Request,
) -> Result<set_display_name::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    Ok(set_display_name::v3::Response::default())
}

#[tokio::test]
async fn a_body_that_cannot_be_read_has_the_right_code() {
    let router = alone(endpoint(rename)).await;
    let path = "/_matrix/client/v3/profile/@alice:test/displayname";
    for (body, expected) in [
        (&b"{\"displayname\":\"Alice\"}"[..], (200, "none")),
        (b"", (400, "M_NOT_JSON")),
        (b"{", (400, "M_NOT_JSON")),
        (b"{\"displayname\":\"A\xff\"}", (400, "M_NOT_JSON")),
        (b"{\"displayname\":\"A\"} more", (400, "M_NOT_JSON")),
        (b"[\"Alice\"]", (400, "M_BAD_JSON")),
        (b"{\"displayname\":7}", (400, "M_BAD_JSON")),
    ] {
        let answer = as_alice(&router, "PUT", path, body.to_vec()).await;
        assert_eq!(refused(&answer), expected, "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(
        refused(&as_alice(&router, "PUT", "/_matrix/client/v3/profile/alice/displayname", "{}").await),
        (400, "M_INVALID_PARAM")
    );
    assert_eq!(
        refused(&as_alice(&router, "PUT", "/_matrix/client/v3/profile/%ff/displayname", "{}").await),
        (400, "M_INVALID_PARAM")
    );
    assert_eq!(
        refused(&as_alice(&router, "PUT", "/_matrix/client/v3/profile/@bob:test/displayname", "{}").await),
        (403, "M_FORBIDDEN")
    );
}

#[tokio::test]
async fn a_missing_field_is_bad_json_unless_the_endpoint_calls_it_a_parameter() {
    let path = "/_matrix/client/v3/sendToDevice/m.test/1";
    let bad = alone(endpoint(nothing::<send_event_to_device::v3::Request>)).await;
    assert_eq!(refused(&as_alice(&bad, "PUT", path, "{}").await), (400, "M_BAD_JSON"));
    assert_eq!(refused(&as_alice(&bad, "PUT", path, "").await), (400, "M_NOT_JSON"));
    let missing = alone(endpoint(nothing::<send_event_to_device::v3::Request>).missing_is_a_parameter()).await;
    assert_eq!(refused(&as_alice(&missing, "PUT", path, "{}").await), (400, "M_MISSING_PARAM"));
    assert_eq!(refused(&as_alice(&missing, "PUT", path, "{\"messages\":[]}").await), (400, "M_BAD_JSON"));
}

#[tokio::test]
async fn an_empty_body_is_no_json_wherever_something_is_required() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let base = "/_matrix/client/v3";
    for path in ["login", "rooms/!room:test/report", "pushers/set", "keys/claim", "account/password"] {
        let answer = home.ask_as(&alice, &format!("POST {base}/{path}"), "").await;
        assert_eq!(refused(&answer), (400, "M_NOT_JSON"), "{path}");
    }
}

#[tokio::test]
async fn a_body_may_be_as_large_as_its_endpoint_allows() {
    let path = "/_matrix/client/v3/sendToDevice/m.test/1";
    let of_size = |size: usize| {
        let frame = r#"{"messages":{}}"#;
        format!("{frame}{}", " ".repeat(size - frame.len()))
    };
    let small = alone(endpoint(nothing::<send_event_to_device::v3::Request>)).await;
    assert_eq!(as_alice(&small, "PUT", path, of_size(MAX_BODY_BYTES)).await.status, 200);
    assert_eq!(refused(&as_alice(&small, "PUT", path, of_size(MAX_BODY_BYTES + 1)).await), (413, "M_TOO_LARGE"));
    let large = alone(endpoint(nothing::<send_event_to_device::v3::Request>).large_body()).await;
    assert_eq!(as_alice(&large, "PUT", path, of_size(MAX_KEYS_BODY_BYTES)).await.status, 200);
    assert_eq!(refused(&as_alice(&large, "PUT", path, of_size(MAX_KEYS_BODY_BYTES + 1)).await), (413, "M_TOO_LARGE"));
}

/// Answers with the state key it was asked for.
async fn state_key(
    _: Context,
    _: User,
    request: get_state_event_for_key::v3::Request,
) -> Result<get_state_event_for_key::v3::Response, Error> {
    let answer = json!({ "type": request.event_type, "state_key": request.state_key });
    let event_or_content = serde_json::value::to_raw_value(&answer).map_err(Error::internal)?;
    Ok(get_state_event_for_key::v3::Response { event_or_content })
}

#[tokio::test]
async fn an_empty_state_key_may_be_left_out() {
    let router = alone(endpoint(state_key).last_may_be_empty()).await;
    let room = "/_matrix/client/v3/rooms/!room:test/state";
    for (path, key) in [
        ("m.room.name", ""),
        ("m.room.name/", ""),
        ("m.room.member/@alice:test", "@alice:test"),
        ("m.room.member/%40alice%3Atest", "@alice:test"),
        ("x/a%2Fb%20c", "a/b c"),
    ] {
        let answer = as_alice(&router, "GET", &format!("{room}/{path}"), "").await;
        assert_eq!((answer.status, &answer.body["state_key"]), (200, &json!(key)), "{path}");
    }
}

async fn changes(_: Context, _: User, _: get_key_changes::v3::Request) -> Result<get_key_changes::v3::Response, Error> {
    Ok(get_key_changes::v3::Response { changed: Vec::new(), left: Vec::new() })
}

#[tokio::test]
async fn a_query_parameter_that_is_missing_or_wrong_is_said_to_be_so() {
    let router = alone(endpoint(changes)).await;
    let path = "/_matrix/client/v3/keys/changes";
    assert_eq!(refused(&as_alice(&router, "GET", path, "").await), (400, "M_MISSING_PARAM"));
    assert_eq!(as_alice(&router, "GET", &format!("{path}?from=a&to=b"), "").await.status, 200);
}

async fn panics(_: Context, _: User, _: create_filter::v3::Request) -> Result<create_filter::v3::Response, Error> {
    panic!("a secret of the house")
}

#[tokio::test]
async fn a_panic_is_an_answer() {
    let router = alone(endpoint(panics)).await;
    let body = r#"{"room":{}}"#;
    let answer = as_alice(&router, "POST", "/_matrix/client/v3/user/@alice:test/filter", body).await;
    assert_eq!(refused(&answer), (500, "M_UNKNOWN"));
    assert!(!answer.body.to_string().contains("secret"));
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
}

#[tokio::test]
async fn an_event_content_must_be_an_object_with_nothing_behind_it() {
    async fn send(
        _: Context,
        _: User,
        _: send_state_event::v3::Request,
    ) -> Result<send_state_event::v3::Response, Error> {
        Ok(send_state_event::v3::Response { event_id: ruma::owned_event_id!("$event") })
    }
    let router = alone(endpoint(send).last_may_be_empty()).await;
    let path = "/_matrix/client/v3/rooms/!room:test/state/m.room.topic";
    for (body, expected) in [
        ("{}", (200, "none")),
        ("", (400, "M_NOT_JSON")),
        ("{}{}", (400, "M_NOT_JSON")),
        ("[]", (400, "M_BAD_JSON")),
        ("\"text\"", (400, "M_BAD_JSON")),
    ] {
        assert_eq!(refused(&as_alice(&router, "PUT", path, body).await), expected, "{body}");
    }
}

#[tokio::test]
async fn what_only_reads_ends_when_its_client_hangs_up() {
    static BEGUN: AtomicBool = AtomicBool::new(false);
    static ENDED: AtomicBool = AtomicBool::new(false);

    struct Ends;

    impl Drop for Ends {
        fn drop(&mut self) {
            ENDED.store(true, Ordering::Relaxed);
        }
    }

    async fn endless(_: Context, _: User, _: create_filter::v3::Request) -> Result<create_filter::v3::Response, Error> {
        let _ends = Ends;
        BEGUN.store(true, Ordering::Relaxed);
        std::future::pending().await
    }

    let begun = async {
        while !BEGUN.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
    };
    let router = alone(endpoint(endless).reads()).await;
    tokio::select! {
        biased;
        () = begun => {}
        _ = as_alice(&router, "POST", "/_matrix/client/v3/user/@alice:test/filter", r#"{"room":{}}"#) => {}
    }
    assert!(ENDED.load(Ordering::Relaxed));
    let reading = endpoints().into_iter().filter(|endpoint| *endpoint.method() == Method::POST && endpoint.is_read());
    let reading: Vec<_> = reading.map(|endpoint| endpoint.handler()).collect();
    let expected = ["keys::query", "public_rooms", "search", "user_directory::search"];
    assert_eq!(reading, expected.map(|module| format!("client::{module}::post")));
}

#[tokio::test(start_paused = true)]
async fn of_large_answers_a_user_gets_one_at_a_time() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static DONE: AtomicUsize = AtomicUsize::new(0);

    async fn slow(
        _: Context,
        _: User,
        _: get_key_changes::v3::Request,
    ) -> Result<get_key_changes::v3::Response, Error> {
        assert_eq!(RUNNING.fetch_add(1, Ordering::Relaxed), 0);
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        DONE.fetch_add(1, Ordering::Relaxed);
        Ok(get_key_changes::v3::Response { changed: Vec::new(), left: Vec::new() })
    }

    let router = alone(endpoint(slow).large_answer()).await;
    let ask = || as_alice(&router, "GET", "/_matrix/client/v3/keys/changes?from=a&to=b", "");
    let answers = futures::future::join_all((0..5).map(|_| ask())).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(DONE.load(Ordering::Relaxed), 5);
}
