//! Many who send at once in one room: who waits for whom, what they cost together, and what a fault does to them.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use depesche_store::{
    CommitError, Engine, MAX_VALUE, Options,
    counting::{Count, Counting},
    faults::{Control, Fault as Injected, Faults},
};
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, UserId};
use serde_json::json;

use super::big_room::{self, member};
use crate::{
    Base,
    keyspace::PROFILE,
    rooms::{
        lane::{Intent, Refusal, Sent, Transaction, Turn, Verdict},
        membership::Action,
        send::Message,
        view::RoomView,
    },
    testing::{Fixture, engine, object, user},
    tx::Fault,
    verify::verify,
};

type Outcome = Result<Sent, Refusal>;

/// A room of fifty people and more, over an engine that counts and fails.
struct House {
    server: Fixture,
    engine: Arc<dyn Engine>,
    control: Arc<Control>,
    count: Arc<Count>,
    room: OwnedRoomId,
}

impl House {
    async fn new() -> Self {
        let engine = engine(Options::default());
        let faults = Faults::new(Arc::clone(&engine));
        let control = faults.control();
        let counting = Counting::new(faults);
        let count = counting.count();
        let server = Fixture::on(Arc::new(counting));
        let room = server.public_room(&user("alice")).await;
        big_room::fill(&server.base, &room, 50).await;
        Self { server, engine, control, count, room }
    }

    /// A message that a repetition does not make twice.
    fn message(&self, sender: &UserId, body: &str) -> Message {
        Message {
            sender: sender.to_owned(),
            kind: "m.room.message".into(),
            content: object(json!({ "body": body })),
            transaction: Some(Transaction {
                user: sender.to_owned(),
                device: "PHONE".into(),
                scope: format!("send {}", self.room),
                id: body.to_owned(),
            }),
        }
    }

    async fn submit(&self, intent: impl Intent) -> Outcome {
        self.server.rooms.submit(&self.room, intent).await
    }

    /// Each says something, all at once; the answers in the order of asking.
    async fn say_all(&self, senders: &[OwnedUserId], bodies: &str) -> Vec<Outcome> {
        let messages = senders.iter().enumerate().map(|(n, sender)| self.message(sender, &format!("{bodies} {n}")));
        join_all(messages.map(|message| self.submit(message))).await
    }

    /// The newest events, oldest first.
    async fn newest(&self, count: usize) -> Vec<OwnedEventId> {
        let view = self.server.rooms.find(&self.room).await.unwrap().unwrap();
        let rows = view.timeline_before(RoomView::place_after(view.view.position()), count).await.unwrap();
        let numbers: Vec<_> = rows.iter().rev().map(|(_, no)| *no).collect();
        view.events(&numbers).await.unwrap().iter().map(|event| event.pdu.event_id().clone()).collect()
    }

    async fn is_whole(&self) {
        let report = verify(&self.server.base.view(), |_| ()).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }

    /// Holds the lane in the commit of one message while `waiting` is queued, then lets all go on.
    async fn behind_one<T>(&self, waiting: impl Future<Output = T>) -> (Outcome, T) {
        self.control.hold();
        let first = Message { transaction: None, ..self.message(&user("alice"), "before all") };
        let first = self.submit(first);
        let release = async {
            self.control.waiting(1).await;
            let mut waiting = Box::pin(waiting);
            // Asked once, everyone is in the queue.
            assert!(waiting.as_mut().now_or_never().is_none());
            self.control.release();
            waiting.await
        };
        tokio::join!(first, release)
    }
}

fn fifty() -> Vec<OwnedUserId> {
    (0..50).map(member).collect()
}

fn ids(outcomes: Vec<Outcome>) -> Vec<OwnedEventId> {
    outcomes.into_iter().map(|outcome| outcome.expect("sent").event_id).collect()
}

fn failed(outcome: &Outcome) -> bool {
    matches!(outcome, Err(Refusal::Fault(Fault::Commit(_))))
}

#[tokio::test]
async fn fifty_people_send_at_once_for_two_commits_in_the_order_they_came() {
    let house = House::new().await;
    let before = house.count.snapshot();
    let (first, sent) = house.behind_one(house.say_all(&fifty(), "all")).await;
    let commits = house.count.snapshot().commits - before.commits;
    assert_eq!(commits, 2, "the one that was first, and all who waited for it");
    let expected = [vec![first.unwrap().event_id], ids(sent)].concat();
    assert_eq!(house.newest(51).await, expected);
    house.is_whole().await;
}

