//! Who asks too often waits. Client-server API, "Rate limiting".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{LIMITED_LOGINS, LIMITED_MESSAGES, Options, SCARCE, SERVER_NAME};
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

/// What an endpoint's row in [`LIMITED`] says of Synapse.
#[derive(Clone, Copy, PartialEq)]
enum Synapse {
    /// It limits this too.
    Too,
    /// It does not.
    Never,
    /// It does where the request succeeds, which here it does not.
    Success,
}

/// Every endpoint that the specification names 429 for, together with those that are counted with it here.
const LIMITED: &[(&str, Synapse)] = &[
    // Without a token; those of `register` and `login` first, which others are counted with.
    ("POST /_matrix/client/v3/register", Synapse::Success),
    ("POST /_matrix/client/v3/login", Synapse::Too),
    ("GET /_matrix/client/v1/register/m.login.registration_token/validity", Synapse::Too),
    ("GET /_matrix/client/v3/login", Synapse::Never),
    ("POST /_matrix/client/v3/refresh", Synapse::Never),
    ("GET /_matrix/client/v3/register/available", Synapse::Never),
    ("GET /_matrix/media/v3/download/{serverName}/{mediaId}", Synapse::Never),
    ("GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}", Synapse::Never),
    ("GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}", Synapse::Never),
    // Logins of a user.
    ("POST /_matrix/client/v3/account/deactivate", Synapse::Never),
    ("POST /_matrix/client/v3/account/password", Synapse::Never),
    ("POST /_matrix/client/v1/login/get_token", Synapse::Never),
    // Media.
    ("POST /_matrix/media/v1/create", Synapse::Too),
    ("POST /_matrix/media/v3/upload", Synapse::Never),
    ("PUT /_matrix/media/v3/upload/{serverName}/{mediaId}", Synapse::Never),
    ("GET /_matrix/media/v3/config", Synapse::Never),
    ("GET /_matrix/media/v3/preview_url", Synapse::Never),
    ("GET /_matrix/client/v1/media/config", Synapse::Never),
    ("GET /_matrix/client/v1/media/download/{serverName}/{mediaId}", Synapse::Never),
    ("GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}", Synapse::Never),
    ("GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}", Synapse::Never),
    ("GET /_matrix/client/v1/media/preview_url", Synapse::Never),
    // Joins.
    ("POST /_matrix/client/v3/users/{userId}/report", Synapse::Too),
    ("POST /_matrix/client/v3/rooms/{roomId}/report", Synapse::Too),
    ("POST /_matrix/client/v3/rooms/{roomId}/invite", Synapse::Success),
    ("POST /_matrix/client/v3/rooms/{roomId}/join", Synapse::Success),
    ("POST /_matrix/client/v3/join/{roomIdOrAlias}", Synapse::Success),
    ("POST /_matrix/client/v3/knock/{roomIdOrAlias}", Synapse::Success),
    // Whatever else.
    ("PUT /_matrix/client/v3/presence/{userId}/status", Synapse::Too),
    ("POST /_matrix/client/v3/user_directory/search", Synapse::Too),
    ("PUT /_matrix/client/v3/profile/{userId}/{keyName}", Synapse::Never),
    ("DELETE /_matrix/client/v3/profile/{userId}/{keyName}", Synapse::Too),
    ("POST /_matrix/client/v3/rooms/{roomId}/leave", Synapse::Too),
    ("GET /_matrix/client/v3/account/whoami", Synapse::Never),
    ("POST /_matrix/client/v3/account/3pid/add", Synapse::Never),
    ("POST /_matrix/client/v3/account/3pid/bind", Synapse::Never),
    ("GET /_matrix/client/v3/capabilities", Synapse::Never),
    ("GET /_matrix/client/v1/mutual_rooms", Synapse::Never),
    ("POST /_matrix/client/v3/pushers/set", Synapse::Never),
    ("PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}", Synapse::Never),
    ("GET /_matrix/client/v3/room_keys/version", Synapse::Never),
    ("POST /_matrix/client/v3/room_keys/version", Synapse::Never),
    ("GET /_matrix/client/v3/room_keys/version/{version}", Synapse::Never),
    ("PUT /_matrix/client/v3/room_keys/version/{version}", Synapse::Never),
    ("DELETE /_matrix/client/v3/room_keys/version/{version}", Synapse::Never),
    ("GET /_matrix/client/v3/room_keys/keys", Synapse::Never),
    ("PUT /_matrix/client/v3/room_keys/keys", Synapse::Never),
    ("DELETE /_matrix/client/v3/room_keys/keys", Synapse::Never),
    ("GET /_matrix/client/v3/room_keys/keys/{roomId}", Synapse::Never),
    ("PUT /_matrix/client/v3/room_keys/keys/{roomId}", Synapse::Never),
    ("DELETE /_matrix/client/v3/room_keys/keys/{roomId}", Synapse::Never),
    ("GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", Synapse::Never),
    ("PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", Synapse::Never),
    ("DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}", Synapse::Never),
    ("GET /_matrix/client/v3/rooms/{roomId}/aliases", Synapse::Never),
    ("POST /_matrix/client/v3/rooms/{roomId}/forget", Synapse::Never),
    ("GET /_matrix/client/v1/rooms/{roomId}/hierarchy", Synapse::Never),
    ("POST /_matrix/client/v3/rooms/{roomId}/read_markers", Synapse::Never),
    ("POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}", Synapse::Never),
    ("GET /_matrix/client/v1/rooms/{roomId}/threads", Synapse::Never),
    ("GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event", Synapse::Never),
    ("PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}", Synapse::Never),
    ("POST /_matrix/client/v3/search", Synapse::Never),
    ("POST /_matrix/client/v3/user/{userId}/openid/request_token", Synapse::Never),
    ("GET /_matrix/client/v3/voip/turnServer", Synapse::Never),
];

