//! To schema 2.

use std::collections::BTreeMap;

use futures::future::join_all;
use proptest::{prelude::*, test_runner::TestRunner};
use ruma::{OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};

use super::*;
use crate::{
    keyspace::{COUNTED_THREAD, HEAD, NAMED, RELATED, RELATION, REPLACEMENT, RoomNo, TALLY, THREAD, UNCOUNTED},
    records::{
        reading::Named,
        rooms::{BeforeThreads, Head},
    },
    rooms::{lane::Refusal, send::Message, unread::Counter},
    testing::{Fixture, object, user},
    verify::verify,
};

/// The schema.
const TO: u32 = 2;

/// One step of a conversation of two, about events by their number.
#[derive(Clone, Debug)]
enum Step {
    Say,
    /// Several at once, of which the lane makes one batch: by whom, of which kind, about which event.
    Relate(Vec<(bool, &'static str, usize)>),
    React(usize),
    Name(usize),
    Redact(usize),
}

const KINDS: [&str; 4] = ["m.thread", "m.replace", "m.reference", "org.example.other"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let relate = (any::<bool>(), prop::sample::select(&KINDS[..]), 0..60_usize);
    let step = prop_oneof![
        2 => Just(Step::Say),
        6 => prop::collection::vec(relate, 1..4).prop_map(Step::Relate),
        1 => (0..60_usize).prop_map(Step::React),
        1 => (0..60_usize).prop_map(Step::Name),
        2 => (0..60_usize).prop_map(Step::Redact),
    ];
    prop::collection::vec(step, 5..40)
}

struct House {
    server: Fixture,
    rooms: Vec<OwnedRoomId>,
    said: Vec<(usize, OwnedEventId)>,
}

impl House {
    async fn new() -> Self {
        let server = Fixture::new();
        let mut rooms = Vec::new();
        for _ in 0..2 {
            let room = server.public_room(&user("alice")).await;
            server.join(&room, &user("bob")).await;
            rooms.push(room);
        }
        let first = server.say(&rooms[0], &user("alice"), "first").await;
        Self { server, rooms, said: vec![(0, first)] }
    }

    fn about(&self, n: usize) -> (usize, OwnedEventId) {
        self.said[n % self.said.len()].clone()
    }

    /// Says something about an event, if it may be said: a thread does not begin at what is about another.
    async fn relate(&self, by_bob: bool, kind: &str, about: usize, mentions: Value) -> Option<(usize, OwnedEventId)> {
        let (room, parent) = self.about(about);
        let content = object(json!({
            "body": kind, "m.new_content": { "body": "new" }, "m.mentions": mentions,
            "m.relates_to": { "rel_type": kind, "event_id": parent }
        }));
        let sender = user(if by_bob { "bob" } else { "alice" });
        let message = Message { sender, kind: "m.room.message".into(), content, transaction: None };
        match self.server.rooms.submit(&self.rooms[room], message).await {
            Ok(sent) => Some((room, sent.event_id)),
            Err(Refusal::NoThreadRoot(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    async fn go(&mut self, n: usize, step: &Step) {
        let (server, alice, bob) = (&self.server, &user("alice"), &user("bob"));
        match step {
            Step::Say => {
                let room = n % self.rooms.len();
                let said = server.say(&self.rooms[room], alice, &n.to_string()).await;
                self.said.push((room, said));
            }
            Step::Relate(several) => {
                let sent = several.iter().map(|(by_bob, kind, about)| self.relate(*by_bob, kind, *about, json!({})));
                let sent = join_all(sent).await;
                self.said.extend(sent.into_iter().flatten());
            }
            Step::React(about) => {
                let (room, parent) = self.about(*about);
                let relates_to = json!({ "rel_type": "m.annotation", "event_id": parent, "key": n.to_string() });
                let content = json!({ "m.relates_to": relates_to });
                let sent = server.send(&self.rooms[room], bob, "m.reaction", content).await;
                self.said.push((room, sent));
            }
            Step::Name(about) => {
                let mentions = json!({ "user_ids": [bob], "room": true });
                let sent = self.relate(false, "m.thread", *about, mentions).await;
                self.said.extend(sent);
            }
            Step::Redact(event) => {
                let (room, event) = self.about(*event);
                server.redact(&self.rooms[room], alice, &event).await;
            }
        }
    }

    /// All that the migration writes.
    async fn written(&self) -> BTreeMap<&'static str, Rows> {
        let engine = self.server.base.engine.as_ref();
        let tables = [
            (RELATION.name, RELATION.under(&())),
            (REPLACEMENT.name, REPLACEMENT.under(&())),
            (RELATED.name, RELATED.under(&())),
            (THREAD.name, THREAD.under(&())),
            (UNCOUNTED.name, UNCOUNTED.under(&())),
            (NAMED.name, NAMED.under(&())),
            (HEAD.name, HEAD.under(&())),
        ];
        let mut written = BTreeMap::new();
        for (name, range) in tables {
            written.insert(name, rows(engine, [range]).await);
        }
        written
    }

    /// As it would be without what the migration writes, but with something half right in its place.
    async fn back(&self) {
        let heads = self.server.base.view().scan(&HEAD, HEAD.under(&()), 10).await.unwrap();
        let related = self.server.base.view().scan(&RELATED, RELATED.under(&()), 1000).await.unwrap();
        let change = |tx: &Tx| {
            let every_third = related.into_iter().step_by(3);
            for range in [RELATION.under(&()), REPLACEMENT.under(&()), THREAD.under(&()), UNCOUNTED.under(&())] {
                tx.delete_range(range);
            }
            for (key, mut row) in every_third {
                row.in_thread += 7;
                tx.put(&RELATED, &key, &row);
            }
            for (key, head) in heads {
                tx.put(&HEAD, &key, &Head { uncounted: 0, ..head });
            }
        };
        set_back(self.server.base.engine.as_ref(), TO - 1, change).await;
    }
}

#[test]
fn events_from_before_the_index_are_in_it_as_if_they_came_now() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let config =
        ProptestConfig { cases: crate::testing::cases(24), failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&(steps(), 1..20_usize), |(steps, at_a_time)| {
            runtime.block_on(async {
                let mut house = House::new().await;
                for (n, step) in steps.iter().enumerate() {
                    house.go(n, step).await;
                }
                let before = house.written().await;
                house.back().await;
                let (clock, _) = Clock::paused(1_700_000_000_000);
                let all = [migration_to(TO, at_a_time)];
                migrations::run(house.server.base.engine.as_ref(), &clock, &all, TO).await.unwrap();
                prop_assert_eq!(house.written().await, before);
                let problems = verify(&house.server.base.view(), |_| ()).await.unwrap().problems;
                prop_assert_eq!(problems, Vec::<String>::new());
                Ok(())
            })
        })
        .unwrap();
}

#[tokio::test]
async fn killed_in_the_middle_it_goes_on_to_the_same_end() {
    let mut house = House::new().await;
    for n in 0..12 {
        let about = vec![(n % 2 == 0, KINDS[n % 3], n / 2), (n % 3 == 0, "m.thread", 0)];
        house.go(n, &Step::Say).await;
        house.go(n, &Step::Relate(about)).await;
    }
    house.go(12, &Step::Redact(4)).await;
    house.go(13, &Step::Redact(9)).await;
    let before = house.written().await;
    for table in [RELATION.name, REPLACEMENT.name, RELATED.name, THREAD.name, UNCOUNTED.name] {
        assert!(!before[table].is_empty(), "the session writes {table}");
    }
    let engine = Arc::clone(&house.server.base.engine);
    let check = async |when: &str| assert_eq!(house.written().await, before, "{when}");
    let commits = killed_at_every_commit(&engine, migration_to(TO, 7), async || house.back().await, check).await;
    assert!(commits > 6, "{commits} commits are no steps");
}

#[tokio::test]
async fn what_was_redacted_before_it_was_taken_off_is_taken_off() {
    let house = House::new().await;
    let (server, room, [alice, bob]) = (&house.server, &house.rooms[0], ["alice", "bob"].map(user));
    let no = server.rooms.find(room).await.unwrap().unwrap().no;
    let content = json!({ "body": "bob!", "m.mentions": { "user_ids": [bob] } });
    let named = server.send(room, &alice, "m.room.message", content.clone()).await;
    let in_thread = server.relate(room, &alice, "m.thread", &named).await;
    server.say(room, &alice, "and this").await;
    server.redact(room, &alice, &named).await;
    server.redact(room, &alice, &in_thread).await;
    let head = Head::clone(&server.rooms.find(room).await.unwrap().unwrap().head);
    set_back(server.base.engine.as_ref(), TO - 1, |tx| {
        tx.delete_range(UNCOUNTED.under(&()));
        tx.put(&NAMED, &(bob.clone(), no, head.ordinal - 2), &Named::default());
        older(tx, no, &head);
    })
    .await;
    let count = async || {
        let view = server.base.view();
        let counter = Counter::default();
        let reader = counter.reader(&view, &bob).await.unwrap();
        let room = server.rooms.find(room).await.unwrap().unwrap();
        let total = counter.count(&room, &reader).await.unwrap().total();
        (total.notifications, total.highlights)
    };
    assert_eq!(count().await, (4, 1), "as it was counted when the events came");
    let (clock, _) = Clock::paused(1_700_000_000_000);
    migrations::run(server.base.engine.as_ref(), &clock, MIGRATIONS, SCHEMA).await.unwrap();
    assert_eq!(count().await, (2, 0));
}

/// Makes the counts of a room those of a program that did not tell threads apart: all of them in the main timeline.
fn older(tx: &Tx, room: RoomNo, head: &Head) {
    tx.delete_range(TALLY.under(&()));
    tx.delete_range(COUNTED_THREAD.under(&()));
    let before_threads = BeforeThreads { ordinal: head.ordinal, room_named: 0 };
    let main = before_threads.tally(head.ordinal);
    tx.put(&HEAD, &(room,), &Head { before_threads, main, threaded: 0, uncounted: 0, ..head.clone() });
}