#[tokio::test]
async fn a_batch_ends_at_sixty_four_intents_or_a_megabyte() {
    let house = House::new().await;
    let alice = user("alice");
    let before = house.count.snapshot();
    let many: Vec<_> = (0..130).map(|_| alice.clone()).collect();
    let (_, sent) = house.behind_one(house.say_all(&many, "small")).await;
    assert_eq!(house.count.snapshot().commits - before.commits, 1 + 3);
    let last = ids(sent);
    assert_eq!(house.newest(130).await, last);

    let before = house.count.snapshot();
    let large = "x".repeat(60_000);
    let large = (0..40).map(|n| house.message(&alice, &format!("{n} {large}")));
    // A transaction id as long as the body would not fit into a key.
    let large = large.map(|message| Message { transaction: None, ..message });
    let (_, sent) = house.behind_one(join_all(large.map(|message| house.submit(message)))).await;
    assert_eq!(ids(sent).len(), 40);
    // The first alone; then 18 of these are more than a megabyte.
    assert_eq!(house.count.snapshot().commits - before.commits, 1 + 3);
    house.is_whole().await;
}

#[tokio::test]
async fn one_who_is_refused_leaves_the_others_alone() {
    let house = House::new().await;
    let mut senders = fifty();
    senders.insert(25, user("stranger"));
    let (_, mut sent) = house.behind_one(house.say_all(&senders, "all")).await;
    assert!(matches!(sent.remove(25), Err(Refusal::Forbidden(_))));
    assert_eq!(house.newest(50).await, ids(sent));
}

#[tokio::test]
async fn what_one_decides_is_seen_by_the_next_of_the_same_batch() {
    let house = House::new().await;
    let (alice, bob) = (&user("alice"), &member(0));
    let kicked = async {
        tokio::join!(
            house.submit(house.message(bob, "last words")),
            house.server.change(&house.room, alice, bob, Action::Ban),
            house.submit(house.message(bob, "from beyond")),
            house.server.change(&house.room, alice, bob, Action::Unban),
            house.server.change(&house.room, bob, bob, Action::Join),
            house.submit(house.message(bob, "back")),
        )
    };
    let before = house.count.snapshot();
    let (_, (said, banned, beyond, unbanned, joined, back)) = house.behind_one(kicked).await;
    assert!(matches!(beyond, Err(Refusal::Forbidden(_))));
    let expected =
        [said.unwrap().event_id, banned.unwrap(), unbanned.unwrap(), joined.unwrap(), back.unwrap().event_id];
    assert_eq!(house.newest(5).await, expected);
    assert_eq!(house.count.snapshot().commits - before.commits, 2);
    house.is_whole().await;
}

#[tokio::test]
async fn a_conflict_is_decided_again_and_the_third_is_answered() {
    let house = House::new().await;
    house.control.next([Injected::Conflict, Injected::Conflict]);
    let sent = ids(house.say_all(&fifty(), "twice").await);
    assert_eq!((house.newest(50).await, house.control.left()), (sent.clone(), 0));
    house.control.next([Injected::Conflict; 3]);
    let refused = house.say_all(&fifty(), "thrice").await;
    let conflict = |outcome: &Outcome| matches!(outcome, Err(Refusal::Fault(Fault::Commit(CommitError::Conflict(_)))));
    assert!(refused.iter().all(conflict), "{refused:?}");
    assert_eq!((house.newest(50).await, house.control.left()), (sent, 0));
    house.is_whole().await;
    ids(house.say_all(&fifty(), "thrice").await);
}

#[tokio::test]
async fn two_nodes_write_to_one_room_in_turns() {
    let house = House::new().await;
    let other = Fixture::on(Arc::clone(&house.engine));
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.extend(ids(house.say_all(&fifty()[..3], &format!("here {n}")).await));
        expected.push(other.say(&house.room, &member(n), "there").await);
    }
    assert_eq!(house.newest(20).await, expected);
    house.is_whole().await;
}

#[tokio::test]
async fn a_failed_commit_fails_all_of_it_and_shows_nothing() {
    let house = House::new().await;
    let before = house.newest(100).await;
    house.control.next([Injected::Failed]);
    let refused = house.say_all(&fifty(), "all").await;
    assert!(refused.iter().all(failed), "{refused:?}");
    assert_eq!(house.newest(100).await, before);
    house.is_whole().await;
    let sent = ids(house.say_all(&fifty(), "all").await);
    assert_eq!(house.newest(50).await, sent);
    house.is_whole().await;
}

#[tokio::test]
async fn after_an_unknown_outcome_a_repetition_finds_or_makes_it_once() {
    for fault in [Injected::UnknownLost, Injected::UnknownApplied] {
        let house = House::new().await;
        house.control.next([fault]);
        let refused = house.say_all(&fifty(), "all").await;
        assert!(refused.iter().all(failed), "{refused:?}");
        house.is_whole().await;
        let sent = ids(house.say_all(&fifty(), "all").await);
        assert_eq!(sent.iter().collect::<HashSet<_>>().len(), 50);
        assert_eq!(house.newest(50).await, sent, "{fault:?}");
        house.is_whole().await;
    }
}

