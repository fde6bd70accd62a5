//! Long polls: what wakes them, what ends them, and that nothing falls between two.

use std::sync::atomic::{AtomicUsize, Ordering};

use depesche_store::Position;
use futures::future::join_all;
use tokio::time::{Instant, advance, timeout};

use super::{
    super::{initial, polls},
    *,
};
use crate::{rooms::membership::Action, testing::user};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn with_nothing_new_the_timeout_ends_it() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    client.sync().await;
    let before = Instant::now();
    server.rooms.room(&bob).await;
    let answer = client.sync_for(LONG).await;
    assert_eq!(answer.get("rooms"), None);
    assert_eq!(before.elapsed(), LONG);
    // Longer than the configuration allows is shortened.
    client.sync_for(Duration::from_secs(100_000)).await;
    assert_eq!(before.elapsed(), LONG + server.rooms.base.config.limits.sync_timeout);
    server.rooms.say(&room, &alice, "still watched").await;
    assert_eq!(brief(&client.sync().await["rooms"]["join"][room.as_str()]["timeline"]), ["still watched"]);
}

#[tokio::test(start_paused = true)]
async fn whatever_is_new_wakes_it() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.public_room(&alice).await;
    let mut client = server.client(&bob);
    client.sync().await;
    let wait = async |client: &Client, what: &str| {
        let mut waiting = client.clone();
        let before = Instant::now();
        let poll = tokio::spawn(async move { (waiting.sync_for(LONG).await, waiting) });
        advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
        match what {
            "invite" => drop(server.rooms.change(&room, &alice, &bob, Action::Invite).await.unwrap()),
            "join" => server.rooms.join(&room, &bob).await,
            "message" => drop(server.rooms.say(&room, &alice, "hello").await),
            "account data" => {
                let content = serde_json::value::to_raw_value(&json!({})).unwrap();
                server.account_data.set(&bob, 0, "m.any", &content).await.unwrap();
            }
            "keys" => {
                let alice = &alice;
                server.rooms.base.transact(|tx| async move { crate::keys::touch(&tx, alice).await }).await.unwrap();
            }
            other => panic!("{other}"),
        }
        let (answer, client) = poll.await.unwrap();
        assert_eq!(before.elapsed(), Duration::from_secs(1), "{what}: {answer}");
        client
    };
    for what in ["invite", "join", "message", "account data", "keys"] {
        client = wait(&client, what).await;
    }
}

/// How a poll ends whose caller may be sent away.
#[derive(Debug, PartialEq)]
enum End {
    SentAway,
    Failed,
}

impl From<SyncError> for End {
    fn from(_: SyncError) -> Self {
        Self::Failed
    }
}

#[tokio::test(start_paused = true)]
async fn whether_the_caller_is_still_here_is_asked_where_they_may_have_gone() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    client.sync().await;
    server.rooms.say(&room, &alice, "news").await;
    let asked = async |client: &Client, timeout: Duration, end: Result<(), End>| {
        let (count, end) = (AtomicUsize::new(0), &end);
        let request = Request { timeout, ..client.request.clone() };
        let outcome = client.syncs.poll(&request, || {
            let first = count.fetch_add(1, Ordering::Relaxed) == 0;
            async move { if first && end.is_err() { Err(End::SentAway) } else { Ok(()) } }
        });
        let (begun, outcome) = (Instant::now(), outcome.await);
        (count.load(Ordering::Relaxed), outcome.is_ok(), begun.elapsed())
    };
    assert_eq!(asked(&client, LONG, Ok(())).await, (0, true, Duration::ZERO), "answered at once");
    client.sync().await;
    assert_eq!(asked(&client, Duration::ZERO, Ok(())).await, (0, true, Duration::ZERO));
    assert_eq!(asked(&client, LONG, Ok(())).await, (1, true, LONG), "after the wait");
    // Of another device nothing is known of what happened since the token.
    client.request.device = "TABLET".into();
    server.rooms.room(&bob).await;
    assert_eq!(asked(&client, LONG, Err(End::SentAway)).await, (1, false, Duration::ZERO), "before the wait");
    assert_eq!(asked(&client, LONG, Ok(())).await, (2, true, LONG), "before and after it");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answers_at_once() {
    let server = Server::new();
    let (alice, ..) = users();
    let mut client = server.client(&alice);
    client.sync().await;
    let before = Instant::now();
    let poll = tokio::spawn(async move { client.sync_for(LONG).await });
    tokio::task::yield_now().await;
    server.rooms.stop.send(true).unwrap();
    poll.await.unwrap();
    assert!(before.elapsed() < LONG);
}

#[tokio::test(start_paused = true)]
async fn two_polls_of_one_device_both_wake() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    client.sync().await;
    let polls: Vec<_> = (0..2)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.sync_for(LONG).await })
        })
        .collect();
    advance(Duration::from_secs(1)).await;
    let before = Instant::now();
    server.rooms.say(&room, &alice, "both").await;
    for answer in join_all(polls).await {
        assert_eq!(brief(&answer.unwrap()["rooms"]["join"][room.as_str()]["timeline"]), ["both"]);
    }
    assert_eq!(before.elapsed(), Duration::ZERO);
    server.rooms.say(&room, &alice, "next").await;
    assert_eq!(brief(&client.sync().await["rooms"]["join"][room.as_str()]["timeline"]), ["both", "next"]);
}

#[tokio::test]
async fn a_poll_given_up_leaves_its_watch_behind() {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    client.sync().await;
    client.request.timeout = LONG;
    assert!(futures::future::poll_immediate(Box::pin(client.ask())).await.is_none());
    server.rooms.say(&room, &alice, "after").await;
    assert_eq!(brief(&client.sync().await["rooms"]["join"][room.as_str()]["timeline"]), ["after"]);
}

