//! What clients show to the servers that carry their calls. Client-server API, "Voice over IP".

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{Options, TURN_SECRET, TURN_URIS, Turn};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

#[tokio::test]
async fn a_user_gets_a_name_and_a_password_for_a_while() {
    let server = Server::start(Options { turn: Some(Turn::SharedSecret), ..Options::default() });
    let alice = server.user("alice").await;
    let shown = alice.get("/_matrix/client/v3/voip/turnServer", &[]).await.ok();
    assert_eq!((&shown["uris"], &shown["ttl"]), (&json!(TURN_URIS), &json!(3600)), "{shown}");
    let username = shown["username"].as_str().expect("a name");
    let (until, user) = username.split_once(':').expect("a time and a user");
    assert_eq!(user, alice.id);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let left = until.parse::<u64>().expect("a time") - now;
    assert!((3500..=3600).contains(&left), "{left} s");
    // As the TURN server checks it.
    let mut mac = Hmac::<Sha1>::new_from_slice(TURN_SECRET.as_bytes()).expect("a key");
    mac.update(username.as_bytes());
    assert_eq!(shown["password"], BASE64_STANDARD.encode(mac.finalize().into_bytes()), "{shown}");
    server.client().get("/_matrix/client/v3/voip/turnServer", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn all_users_may_have_the_same_name() {
    let server = Server::start(Options { turn: Some(Turn::Fixed), ..Options::default() });
    let alice = server.user("alice").await;
    let shown = alice.get("/_matrix/client/v3/voip/turnServer", &[]).await.ok();
    let expected = json!({ "username": "everyone", "password": TURN_SECRET, "uris": TURN_URIS, "ttl": 3600 });
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn without_such_servers_there_is_nothing_to_show() {
    let alice = shared().user("alice").await;
    assert_eq!(alice.get("/_matrix/client/v3/voip/turnServer", &[]).await.ok(), json!({}));
}