#[tokio::test]
async fn a_read_that_fails_fails_its_own_intent_and_leaves_no_trace() {
    let mut failures = 0;
    for passing in 0.. {
        let house = House::new().await;
        let (alice, bob, new) = (&user("alice"), &member(2), &user("new"));
        house.control.fail_read(Some(passing));
        let work = async {
            tokio::join!(
                house.submit(house.message(&member(1), "one")),
                house.server.change(&house.room, new, new, Action::Join),
                house.server.change(&house.room, alice, bob, Action::Ban),
                house.submit(house.message(&member(3), "two")),
            )
        };
        let (one, joined, banned, two) = work.await;
        if house.control.read_left() {
            house.control.fail_read(None);
            assert!(failures > 10, "only {failures} reads were met");
            return;
        }
        house.is_whole().await;
        let answered = [one.map(|sent| sent.event_id), joined, banned, two.map(|sent| sent.event_id)];
        failures += answered.iter().filter(|answer| answer.is_err()).count();
        let answered: Vec<_> = answered.into_iter().flatten().collect();
        let shown = house.newest(answered.len()).await;
        assert_eq!(shown, answered, "after {passing} reads");
        ids(house.say_all(&fifty()[5..8], "all is well").await);
    }
}

/// An intent with a fault of ours.
struct Panics;

impl Intent for Panics {
    fn decide<'a>(&'a self, _: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        panic!("on purpose")
    }
}

#[tokio::test]
async fn a_lane_that_broke_is_replaced() {
    let house = House::new().await;
    let outcome = house.submit(Panics).await;
    assert!(matches!(outcome, Err(Refusal::Fault(Fault::Bug(_)))), "{outcome:?}");
    ids(house.say_all(&fifty(), "all").await);
}

#[tokio::test]
async fn whoever_comes_when_a_thousand_wait_is_sent_away() {
    let house = House::new().await;
    let alice = user("alice");
    let crowd = (0..1025).map(|n| house.submit(Message { transaction: None, ..house.message(&alice, &n.to_string()) }));
    let (_, mut outcomes) = house.behind_one(join_all(crowd)).await;
    assert!(matches!(outcomes.pop(), Some(Err(Refusal::Busy))));
    let sent = ids(outcomes);
    assert_eq!(house.newest(1024).await, sent);
}

/// A message with a row beside it that no engine takes.
struct TooLarge(Message);

impl Intent for TooLarge {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        turn.tx.put(&PROFILE, &(user("alice"),), &"x".repeat(MAX_VALUE + 1));
        self.0.decide(turn)
    }
}

#[tokio::test]
async fn one_who_breaks_the_contract_of_the_store_fails_alone() {
    let house = House::new().await;
    let members = fifty();
    let work = async {
        tokio::join!(
            house.say_all(&members[..20], "before"),
            house.submit(TooLarge(house.message(&members[20], "too large"))),
            house.say_all(&members[21..], "behind"),
        )
    };
    let (_, (before, broken, behind)) = house.behind_one(work).await;
    assert!(matches!(broken, Err(Refusal::Fault(Fault::Commit(CommitError::Contract(_))))), "{broken:?}");
    assert_eq!(house.newest(49).await, [ids(before), ids(behind)].concat());
    house.is_whole().await;
    // Nothing is left of it in the room's memory.
    ids(house.say_all(&members, "after").await);
    house.is_whole().await;
}

/// A message that relies on a row which somebody changes each time before the commit.
struct Contended {
    message: Message,
    base: Arc<Base>,
    changes: AtomicU32,
}

impl Intent for Contended {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move {
            let key = (user("somebody"),);
            turn.tx.read(&PROFILE, &key).await?;
            let tx = self.base.tx();
            tx.put(&PROFILE, &key, &self.changes.fetch_add(1, Ordering::Relaxed).to_string());
            self.base.commit(&tx).await?;
            self.message.decide(turn).await
        })
    }
}

#[tokio::test]
async fn one_whose_row_never_rests_fails_alone() {
    let house = House::new().await;
    let members = fifty();
    let message = house.message(&members[20], "contended");
    let contended = Contended { message, base: Arc::clone(&house.server.base), changes: AtomicU32::new(0) };
    let work = async {
        tokio::join!(
            house.say_all(&members[..20], "before"),
            house.submit(contended),
            house.say_all(&members[21..], "behind"),
        )
    };
    let (_, (before, broken, behind)) = house.behind_one(work).await;
    assert!(matches!(broken, Err(Refusal::Fault(Fault::Commit(CommitError::Conflict(_))))), "{broken:?}");
    assert_eq!(house.newest(49).await, [ids(before), ids(behind)].concat());
    house.is_whole().await;
}
