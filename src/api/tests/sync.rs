//! `/sync`, as far as it is about the caller: who is sent away while they wait, and what it costs to know.

use std::{sync::Arc, time::Duration};

use depesche_server::keyspace::{ACCOUNT, SESSION};
use depesche_store::{
    Options,
    counting::{Count, Counting},
    memory::Memory,
};
use ruma::{api::client::sync::sync_events::v3, user_id};
use tokio::time::{Instant, sleep};

use super::{
    Home, ask,
    fixture::{CONFIG, Person},
    refused,
};
use crate::{caller::User, client, route::Context};

const SYNC: &str = "GET /_matrix/client/v3/sync";

#[tokio::test(start_paused = true)]
async fn who_is_logged_out_or_locked_while_they_wait_is_told_at_once() {
    for (end, wanted) in [
        ("log out", (401, "M_UNKNOWN_TOKEN")),
        ("lock", (401, "M_USER_LOCKED")),
        ("deactivate", (401, "M_UNKNOWN_TOKEN")),
        ("suspend", (200, "none")),
    ] {
        let home = Home::open().await;
        let alice = home.user("alice").await;
        let first = home.ask_as(&alice, SYNC, "").await.body;
        let line = format!("{SYNC}?timeout=30000&since={}", first["next_batch"].as_str().unwrap());
        let (router, token) = (home.router.clone(), alice.token.clone());
        let poll = tokio::spawn(async move {
            let begun = Instant::now();
            (ask(&router, Some(&token), &line, "").await, begun.elapsed())
        });
        // The clock moves when all wait, so the poll does.
        sleep(Duration::from_secs(1)).await;
        let (server, id) = (&home.app.server, user_id!("@alice:test"));
        match end {
            "log out" => drop(home.ask_as(&alice, "POST /_matrix/client/v3/logout", "{}").await),
            "lock" => server.accounts.set_locked(id, true).await.unwrap(),
            "deactivate" => server.deactivate(id, false).await.unwrap(),
            _ => server.accounts.set_suspended(id, true).await.unwrap(),
        }
        let (answer, waited) = poll.await.unwrap();
        assert_eq!(refused(&answer), wanted, "{end}");
        assert!(waited < Duration::from_secs(30), "{end}");
        assert_eq!(answer.body["soft_logout"] == true, end == "lock", "{}", answer.body);
    }
}

/// A poll of somebody whose token was looked at already.
async fn admitted(home: &Home, person: &Person, since: &str) -> u16 {
    let context = Context { app: Arc::clone(&home.app), client_address: None };
    let user_id = person.id.as_str().try_into().unwrap();
    let user = User { user_id, device_id: person.device.as_str().into(), suspended: false, admin: false };
    let mut request = v3::Request::new();
    request.since = Some(since.to_owned());
    request.timeout = Some(Duration::from_secs(30));
    match client::sync::get(context, user, request.into()).await {
        Ok(_) => 200,
        Err(error) => error.status().as_u16(),
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_sent_away_before_their_first_watch_is_told_at_once() {
    for end in ["log out", "lock", "nothing"] {
        let home = Home::open().await;
        let phone = home.user("alice").await;
        let first = home.ask_as(&phone, SYNC, "").await.body;
        let since = first["next_batch"].as_str().unwrap();
        // It goes on where the other is, and nothing has watched it yet.
        let tablet = home.device("alice", "TABLET").await;
        match end {
            "log out" => drop(home.ask_as(&tablet, "POST /_matrix/client/v3/logout", "{}").await),
            "lock" => home.app.server.accounts.set_locked(user_id!("@alice:test"), true).await.unwrap(),
            _ => {}
        }
        let begun = Instant::now();
        let status = admitted(&home, &tablet, since).await;
        let (wanted, waits) = if end == "nothing" { (200, 30) } else { (401, 0) };
        assert_eq!((status, begun.elapsed().as_secs()), (wanted, waits), "{end}");
    }
}

/// How often the caller's session and account were looked at since the last time.
fn looked_at(count: &Count) -> [u64; 2] {
    let rows = count.by_first_byte();
    count.reset();
    [SESSION.number, ACCOUNT.number].map(|table| rows.get(&table).map_or(0, |rows| rows.gets))
}

#[tokio::test(start_paused = true)]
async fn only_who_waited_is_looked_at_again() {
    let engine = Counting::new(Memory::new(Options::default()));
    let count = engine.count();
    let home = Home::on(Arc::new(engine), CONFIG).await;
    let alice = home.user("alice").await;
    let mut since = home.ask_as(&alice, SYNC, "").await.body["next_batch"].as_str().unwrap().to_owned();
    let mut costs = Vec::new();
    // Answered at once without a timeout and with one, and after a wait.
    for (timeout, news) in [(0, true), (30_000, true), (30_000, false)] {
        if news {
            let line = "PUT /_matrix/client/v3/user/@alice:test/account_data/m.any";
            home.ask_as(&alice, line, format!("{{\"n\":{}}}", costs.len())).await;
        }
        looked_at(&count);
        let line = format!("{SYNC}?timeout={timeout}&since={since}");
        let begun = Instant::now();
        since = home.ask_as(&alice, &line, "").await.body["next_batch"].as_str().unwrap().to_owned();
        assert_eq!(begun.elapsed().is_zero(), news);
        costs.push(looked_at(&count));
    }
    let [at_once, with_timeout, waited] = costs[..] else { panic!("three polls") };
    assert_eq!(with_timeout, at_once);
    assert_eq!(waited, at_once.map(|gets| gets + 1));
}
