//! Who asks too often waits. Client-server API, "Rate limiting".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{LIMITED_LOGINS, LIMITED_MESSAGES, Options};
use depesche_spec_tests::user::{PASSWORD, txn};

fn limited() -> Server {
    Server::start(Options { limited: true, ..Options::default() })
}

fn tells_when_to_come_again(answer: &Answer) {
    let wait = answer.clone().error(429, "M_LIMIT_EXCEEDED")["retry_after_ms"].as_u64().expect("how long to wait");
    assert!((1..=60_000).contains(&wait), "{answer}");
    let seconds: u64 = answer.header("Retry-After").parse().expect("whole seconds");
    assert_eq!(seconds, wait.div_ceil(1000), "{answer}");
}

#[tokio::test]
async fn messages_are_limited_by_user() {
    let server = limited();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let path = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
    let say = async |user: &User| {
        let request = user.put(path, &[&room, "m.room.message", &txn()]);
        request.json(json!({ "msgtype": "m.text", "body": "again" })).await
    };
    let mut refused = None;
    for _ in 0..5 * LIMITED_MESSAGES {
        let answer = say(&alice).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    tells_when_to_come_again(&refused.expect("so many messages at once are too many"));
    say(&bob).await.ok();
    alice.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&[("dir", "b")]).await.ok();
}

#[tokio::test]
async fn logins_are_limited_by_the_address_behind_the_proxy() {
    let server = limited();
    let alice = server.user("alice").await;
    let identifier = json!({ "type": "m.id.user", "user": alice.id });
    let body = json!({ "type": "m.login.password", "password": PASSWORD, "identifier": identifier });
    let login = |address: &str| {
        let request = server.client().post("/_matrix/client/v3/login", &[]).header("X-Forwarded-For", address);
        request.json(body.clone())
    };
    let mut refused = None;
    for _ in 0..5 * LIMITED_LOGINS {
        let answer = login("192.0.2.1").await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    tells_when_to_come_again(&refused.expect("so many logins at once are too many"));
    login("192.0.2.2").await.ok();
}
