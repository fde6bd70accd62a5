//! From an event to a gateway.

mod bounds;
mod counts;
mod failures;

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use depesche_config::Config;
use depesche_store::{Engine, Options, memory::Memory};
use futures::future::BoxFuture;
use ruma::{
    OwnedRoomId, OwnedUserId, UserId,
    api::client::push::{Pusher, PusherIds, PusherInit, PusherKind},
    events::StateEventType,
    push::HttpPusherData,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use super::*;
use crate::{
    account_data::{AccountData, GLOBAL},
    keyspace::{DEVICE, PUSH_OUTBOX, PUSHER},
    push_rules::Editor,
    pushers::Pushers,
    records::accounts::Device,
    rooms::membership::Action,
    testing::{Fixture, user},
};

const URL: &str = "https://gateway.test/_matrix/push/v1/notify";
/// Longer than any pause.
const LONG: Duration = Duration::from_hours(3);

/// A gateway that answers as it is told to, and says what it was told. For pushkeys with the name it is slow, or stuck.
struct Gateway {
    answers: Mutex<VecDeque<Result<Value, GatewayError>>>,
    told: mpsc::UnboundedSender<Value>,
}

impl PushGateway for Gateway {
    fn notify<'a>(&'a self, url: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, GatewayError>> {
        assert_eq!(url, URL);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Ok(json!({ "rejected": [] })));
        let body: Value = serde_json::from_slice(&body).unwrap();
        let pushkey = body["notification"]["devices"][0]["pushkey"].as_str().unwrap().to_owned();
        self.told.send(body).unwrap();
        Box::pin(async move {
            if pushkey.starts_with("slow") {
                tokio::time::sleep(Duration::from_secs(3)).await;
            } else if pushkey.starts_with("stuck") {
                std::future::pending::<()>().await;
            }
            answer.map(|answer| answer.to_string().into_bytes())
        })
    }
}

/// Ann writes, ben has a phone.
struct World {
    fixture: Fixture,
    pushers: Pushers,
    gateway: Arc<Gateway>,
    told: mpsc::UnboundedReceiver<Value>,
    worker: Option<JoinHandle<()>>,
    ann: OwnedUserId,
    ben: OwnedUserId,
    room: OwnedRoomId,
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(config: &str) -> Self {
        Self::on(Arc::new(Memory::new(Options::default())), config).await
    }

    async fn on(engine: Arc<dyn Engine>, config: &str) -> Self {
        let config = Config::parse(&format!("[server]\nname = \"agency.test\"\n{config}")).unwrap();
        let fixture = Fixture::configured(engine, config);
        let (ann, ben) = (user("ann"), user("ben"));
        let room = fixture.public_room(&ann).await;
        fixture.join(&room, &ben).await;
        let pushers = Pushers::open(Arc::clone(&fixture.base)).await.unwrap();
        let (tell, told) = mpsc::unbounded_channel();
        let gateway = Arc::new(Gateway { answers: Mutex::default(), told: tell });
        let mut world = Self { fixture, pushers, gateway, told, worker: None, ann, ben, room };
        world.phone(&world.ben.clone(), "key", &json!({ "url": URL })).await;
        world.start();
        world
    }

    /// A pusher for a phone of its own.
    async fn phone(&self, user: &UserId, pushkey: &str, data: &Value) {
        let tx = self.fixture.base.tx();
        let device = Device { display_name: None, created_ms: 0 };
        tx.put(&DEVICE, &(user.to_owned(), pushkey.into()), &device);
        self.fixture.base.commit(&tx).await.unwrap();
        self.pushers.set(user, pushkey.into(), &pusher(pushkey, data), true).await.unwrap();
    }

    fn start(&mut self) {
        let gateway: Arc<dyn PushGateway> = Arc::<Gateway>::clone(&self.gateway);
        let worker = Worker::new(Arc::clone(&self.fixture.base), gateway);
        self.worker = Some(tokio::spawn(worker.run()));
    }

    /// As a crash does: nothing is written down.
    fn stop(&mut self) {
        self.worker.take().unwrap().abort();
    }

