//! Nothing acknowledged is lost: `kill -9` under load, again and again.
//!
//! Every sender is a chain: it sends its messages one after the other, each with a transaction id of its own, and goes on
//! only when a message is answered 200. After each kill it repeats the one that was in flight, with the same id. In the
//! end the room must hold every message of every sender exactly once and in the sender's order. What happens beside the
//! messages is in [`beside`].

mod beside;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::beside::Beside;

/// How often the server is killed.
const ROUNDS: usize = 20;
/// Acknowledged writes between two kills, at least.
const WRITES_PER_ROUND: u32 = 200;
/// A server that does not acknowledge so many within this time is broken.
const ROUND_LIMIT: Duration = Duration::from_secs(120);
/// Those who send at the same time.
const SENDERS: usize = 8;
/// Filler that makes the memtables full and flushes and compactions frequent.
const FILLER: usize = 2_000;

const SEND: &str = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";

/// One who sends a chain of messages to a room.
struct Sender {
    token: String,
    name: String,
    room: String,
    /// Messages answered 200; the next one has this number.
    acknowledged: usize,
}

impl Sender {
    fn text(&self, n: usize) -> String {
        format!("{}/{n}", self.name)
    }

    /// Sends until the server does not answer any more.
    async fn send_until_it_dies(&mut self, client: &Client, acknowledged: &Semaphore) {
        let client = client.with_token(&self.token);
        loop {
            let n = self.acknowledged;
            let body = json!({ "msgtype": "m.text", "body": self.text(n), "filler": "x".repeat(FILLER) });
            let answer = client.put(SEND, &[&self.room, "m.room.message", &format!("txn{n}")]).json(body).await;
            if answer.status == 0 {
                return;
            }
            answer.ok();
            self.acknowledged += 1;
            acknowledged.add_permits(1);
        }
    }
}

/// Creates rooms until the server dies; the ids of those answered 200.
async fn create_until_it_dies(client: Client, acknowledged: Arc<Semaphore>) -> Vec<String> {
    let mut rooms = Vec::new();
    loop {
        let body = json!({ "preset": "public_chat", "name": "made under load", "topic": "t" });
        let answer = client.post("/_matrix/client/v3/createRoom", &[]).json(body).await;
        if answer.status == 0 {
            return rooms;
        }
        rooms.push(answer.ok()["room_id"].as_str().expect("a room id").to_owned());
        acknowledged.add_permits(1);
    }
}

fn text(said: &[u8]) -> String {
    String::from_utf8_lossy(said).into_owned()
}

/// All messages of a room, oldest first, page by page.
async fn history(client: &Client, room: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut from = None::<String>;
    loop {
        let mut query = vec![("dir", "f"), ("limit", "500")];
        query.extend(from.as_deref().map(|from| ("from", from)));
        let page = client.get("/_matrix/client/v3/rooms/{roomId}/messages", &[room]).query(&query).await.ok();
        let chunk = page["chunk"].as_array().expect("a chunk");
        bodies.extend(chunk.iter().filter_map(|event| event["content"]["body"].as_str()).map(str::to_owned));
        match page["end"].as_str() {
            Some(end) if !chunk.is_empty() => from = Some(end.to_owned()),
            _ => return bodies,
        }
    }
}

/// Every message of every sender exactly once and in its order; none but the one in flight beyond.
fn check_messages(room: &str, bodies: &[String], senders: &[Sender]) {
    for sender in senders.iter().filter(|sender| sender.room == room) {
        let prefix = format!("{}/", sender.name);
        let found: Vec<&str> = bodies.iter().filter_map(|body| body.strip_prefix(&prefix)).collect();
        let wanted: Vec<String> = (0..found.len()).map(|n| n.to_string()).collect();
        assert_eq!(found, wanted, "{}: lost, doubled or out of order", sender.name);
        let in_flight = found.len().checked_sub(sender.acknowledged);
        assert!(
            in_flight.is_some_and(|n| n <= 1),
            "{}: {} acknowledged, {} found",
            sender.name,
            sender.acknowledged,
            found.len()
        );
    }
}