/// Writers in several rooms, of which some are joined on the way; a reader gets every message once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_falls_between_two_answers() {
    const ROOMS: usize = 8;
    const MESSAGES: usize = 60;
    let server = Arc::new(Server::new());
    let (alice, bob, _) = users();
    let mut rooms = Vec::new();
    for _ in 0..ROOMS {
        rooms.push(server.rooms.public_room(&alice).await);
    }
    let writers = rooms.iter().enumerate().map(|(number, room)| {
        let (server, room, bob) = (Arc::clone(&server), room.clone(), bob.clone());
        tokio::spawn(async move {
            for n in 0..MESSAGES {
                if n == number * 5 {
                    server.rooms.join(&room, &bob).await;
                }
                server.rooms.say(&room, &user("alice"), &n.to_string()).await;
                tokio::task::yield_now().await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut client = server.client_with(&bob, json!({ "room": { "timeline": { "limit": 1000 } } }));
    let mut read = vec![Vec::new(); ROOMS];
    while read.iter().any(|messages: &Vec<String>| messages.last() != Some(&(MESSAGES - 1).to_string())) {
        let answer = client.sync_for(LONG).await;
        for (room, read) in rooms.iter().zip(&mut read) {
            let joined = &answer["rooms"]["join"][room.as_str()]["timeline"];
            assert_eq!(joined.get("limited"), None);
            read.extend(brief(joined).into_iter().filter(|name| name.parse::<usize>().is_ok()));
        }
    }
    join_all(writers).await;
    for messages in read {
        assert!(messages.iter().map(|text| text.parse::<usize>().unwrap()).eq(0..MESSAGES), "{messages:?}");
    }
}

#[tokio::test]
async fn without_its_session_a_device_still_goes_on_from_its_token() {
    let server = Server::new();
    let (alice, ..) = users();
    let (busy, quiet) = (server.rooms.room(&alice).await, server.rooms.room(&alice).await);
    let mut client = server.client(&alice);
    client.sync().await;
    server.rooms.say(&busy, &alice, "before").await;
    // As after a restart, or on a device that was away for long.
    client.request.device = "ANOTHER".into();
    let answer = client.sync().await;
    assert_eq!(brief(&answer["rooms"]["join"][busy.as_str()]["timeline"]), ["before"]);
    assert_eq!(answer["rooms"]["join"].get(quiet.as_str()), None);
    server.rooms.say(&quiet, &alice, "after").await;
    let answer = client.sync().await;
    assert_eq!(brief(&answer["rooms"]["join"][quiet.as_str()]["timeline"]), ["after"]);
    assert_eq!(answer["rooms"]["join"].get(busy.as_str()), None);
}

#[tokio::test]
async fn what_came_after_the_snapshot_is_no_reason_to_answer() {
    let server = Server::new();
    let (alice, _, _) = users();
    let base = &server.rooms.base;
    let mut session = crate::sync::Session::new(base.topics(), &alice, "PHONE".into());
    let view = session.refresh(base).await.unwrap();
    let (snapshot, later) = (view.position(), Position(view.position().0 + 1));
    base.topics().announce(later, [crate::topic::device(&alice, "PHONE".into())]);
    assert!(!session.device_changed(snapshot, snapshot));
    assert!(session.device_changed(snapshot, later));
}

#[tokio::test(start_paused = true)]
async fn of_too_many_polls_of_one_device_the_oldest_ends() {
    let server = Server::new();
    let (alice, ..) = users();
    let mut client = server.client(&alice);
    client.sync().await;
    let begun = Instant::now();
    let mut polls = Vec::new();
    for _ in 0..=polls::MOST {
        let mut client = client.clone();
        polls.push(tokio::spawn(async move { client.sync_for(LONG).await }));
        advance(Duration::from_millis(1)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(polls.remove(0).await.unwrap().get("rooms"), None);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert!(polls.iter().all(|poll| !poll.is_finished()));
    join_all(polls).await;
    assert!(begun.elapsed() >= LONG);
}

#[tokio::test]
async fn one_users_first_syncs_leave_others_theirs() {
    let server = Server::new();
    let (alice, bob, _) = users();
    let turn = server.syncs.first_of.of(&alice).await;
    let mut waiting = Vec::new();
    for _ in 0..10 {
        let client = server.client(&alice);
        let mut first = Box::pin(async move { client.ask().await });
        assert!(futures::future::poll_immediate(&mut first).await.is_none());
        waiting.push(first);
    }
    server.client(&bob).sync().await;
    drop(turn);
    for answer in join_all(waiting).await {
        answer.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_costs_as_much_as_a_first_answer_waits_for_its_turn() {
    let server = Server::new();
    let (alice, bob, _) = users();
    server.rooms.room(&alice).await;
    let mut client = server.client(&alice);
    client.sync().await;
    let question = initial::Question { user: alice.clone(), device: "PHONE".into(), limit: 1, archived: false };
    let full = Client { request: Request { full_state: true, ..client.request.clone() }, ..client.clone() };
    let limit = Duration::from_secs(5);
    let own = server.syncs.first_turn(&alice).await.unwrap();
    assert!(timeout(limit, full.ask()).await.is_err(), "all state");
    assert!(timeout(limit, server.syncs.snapshot(&question)).await.is_err(), "all rooms");
    assert!(timeout(limit, server.client(&alice).sync()).await.is_err(), "a first sync");
    assert!(timeout(limit, client.sync()).await.is_ok(), "an ordinary one waits for nobody");
    assert!(timeout(limit, server.client(&bob).sync()).await.is_ok(), "others have turns of their own");
    drop(own);
    assert!(timeout(limit, full.ask()).await.is_ok());
    assert!(timeout(limit, server.syncs.snapshot(&question)).await.is_ok());
}