/// So many rows of [`LIMITED`], the first ones, are of requests without a token.
const WITHOUT_TOKEN: usize = 9;

/// A request of a row, as far as it must be right to be counted.
fn request(client: &Client, user: &User, room: &str, line: &str) -> Request {
    let (method, template) = line.split_once(' ').expect("method and path");
    let names = template.split('{').skip(1).filter_map(|part| part.split('}').next());
    let args: Vec<&str> = names
        .map(|name| match name {
            "userId" => user.id.as_str(),
            "roomId" | "roomIdOrAlias" => room,
            "serverName" => SERVER_NAME,
            "keyName" => "displayname",
            _ => "x",
        })
        .collect();
    let request = client.request(method.parse().expect("a method"), template, &args);
    if method == "GET" {
        return request.query(&[("token", "x"), ("username", "somebody"), ("user_id", "@somebody:depesche.test")]);
    }
    request.json(json!({
        "type": "m.login.password", "identifier": { "type": "m.id.user", "user": "nobody" }, "password": PASSWORD,
        "reason": "x", "presence": "online", "search_term": "x"
    }))
}

#[tokio::test]
async fn whatever_the_specification_limits_is_limited() {
    let server = Server::start(Options { scarce: true, presence: true, ..Options::default() });
    let alice = server.user("alice").await;
    let room = alice.public_room().await;
    let mut wrong = Vec::new();
    for (number, (line, synapse)) in LIMITED.iter().enumerate() {
        let client = if number < WITHOUT_TOKEN { server.client() } else { (*alice).clone() };
        let mut answer = request(&client, &alice, &room, line).await;
        for _ in 0..SCARCE {
            if answer.status == 429 {
                break;
            }
            answer = request(&client, &alice, &room, line).await;
        }
        let wanted = differs(
            "client-server-api#rate-limiting",
            || Some(true),
            || (*synapse != Synapse::Success).then_some(*synapse == Synapse::Too),
        );
        if wanted.is_some_and(|wanted| wanted != (answer.status == 429)) {
            wrong.push(answer.to_string());
        } else if answer.status == 429 && target() == Target::Depesche {
            tells_when_to_come_again(&answer);
        } else if answer.status == 429 {
            assert!(answer.clone().error(429, "M_LIMIT_EXCEEDED")["retry_after_ms"].is_u64(), "{answer}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn new_rooms_are_limited_by_user() {
    let server = Server::start(Options { scarce: true, ..Options::default() });
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    for _ in 0..SCARCE {
        alice.public_room().await;
    }
    tells_when_to_come_again(&alice.post("/_matrix/client/v3/createRoom", &[]).json(json!({})).await);
    bob.public_room().await;
}
