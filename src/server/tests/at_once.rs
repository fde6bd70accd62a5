//! Requests that one client sends at once, on an engine that takes a moment to commit: none of them gives up.

use std::path::Path;

use depesche_store::{Batch, Changes, CommitError, Position, ReadError, Reading, Snapshot, Topics};
use futures::{
    future::{BoxFuture, join_all},
    stream,
};
use ruma::{
    api::client::push::{Pusher, PusherIds, PusherInit, PusherKind},
    push::{NewPatternedPushRule, NewPushRule},
};
use tokio::task::yield_now;

use super::*;
use crate::{
    accounts::{Credentials, NewSession},
    keyspace::ROOM,
    media::{BrokenBody, NewFile},
    push_rules::Beside,
    rooms::receipts::Read,
    workflows::create::CreateError,
};

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

#[tokio::test]
async fn ten_uploads_and_ten_announced() {
    let (server, alice) = slow().await;
    let upload = async |n: usize| {
        let body = stream::iter([Ok::<_, BrokenBody>(n.to_string().into())]);
        server.media.upload(&alice, &NewFile::default(), body).await.map(drop)
    };
    for outcome in join_all((0..MANY).map(upload)).await {
        outcome.unwrap();
    }
    assert_eq!(server.media.list(&alice, None, 2 * MANY).await.unwrap().len(), MANY);
    for outcome in join_all((0..MANY).map(|_| server.media.announce(&alice))).await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn ten_fields_of_a_profile() {
    let (server, alice) = slow().await;
    let set = async |n: usize| server.profiles.set_field(&alice, &format!("org.example.{n}"), json!(n)).await;
    for outcome in join_all((0..MANY).map(set)).await {
        outcome.unwrap();
    }
    let fields = server.profiles.get(&alice).await.unwrap().0;
    assert_eq!(fields.len(), MANY + 1, "these and the display name");
}

#[tokio::test]
async fn ten_rooms_that_want_one_alias() {
    let (server, alice) = slow().await;
    let alias = ruma::owned_room_alias_id!("#hall:agency.test");
    let create = || server.rooms.create(Creation { alias: Some(alias.clone()), ..creation(&alice) });
    let outcomes = join_all((0..MANY).map(|_| create())).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    let others = outcomes.iter().filter(|outcome| matches!(outcome, Err(CreateError::AliasTaken(_))));
    assert_eq!(others.count(), MANY - 1, "{outcomes:?}");
    let view = server.base.view();
    assert_eq!(view.scan(&ROOM, ROOM.under(&()), MANY).await.unwrap().len(), 1, "of the others nothing is left");
}

#[tokio::test]
async fn ten_devices_that_come_get_names_and_go() {
    let (server, alice) = slow().await;
    let token = async || server.accounts.issue_login_token(&alice).await.unwrap().token;
    let mut tokens = Vec::new();
    for _ in 0..MANY {
        tokens.push(token().await);
    }
    let login = tokens.iter().map(async |token| {
        let session = server.accounts.login(Credentials::Token(token), &NewSession::default()).await?;
        Ok::<_, crate::accounts::LoginError>(session.device)
    });
    let mut devices = Vec::new();
    for outcome in join_all(login).await {
        devices.push(outcome.unwrap());
    }
    let rename = devices.iter().map(|device| server.devices.rename(&alice, device, "Phone"));
    for outcome in join_all(rename).await {
        outcome.unwrap();
    }
    for outcome in join_all(devices.iter().map(|device| server.devices.log_out(&alice, device))).await {
        outcome.unwrap();
    }
    assert_eq!(server.devices.list(&alice).await.unwrap(), []);
}

#[tokio::test]
async fn a_phone_that_two_take_at_once_is_of_one() {
    let (server, alice) = slow().await;
    let bob = account(&server, "bob").await;
    let data = serde_json::from_value(json!({ "url": "https://gateway.test/_matrix/push/v1/notify" })).unwrap();
    let pusher: Pusher = PusherInit {
        ids: PusherIds::new("key".to_owned(), "org.app".to_owned()),
        kind: PusherKind::Http(data),
        app_display_name: "App".to_owned(),
        device_display_name: "Phone".to_owned(),
        profile_tag: None,
        lang: "de".to_owned(),
    }
    .into();
    let set = async |user: &UserId| {
        let token = server.accounts.issue_login_token(user).await.unwrap().token;
        let session = server.accounts.login(Credentials::Token(&token), &NewSession::default()).await.unwrap();
        server.pushers.set(user, &session.device, &pusher, false).await.unwrap();
    };
    tokio::join!(set(&alice), set(&bob));
    let of = async |user: &UserId| server.pushers.list(user).await.unwrap().len();
    assert_eq!(of(&alice).await + of(&bob).await, 1);
}
