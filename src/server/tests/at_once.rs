//! Requests that one client sends at once, on an engine that takes a moment to commit: none of them gives up.

use std::path::Path;

use depesche_store::{Batch, Changes, CommitError, Position, ReadError, Reading, Snapshot, Topics};
use futures::future::{BoxFuture, join_all};
use ruma::push::{NewPatternedPushRule, NewPushRule};
use tokio::task::yield_now;

use super::*;
use crate::{push_rules::Beside, rooms::receipts::Read};

/// How many at once.
const MANY: usize = 10;

/// An engine of which every batch is decided before the one before it is committed, if they are decided at once.
struct Slow(Memory);

impl Engine for Slow {
    fn snapshot(&self) -> Snapshot {
        self.0.snapshot()
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'static, Result<Position, CommitError>> {
        let engine = self.0.clone();
        Box::pin(async move {
            yield_now().await;
            engine.commit(batch).await
        })
    }

    fn changes(&self, after: Position, limit: usize) -> Reading<Changes> {
        self.0.changes(after, limit)
    }

    fn topics(&self) -> &Arc<Topics> {
        self.0.topics()
    }

    fn checkpoint(&self, into: &Path) -> BoxFuture<'static, Result<(), ReadError>> {
        self.0.checkpoint(into)
    }

    fn statistics(&self) -> Vec<(String, u64)> {
        self.0.statistics()
    }
}

async fn slow() -> (Arc<Server>, OwnedUserId) {
    let server = start(Arc::new(Slow(Memory::new(Options::default())))).await;
    let alice = account(&server, "alice").await;
    (server, alice)
}

#[tokio::test]
async fn ten_entries_of_account_data() {
    let (server, alice) = slow().await;
    let content = to_raw_value(&json!({})).unwrap();
    let set = async |n: usize| server.account_data.set(&alice, GLOBAL, &format!("org.example.{n}"), &content).await;
    for outcome in join_all((0..MANY).map(set)).await {
        outcome.unwrap();
    }
    let entries = server.account_data.all(&server.base.view(), &alice).await.unwrap();
    assert_eq!(entries.len(), MANY + 1, "these and the push rules");
}

#[tokio::test]
async fn ten_rooms_tagged_and_read() {
    let (server, alice) = slow().await;
    let mut rooms = Vec::new();
    for n in 0..MANY {
        let room = public_room(&server, &alice, &n.to_string()).await;
        let view = view(&server, &room).await;
        let create = view.state_event(view.root(), "m.room.create", "").await.unwrap().unwrap();
        rooms.push((room, view.no, create.pdu.event_id().clone()));
    }
    let info = serde_json::Map::new();
    let tags = rooms.iter().map(|(_, no, _)| server.account_data.set_tag(&alice, *no, "m.favourite", &info));
    for outcome in join_all(tags).await {
        outcome.unwrap();
    }
    let reads = rooms.iter().map(async |(room, _, event)| {
        let event = Some(event.clone());
        let read = Read { public: event.clone(), fully: event, ..Read::default() };
        server.receipts.read(&alice, room, &read).await
    });
    for outcome in join_all(reads).await {
        outcome.unwrap();
    }
    for (_, no, _) in rooms {
        let entries = server.account_data.of_room(&server.base.view(), &alice, no).await.unwrap();
        assert_eq!(entries.iter().map(|entry| &*entry.kind).collect::<Vec<_>>(), ["m.fully_read", "m.tag"]);
    }
}

#[tokio::test]
async fn ten_push_rules() {
    let (server, alice) = slow().await;
    let put = async |n: usize| {
        let rule = NewPushRule::Content(NewPatternedPushRule::new(n.to_string(), n.to_string(), vec![]));
        server.push_rules.put(&alice, &rule, Beside::default()).await
    };
    for outcome in join_all((0..MANY).map(put)).await {
        outcome.unwrap();
    }
    let rules = crate::push_rules::of(&server.base.view(), &alice).await.unwrap().rules;
    assert_eq!(rules.content.iter().filter(|rule| !rule.default).count(), MANY);
}

#[tokio::test]
async fn ten_filters() {
    let (server, alice) = slow().await;
    let create = async |n: usize| {
        let filter = serde_json::from_value(json!({ "room": { "timeline": { "limit": n } } })).unwrap();
        server.filters.create(&alice, &filter).await.unwrap()
    };
    let mut ids = join_all((0..MANY).map(create)).await;
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), MANY);
}