/// A room is whole or not there: whoever is in it finds its create event, levels, rules, name and topic.
async fn check_rooms_are_whole(alice: &Client, acknowledged: &[String]) {
    let rooms = alice.get("/_matrix/client/v3/joined_rooms", &[]).await.ok();
    let rooms: Vec<&str> = rooms["joined_rooms"].as_array().expect("rooms").iter().filter_map(Value::as_str).collect();
    for room in acknowledged {
        assert!(rooms.contains(&room.as_str()), "an acknowledged room is lost: {room}");
    }
    for room in rooms {
        let state = alice.get("/_matrix/client/v3/rooms/{roomId}/state", &[room]).await.ok();
        let state = state.as_array().expect("state");
        for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.name", "m.room.topic"] {
            assert!(state.iter().any(|event| event["type"] == kind), "half a room, {kind} is missing: {room}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_server_is_killed_twenty_times() {
    let mut server = Server::start(Options { tiny_store: true, ..Options::default() });
    let alice = server.user("alice").await;
    let body = json!({ "preset": "public_chat", "name": "Name", "topic": "Topic" });
    // Half of the senders share a room, so that its lane is busy; the others have rooms of their own.
    let shared_room = alice.create_room(body.clone()).await;
    let mut senders = Vec::new();
    for n in 0..SENDERS {
        let user = server.user("sender").await;
        let room = if n % 2 == 0 { shared_room.clone() } else { alice.create_room(body.clone()).await };
        user.join(&room).await;
        senders.push(Sender { token: user.token().to_owned(), name: user.id.clone(), room, acknowledged: 0 });
    }
    let creator = server.user("creator").await;
    let mut beside = Some(Beside::new(&server).await);
    let mut made = Vec::new();
    for round in 0..ROUNDS {
        let before: usize = senders.iter().map(|sender| sender.acknowledged).sum();
        made.extend(one_round(&mut server, &mut senders, &creator, &mut beside).await);
        let after: usize = senders.iter().map(|sender| sender.acknowledged).sum();
        assert!(after > before, "round {round}: nothing was sent");
    }
    let mut beside = beside.expect("each round gives it back");
    beside.check(&server.client(), true).await;
    beside.check_told().await;
    beside.check_other(&server.client()).await;
    // What was in flight at the last kill is repeated, and a last message ends each chain.
    let client = server.client();
    for sender in &mut senders {
        let client = client.with_token(&sender.token);
        for _ in 0..2 {
            let n = sender.acknowledged;
            let body = json!({ "msgtype": "m.text", "body": sender.text(n), "filler": "x".repeat(FILLER) });
            client.put(SEND, &[&sender.room, "m.room.message", &format!("txn{n}")]).json(body).await.ok();
            sender.acknowledged += 1;
        }
    }
    let alice = client.with_token(alice.token());
    let mut rooms: HashMap<&str, Vec<String>> = HashMap::new();
    for sender in &senders {
        if !rooms.contains_key(sender.room.as_str()) {
            rooms.insert(&sender.room, history(&alice, &sender.room).await);
        }
    }
    for (room, bodies) in &rooms {
        check_messages(room, bodies, &senders);
    }
    for sender in &senders {
        let prefix = format!("{}/", sender.name);
        let found = rooms[sender.room.as_str()].iter().filter(|body| body.starts_with(&prefix)).count();
        assert_eq!(found, sender.acknowledged, "{}", sender.name);
    }
    check_rooms_are_whole(&client.with_token(creator.token()), &made).await;
    let found = server.command(&["db", "verify"]);
    assert!(found.status.success(), "{}{}", text(&found.stdout), text(&found.stderr));
    let total: usize = senders.iter().map(|sender| sender.acknowledged).sum();
    println!("{ROUNDS} kills, {total} messages and {} rooms acknowledged and found", made.len());
    println!("{}", beside.counts());
}

/// Load until enough writes are acknowledged, the kill in the middle of it, the restart, and a look at every room.
async fn one_round(
    server: &mut Server,
    senders: &mut Vec<Sender>,
    creator: &User,
    beside: &mut Option<Beside>,
) -> Vec<String> {
    let acknowledged = Arc::new(Semaphore::new(0));
    let client = server.client();
    let mut tasks = JoinSet::new();
    for mut sender in senders.drain(..) {
        let (client, acknowledged) = (client.clone(), Arc::clone(&acknowledged));
        tasks.spawn(async move {
            sender.send_until_it_dies(&client, &acknowledged).await;
            sender
        });
    }
    let creator = client.with_token(creator.token());
    let rooms = tokio::spawn(create_until_it_dies(creator, Arc::clone(&acknowledged)));
    let (mut chains, there) = (beside.take().expect("each round gives it back"), client.clone());
    let counted = Arc::clone(&acknowledged);
    let chains = tokio::spawn(async move {
        chains.go_on_until_it_dies(&there, &counted).await;
        chains
    });
    let enough = acknowledged.acquire_many(WRITES_PER_ROUND);
    let waited = tokio::time::timeout(ROUND_LIMIT, enough).await;
    assert!(waited.is_ok(), "{WRITES_PER_ROUND} writes took too long; the server's log:\n{}", server.log());
    server.kill();
    senders.extend(tasks.join_all().await);
    let made = rooms.await.expect("the creator ended with the server");
    let chains = chains.await.expect("the chains ended with the server");
    server.restart();
    chains.check(&server.client(), false).await;
    *beside = Some(chains);
    made
}