    fn fail(&self, times: usize) {
        let failure = || Err(GatewayError("away".to_owned()));
        self.gateway.answers.lock().unwrap().extend(std::iter::repeat_with(failure).take(times));
    }

    /// What the gateway is told next, while the clock goes on.
    async fn next(&mut self) -> Value {
        let told = next(&mut self.told, &self.fixture.hand, LONG).await;
        told.expect("the gateway is told something")["notification"].clone()
    }

    async fn nothing_more(&mut self) {
        let told = next(&mut self.told, &self.fixture.hand, Duration::from_secs(5)).await;
        assert_eq!(told, None);
    }

    async fn rows(&self) -> (usize, usize) {
        let view = self.fixture.base.view();
        let outbox = view.scan(&PUSH_OUTBOX, PUSH_OUTBOX.under(&()), 1000).await.unwrap();
        let queue = view.scan(&PUSH_QUEUE, PUSH_QUEUE.under(&()), 1000).await.unwrap();
        (outbox.len(), queue.len())
    }

    async fn rules(&self, user: &UserId, kind: &str, id: &str, enabled: bool) {
        let account_data = Arc::new(AccountData::new(Arc::clone(&self.fixture.base)));
        let editor = Editor::new(Arc::clone(&self.fixture.base), account_data);
        editor.set_enabled(user, &kind.into(), id, enabled).await.unwrap();
    }
}

/// The two clocks go together: tokio's, which is paused, and the server's.
async fn next(told: &mut mpsc::UnboundedReceiver<Value>, hand: &AtomicU64, limit: Duration) -> Option<Value> {
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    while waited < limit {
        if let Ok(told) = tokio::time::timeout(step, told.recv()).await {
            return told;
        }
        waited += step;
        hand.fetch_add(100, Ordering::Relaxed);
    }
    None
}

fn pusher(pushkey: &str, data: &Value) -> Pusher {
    let data: HttpPusherData = serde_json::from_value(data.clone()).unwrap();
    let init = PusherInit {
        ids: PusherIds::new(pushkey.to_owned(), "org.app".to_owned()),
        kind: PusherKind::Http(data),
        app_display_name: "App".to_owned(),
        device_display_name: "Phone".to_owned(),
        profile_tag: None,
        lang: "de".to_owned(),
    };
    init.into()
}

