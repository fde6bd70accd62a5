//! `/sync`, as far as it is about the caller: who is sent away while they wait.

use std::time::Duration;

use ruma::user_id;
use tokio::time::{Instant, sleep};

use super::{Home, ask, refused};

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
