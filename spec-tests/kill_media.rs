//! No acknowledged upload is lost: `kill -9` while files come in, again and again.
//!
//! Uploaders send files of all sizes, some announced first, some with bytes that others send at the same time, and note
//! which were answered 200. After each restart every one of them has to come back, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often the server is killed.
const ROUNDS: usize = 8;
/// Acknowledged uploads between two kills, at least.
const UPLOADS_PER_ROUND: u32 = 40;
/// A server that does not acknowledge so many within this time is broken.
const ROUND_LIMIT: Duration = Duration::from_secs(120);
/// Those who upload at the same time.
const UPLOADERS: usize = 6;

const DOWNLOAD: &str = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
const PUT: &str = "/_matrix/media/v3/upload/{serverName}/{mediaId}";
const HERE: &str = "depesche.test";

/// An upload that was answered 200.
struct Stored {
    id: String,
    seed: usize,
}

/// The bytes of an upload: up to half a megabyte, the same for the same seed.
fn bytes(seed: usize) -> Vec<u8> {
    let length = 1 + (seed * 7919) % 500_000;
    (0..length).map(|n| ((n ^ seed) % 251) as u8).collect()
}

fn id(answer: &Value) -> String {
    answer["content_uri"].as_str().and_then(|uri| uri.rsplit('/').next()).expect("an address").to_owned()
}

/// Uploads until the server does not answer any more.
async fn upload_until_it_dies(
    client: Client,
    number: usize,
    round: usize,
    acknowledged: Arc<Semaphore>,
) -> Vec<Stored> {
    let mut stored = Vec::new();
    for count in 0.. {
        // Every fourth has the bytes that all others send at about that time.
        let shared = count % 4 == 3;
        let seed = if shared { count } else { number * 100_000 + round * 1000 + count };
        let answer = if count % 3 == 2 {
            let made = client.post("/_matrix/media/v1/create", &[]).await;
            if made.status == 0 {
                return stored;
            }
            let id = id(&made.ok());
            let put = client.put(PUT, &[HERE, &id]).raw("image/png", bytes(seed)).await;
            if put.status == 0 {
                return stored;
            }
            put.ok();
            id
        } else {
            let answer = client.post("/_matrix/media/v3/upload", &[]).raw("image/png", bytes(seed)).await;
            if answer.status == 0 {
                return stored;
            }
            id(&answer.ok())
        };
        stored.push(Stored { id: answer, seed });
        acknowledged.add_permits(1);
    }
    stored
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_upload_is_lost_when_the_server_is_killed() {
    let mut server = Server::start(Options { tiny_store: true, pending_uploads: Some(500), ..Options::default() });
    let mut tokens = Vec::new();
    for _ in 0..UPLOADERS {
        tokens.push(server.user("uploader").await.token().to_owned());
    }
    let mut stored: Vec<Stored> = Vec::new();
    for round in 0..ROUNDS {
        let acknowledged = Arc::new(Semaphore::new(0));
        let client = server.client();
        let mut tasks = JoinSet::new();
        for (number, token) in tokens.iter().enumerate() {
            let client = client.with_token(token);
            tasks.spawn(upload_until_it_dies(client, number, round, Arc::clone(&acknowledged)));
        }
        let waited = tokio::time::timeout(ROUND_LIMIT, acknowledged.acquire_many(UPLOADS_PER_ROUND)).await;
        assert!(waited.is_ok(), "{UPLOADS_PER_ROUND} uploads took too long; the server's log:\n{}", server.log());
        server.kill();
        let fresh: Vec<Stored> = tasks.join_all().await.into_iter().flatten().collect();
        assert!(fresh.len() >= UPLOADS_PER_ROUND as usize, "round {round}");
        server.restart();
        check(&server.client().with_token(&tokens[0]), &fresh).await;
        stored.extend(fresh);
    }
    // What was there before a kill is there after the last.
    check(&server.client().with_token(&tokens[0]), &stored).await;
    println!("{ROUNDS} kills, {} uploads acknowledged and found", stored.len());
}

async fn check(client: &Client, stored: &[Stored]) {
    for Stored { id, seed } in stored {
        let answer = client.get(DOWNLOAD, &[HERE, id]).await;
        assert!(answer.file() == bytes(*seed), "an acknowledged file is lost or changed: {id}");
    }
}