#[tokio::test(start_paused = true)]
async fn a_message_is_told() {
    let mut world = World::new().await;
    world.fixture.set(&world.room, &world.ann, StateEventType::RoomName, json!({ "name": "Office" })).await;
    let id = world.fixture.say(&world.room, &world.ann, "hello").await;
    let expected = json!({
        "event_id": id,
        "room_id": world.room,
        "type": "m.room.message",
        "sender": "@ann:agency.test",
        "room_name": "Office",
        "content": { "msgtype": "m.text", "body": "hello" },
        "prio": "high",
        "counts": { "unread": 1 },
        "devices": [{
            "app_id": "org.app", "pushkey": "key", "pushkey_ts": 1_700_000_000, "data": {},
            "tweaks": { "sound": "default" },
        }],
    });
    assert_eq!(world.next().await, expected);
    world.nothing_more().await;
    assert_eq!(world.rows().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_app_may_ask_for_no_content() {
    let mut world = World::new().await;
    let data = json!({ "url": URL, "format": "event_id_only", "brand": "x" });
    world.phone(&world.ben.clone(), "key", &data).await;
    let id = world.fixture.say(&world.room, &world.ann, "secret").await;
    let expected = json!({
        "event_id": id,
        "room_id": world.room,
        "prio": "high",
        "counts": { "unread": 1 },
        "devices": [{
            "app_id": "org.app", "pushkey": "key", "pushkey_ts": 1_700_000_000,
            "data": { "format": "event_id_only", "brand": "x" },
        }],
    });
    assert_eq!(world.next().await, expected);
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_keep_content_in() {
    let mut world = World::with("[push]\ninclude_content = false\nbadge = \"rooms\"").await;
    world.fixture.say(&world.room, &world.ann, "secret").await;
    let told = world.next().await;
    assert!(told.get("content").is_none() && told.get("sender").is_none(), "{told}");
    world.fixture.say(&world.room, &world.ann, "secret").await;
    assert_eq!(world.next().await["counts"]["unread"], 1, "one room");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_notify_is_not_told() {
    let mut world = World::new().await;
    let other = world.fixture.public_room(&world.ann).await;
    world.fixture.say(&other, &world.ann, "ben is not here").await;
    world.fixture.say(&world.room, &world.ben, "my own").await;
    world.fixture.set(&world.room, &world.ann, StateEventType::RoomTopic, json!({ "topic": "x" })).await;
    world.nothing_more().await;
    world.rules(&world.ben, "override", ".m.rule.master", true).await;
    world.fixture.say(&world.room, &world.ann, "not to be disturbed").await;
    world.nothing_more().await;
    world.rules(&world.ben, "override", ".m.rule.master", false).await;
    let account_data = AccountData::new(Arc::clone(&world.fixture.base));
    let ignored = serde_json::value::to_raw_value(&json!({ "ignored_users": { world.ann.as_str(): {} } })).unwrap();
    account_data.set(&world.ben, GLOBAL, "m.ignored_user_list", &ignored).await.unwrap();
    world.fixture.say(&world.room, &world.ann, "ignored").await;
    world.nothing_more().await;
    assert_eq!(world.rows().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_invite_is_told() {
    let mut world = World::new().await;
    let room = world.fixture.room(&world.ann).await;
    world.fixture.change(&room, &world.ann, &world.ben, Action::Invite).await.unwrap();
    let told = world.next().await;
    assert_eq!((&told["room_id"], &told["user_is_target"]), (&json!(room), &json!(true)), "{told}");
    assert_eq!(told["devices"][0]["tweaks"], json!({ "sound": "default" }));
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_is_coalesced() {
    let mut world = World::new().await;
    world.stop();
    let mut last = None;
    for n in 0..30 {
        last = Some(world.fixture.say(&world.room, &world.ann, &n.to_string()).await);
    }
    let name = json!({ "msgtype": "m.text", "body": "ben", "m.mentions": { "user_ids": [world.ben] } });
    let named = crate::rooms::send::Message {
        sender: world.ann.clone(),
        kind: "m.room.message".into(),
        content: crate::testing::object(name),
        transaction: None,
    };
    let named = world.fixture.rooms.submit(&world.room, named).await.unwrap().event_id;
    let newest = world.fixture.say(&world.room, &world.ann, "newest").await;
    assert_ne!(last, None);
    world.start();
    let (first, second) = (world.next().await, world.next().await);
    assert_eq!((&first["event_id"], &second["event_id"]), (&json!(named), &json!(newest)));
    assert_eq!(second["counts"]["unread"], 32);
    world.nothing_more().await;
    assert_eq!(world.rows().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_old_is_not_told() {
    let mut world = World::new().await;
    world.fail(usize::from(u8::MAX));
    world.fixture.say(&world.room, &world.ann, "old").await;
    world.next().await;
    world.fixture.hand.fetch_add(25 * 60 * 60 * 1000, Ordering::Relaxed);
    world.nothing_more().await;
    assert_eq!(world.rows().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pusher_that_goes_takes_its_queue_along() {
    let mut world = World::new().await;
    world.fail(usize::from(u8::MAX));
    world.fixture.say(&world.room, &world.ann, "one").await;
    world.next().await;
    let tx = world.fixture.base.tx();
    pushers::forget_devices(&tx, &world.ben, &["another".into()]).await.unwrap();
    assert!(tx.finish().is_empty());
    let tx = world.fixture.base.tx();
    pushers::forget_devices(&tx, &world.ben, &["key".into()]).await.unwrap();
    world.fixture.base.commit(&tx).await.unwrap();
    world.nothing_more().await;
    assert_eq!(world.rows().await, (0, 0));
    assert!(world.fixture.base.view().scan(&PUSHER, PUSHER.under(&()), 10).await.unwrap().is_empty());
}
