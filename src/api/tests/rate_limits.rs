//! Rate limits, where they stand: behind the token, before the body.

use axum::{body::Body, extract::ConnectInfo};
use http::{Request, header};
use ruma::user_id;
use serde_json::json;
use tower::ServiceExt;

use super::{Home, Person, refused};

const LIMITED: &str = "
[server]
name = \"test\"
trusted_proxies = [\"10.0.0.0/8\"]
[rate_limits]
exempt_admins = true
messages_burst = 2
messages_per_minute = 60
logins_burst = 2
logins_per_minute = 1
";

async fn say(home: &Home, person: &Person) -> super::Answer {
    let line = "PUT /_matrix/client/v3/rooms/!nowhere:test/send/org.example.x/1";
    home.send_as(person, line, json!({ "body": "x" })).await
}

/// The status of a login from this peer, forwarded for this address.
async fn log_in(home: &Home, peer: [u8; 4], forwarded: &str) -> u16 {
    let mut request = Request::post("/_matrix/client/v3/login").header("x-forwarded-for", forwarded);
    request.extensions_mut().unwrap().insert(ConnectInfo(std::net::SocketAddr::from((peer, 1))));
    let request = request.body(Body::from("{\"type\":\"m.login.nothing\"}")).unwrap();
    home.router.clone().oneshot(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let home = Home::with(LIMITED).await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    for _ in 0..2 {
        assert_eq!(say(&home, &alice).await.status, 403);
    }
    let answer = say(&home, &alice).await;
    assert_eq!(refused(&answer), (429, "M_LIMIT_EXCEEDED"));
    assert_eq!(
        (&answer.body["retry_after_ms"], &answer.headers[header::RETRY_AFTER]),
        (&json!(1000), &"1".parse().unwrap())
    );
    assert_eq!(say(&home, &bob).await.status, 403, "others are not limited");
    assert_eq!(home.ask_as(&alice, "GET /_matrix/client/v3/joined_rooms", "").await.status, 200, "nor is reading");
    home.hand.fetch_add(1000, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(say(&home, &alice).await.status, 403);
}

#[tokio::test]
async fn administrators_may_be_exempt() {
    let home = Home::with(LIMITED).await;
    let alice = home.user("alice").await;
    home.app.server.accounts.set_admin(user_id!("@alice:test"), true).await.unwrap();
    for _ in 0..10 {
        assert_eq!(say(&home, &alice).await.status, 403);
    }
}

#[tokio::test]
async fn who_has_no_token_is_counted_by_address() {
    let home = Home::with(LIMITED).await;
    let (proxy, stranger) = ([10, 0, 0, 1], [192, 0, 2, 7]);
    assert_eq!(log_in(&home, proxy, "192.0.2.1").await, 400);
    assert_eq!(log_in(&home, proxy, "192.0.2.1").await, 400);
    assert_eq!(log_in(&home, proxy, "192.0.2.1").await, 429);
    assert_eq!(log_in(&home, proxy, "192.0.2.2").await, 400);
    // Whoever is no proxy counts as themselves, whatever they say.
    assert_eq!(log_in(&home, stranger, "192.0.2.3").await, 400);
    assert_eq!(log_in(&home, stranger, "192.0.2.4").await, 400);
    assert_eq!(log_in(&home, stranger, "192.0.2.5").await, 429);
}

#[tokio::test]
async fn a_right_password_costs_a_login_wherever_it_is_shown() {
    let home = Home::with(LIMITED).await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let delete = async |person: &Person, with_password: bool| {
        let mut body = json!({ "devices": ["NOTHING"] });
        if with_password {
            let identifier = json!({ "type": "m.id.user", "user": person.id });
            body["auth"] = json!({ "type": "m.login.password", "identifier": identifier, "password": "pass-word" });
        }
        home.send_as(person, "POST /_matrix/client/v3/delete_devices", body).await
    };
    for _ in 0..2 {
        assert_eq!(delete(&alice, true).await.status, 200);
    }
    assert_eq!(refused(&delete(&alice, true).await), (429, "M_LIMIT_EXCEEDED"));
    assert_eq!(delete(&alice, false).await.status, 401, "what asks for the password is not limited");
    assert_eq!(delete(&bob, true).await.status, 200, "others are not limited");
}

#[tokio::test]
async fn invites_count_wherever_they_are_made() {
    let config = LIMITED.replace("messages_burst = 2", "messages_burst = 100\njoins_burst = 8\njoins_per_minute = 60");
    let home = Home::with(&config).await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    for n in 0..30 {
        home.user(&format!("u{n}")).await;
    }
    let invited: Vec<_> = (0..30).map(|n| format!("@u{n}:test")).collect();
    let create = async |person: &Person, body| home.send_as(person, "POST /_matrix/client/v3/createRoom", body).await;
    let first = create(&alice, json!({ "invite": invited })).await;
    assert_eq!(first.status, 200, "{:?}", first.body);
    let member =
        |user: &String| json!({ "type": "m.room.member", "state_key": user, "content": { "membership": "invite" } });
    let initial_state: Vec<_> = invited.iter().map(member).collect();
    assert_eq!(create(&alice, json!({ "initial_state": initial_state })).await.status, 200);
    assert_eq!(refused(&create(&alice, json!({})).await), (429, "M_LIMIT_EXCEEDED"));
    let rooms = home.ask_as(&alice, "GET /_matrix/client/v3/joined_rooms", "").await.body;
    assert_eq!(rooms["joined_rooms"].as_array().unwrap().len(), 2);
    // Who waits as told comes through: first the request is told when it may come, then with its invites.
    let mut refused = 0;
    loop {
        let answer = create(&alice, json!({ "invite": invited })).await;
        if answer.status == 200 {
            break;
        }
        refused += 1;
        assert!(answer.status == 429 && refused <= 2, "{}: {:?}", answer.status, answer.body);
        let wait = answer.body["retry_after_ms"].as_u64().unwrap();
        home.hand.fetch_add(wait, std::sync::atomic::Ordering::Relaxed);
    }
    // As state an invite counts as what it is.
    let room = create(&bob, json!({})).await.body["room_id"].as_str().unwrap().to_owned();
    for (no, user) in invited.iter().take(8).enumerate() {
        let line = format!("PUT /_matrix/client/v3/rooms/{room}/state/m.room.member/{user}");
        let answer = home.send_as(&bob, &line, json!({ "membership": "invite" })).await;
        assert_eq!(answer.status, if no < 7 { 200 } else { 429 }, "{no}");
    }
}

#[tokio::test]
async fn they_can_be_off() {
    let home = Home::with("[server]\nname = \"test\"\n[rate_limits]\nenabled = false\nmessages_burst = 1\n").await;
    let alice = home.user("alice").await;
    for _ in 0..10 {
        assert_eq!(say(&home, &alice).await.status, 403);
    }
}
