//! From an event to a gateway, over failures and restarts.

mod bounds;

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use depesche_config::Config;
use depesche_store::{
    Engine, Options,
    counting::Counting,
    faults::{Fault as Injected, Faults},
    memory::Memory,
};
use futures::future::BoxFuture;
use ruma::{
    OwnedRoomId, OwnedUserId, UserId,
    api::client::push::{Pusher, PusherIds, PusherInit, PusherKind},
    events::StateEventType,
    push::HttpPusherData,
};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};

use super::{badge::Badges, *};
use crate::{
    account_data::{AccountData, GLOBAL},
    keyspace::{ACCOUNT_DATA, DEVICE, PUSH_OUTBOX, PUSHER},
    push_rules::Editor,
    pushers::Pushers,
    records::accounts::Device,
    rooms::{
        membership::Action,
        receipts::{Read, Receipts},
    },
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
async fn a_gateway_that_fails_is_asked_again_at_growing_intervals() {
    let mut world = World::new().await;
    world.fail(4);
    let began = world.fixture.hand.load(Ordering::Relaxed);
    let id = world.fixture.say(&world.room, &world.ann, "hello").await;
    let mut at = Vec::new();
    for _ in 0..5 {
        assert_eq!(world.next().await["event_id"], json!(id));
        at.push((world.fixture.hand.load(Ordering::Relaxed) - began) / 1000);
    }
    assert_eq!(at, [0, 1, 3, 7, 15]);
    world.nothing_more().await;
    assert_eq!(world.rows().await, (0, 0));
    let view = world.fixture.base.view();
    let key = (world.ben.clone(), "org.app".to_owned(), "key".to_owned());
    assert_eq!(view.get(&PUSH_DELIVERY, &key).await.unwrap().unwrap().failures, 0, "a success begins anew");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_told_is_told_after_a_restart() {
    let mut world = World::new().await;
    world.stop();
    let first = world.fixture.say(&world.room, &world.ann, "nobody looked at it").await;
    assert_eq!(world.rows().await, (1, 0));
    world.fail(1);
    world.start();
    assert_eq!(world.next().await["event_id"], json!(first));
    let second = world.fixture.say(&world.room, &world.ann, "waits behind it").await;
    tokio::task::yield_now().await;
    world.stop();
    world.start();
    assert_eq!(world.next().await["event_id"], json!(first));
    assert_eq!(world.next().await["event_id"], json!(second));
    world.nothing_more().await;
    assert_eq!(world.rows().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_gateway_that_is_away_does_not_hold_up_others() {
    let mut world = World::new().await;
    world.fail(1);
    world.fixture.say(&world.room, &world.ann, "one").await;
    assert_eq!(world.next().await["devices"][0]["pushkey"], "key");
    let cleo = user("cleo");
    world.fixture.join(&world.room, &cleo).await;
    world.phone(&cleo, "other", &json!({ "url": URL })).await;
    world.fixture.say(&world.room, &world.ann, "two").await;
    assert_eq!(world.next().await["devices"][0]["pushkey"], "other");
}

#[tokio::test(start_paused = true)]
async fn damage_at_one_user_keeps_nothing_from_others() {
    let mut world = World::new().await;
    let abe = user("abe");
    world.fixture.join(&world.room, &abe).await;
    world.phone(&abe, "abes", &json!({ "url": URL })).await;
    world.nothing_more().await;
    let tx = world.fixture.base.tx();
    for kind in ["m.push_rules", "m.ignored_user_list"] {
        tx.put_stored(ACCOUNT_DATA.key(&(abe.clone(), GLOBAL, kind.to_owned())), "nonsense".into());
    }
    world.fixture.base.commit(&tx).await.unwrap();
    world.fixture.say(&world.room, &world.ann, "hello").await;
    assert_eq!(world.next().await["devices"][0]["pushkey"], "key");
    world.stop();
    // A row of a queue, which a start reads first.
    let tx = world.fixture.base.tx();
    let row = (abe.clone(), "org.app".to_owned(), "abes".to_owned(), Position(1), 0);
    tx.put_stored(PUSH_QUEUE.key(&row), "nonsense".into());
    world.fixture.base.commit(&tx).await.unwrap();
    world.start();
    world.fixture.say(&world.room, &world.ann, "hello again").await;
    assert_eq!(world.next().await["devices"][0]["pushkey"], "key");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_pushkey_loses_its_pusher() {
    let mut world = World::new().await;
    let rejected = |key: &str| Ok(json!({ "rejected": [key] }));
    world.gateway.answers.lock().unwrap().extend([rejected("another"), rejected("key")]);
    for body in ["one", "two", "three"] {
        world.fixture.say(&world.room, &world.ann, body).await;
    }
    world.next().await;
    world.next().await;
    world.nothing_more().await;
    assert!(world.pushers.list(&world.ben).await.unwrap().is_empty());
    assert_eq!(world.rows().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_gateway_took_is_not_sent_again_while_nothing_can_be_written() {
    let engine = Faults::new(Memory::new(Options::default()));
    let control = engine.control();
    let mut world = World::on(Arc::new(engine), "").await;
    world.nothing_more().await;
    world.stop();
    let rejected = Ok(json!({ "rejected": ["key"] }));
    world.gateway.answers.lock().unwrap().extend([Ok(json!({})), rejected]);
    let gateway: Arc<dyn PushGateway> = Arc::<Gateway>::clone(&world.gateway);
    let courier = Courier::new(Arc::clone(&world.fixture.base), gateway);
    let (key, rest) = ((world.ben.clone(), "org.app".to_owned(), "key".to_owned()), PUSH_OUTBOX.under(&()));
    for is_rejected in [false, true] {
        world.fixture.say(&world.room, &world.ann, "hello").await;
        let mut distributor = Distributor::new(Arc::clone(&world.fixture.base));
        while distributor.distribute(&mut BTreeSet::new()).await.unwrap() {}
        let now_ms = world.fixture.base.clock.now_ms();
        control.next([Injected::Failed; 3]);
        for pause_ms in [10_000, 20_000, 40_000] {
            assert_eq!(courier.deliver(&key, false, &rest).await, (Next::At(now_ms + pause_ms), false));
        }
        let expected = if is_rejected { Next::Gone } else { Next::Nothing };
        assert_eq!(courier.deliver(&key, false, &rest).await, (expected, false));
        assert!(world.told.try_recv().is_ok() && world.told.try_recv().is_err(), "it was sent once");
        assert_eq!(world.rows().await, (0, 0));
    }
    assert!(world.pushers.list(&world.ben).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_while_nothing_can_be_distributed() {
    let engine = Faults::new(Memory::new(Options::default()));
    let control = engine.control();
    let mut world = World::on(Arc::new(engine), "").await;
    world.nothing_more().await;
    world.stop();
    let waits = world.fixture.say(&world.room, &world.ann, "waits").await;
    let mut distributor = Distributor::new(Arc::clone(&world.fixture.base));
    while distributor.distribute(&mut BTreeSet::new()).await.unwrap() {}
    let later = world.fixture.say(&world.room, &world.ann, "later").await;
    control.next([Injected::Failed]);
    let began = world.fixture.hand.load(Ordering::Relaxed);
    world.start();
    let first = world.next().await;
    assert_eq!((&first["event_id"], control.left()), (&json!(waits), 0));
    assert!(world.fixture.hand.load(Ordering::Relaxed) - began < 1000, "at once");
    assert_eq!(world.next().await["event_id"], json!(later));
}

#[tokio::test]
async fn a_count_costs_what_has_changed_and_is_what_all_rooms_say() {
    let engine = Counting::new(Memory::new(Options::default()));
    let count = engine.count();
    let server = Fixture::on(Arc::new(engine));
    let (ann, ben) = (user("ann"), user("ben"));
    let badges = Badges::new(Arc::clone(&server.base));
    let counted = async || {
        let view = server.base.view();
        let anew = Badges::new(Arc::clone(&server.base)).count(&view, &ben).await.unwrap();
        let before = count.snapshot();
        let kept = badges.count(&view, &ben).await.unwrap();
        assert_eq!(kept, anew);
        let read = count.snapshot() - before;
        (kept, read.gets + read.rows_read)
    };
    assert_eq!(counted().await.0, 0);
    let (mut rooms, mut said) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let room = server.public_room(&ann).await;
        server.join(&room, &ben).await;
        said.push(server.say(&room, &ann, "hello").await);
        rooms.push(room);
    }
    let (unread, all) = counted().await;
    assert_eq!(unread, 40);
    server.say(&rooms[3], &ann, "again").await;
    let (unread, one) = counted().await;
    assert_eq!(unread, 41);
    assert!(one < all / 10, "{one} reads, {all} for all rooms");
    assert_eq!(counted().await, (41, 0));
    let data = Arc::new(AccountData::new(Arc::clone(&server.base)));
    let receipts = Receipts::new(Arc::clone(&server.base), data);
    for (n, is_public) in [(5, true), (6, false)] {
        let event = Some(said[n].clone());
        let (public, private) = if is_public { (event, None) } else { (None, event) };
        // As clients do with each message that is read.
        let read = Read { public, private, fully: Some(said[n].clone()), ..Read::default() };
        receipts.read(&ben, &rooms[n], &read).await.unwrap();
        let (unread, one) = counted().await;
        assert_eq!(unread, 40 - u32::from(!is_public));
        assert!(one < all / 8, "{one} reads, {all} for all rooms");
    }
    server.say(&rooms[7], &ben, "seen").await;
    assert_eq!(counted().await.0, 38);
    server.redact(&rooms[8], &ann, &said[8]).await;
    assert_eq!(counted().await.0, 37);
    server.change(&rooms[9], &ben, &ben, Action::Leave).await.unwrap();
    assert_eq!(counted().await.0, 36);
    server.ignore(&ben, &[&ann]).await;
    assert_eq!(counted().await.0, 0);
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
async fn reading_is_told_as_a_count() {
    let mut world = World::new().await;
    world.fixture.say(&world.room, &world.ann, "one").await;
    assert_eq!(world.next().await["counts"]["unread"], 1);
    // What one sends oneself is read, and all before it.
    world.fixture.say(&world.room, &world.ben, "seen").await;
    let base = Arc::clone(&world.fixture.base);
    let tx = base.tx();
    pushers::count_changed(&base, &tx, &world.ben).await.unwrap();
    base.commit(&tx).await.unwrap();
    let told = world.next().await;
    assert_eq!(told["counts"], json!({ "unread": 0 }));
    assert_eq!((told.get("event_id"), told.get("room_id")), (None, None));
    let tx = base.tx();
    pushers::count_changed(&base, &tx, &world.ben).await.unwrap();
    base.commit(&tx).await.unwrap();
    world.nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn who_sets_a_pusher_is_not_told_the_count_but_how_it_changes() {
    let mut world = World::new().await;
    world.fixture.say(&world.room, &world.ann, "one").await;
    assert_eq!(world.next().await["counts"]["unread"], 1);
    let data = json!({ "url": URL });
    world.phone(&world.ben.clone(), "key", &data).await;
    world.phone(&world.ben.clone(), "new", &data).await;
    world.nothing_more().await;
    world.fixture.say(&world.room, &world.ben, "seen").await;
    let base = Arc::clone(&world.fixture.base);
    let tx = base.tx();
    pushers::count_changed(&base, &tx, &world.ben).await.unwrap();
    base.commit(&tx).await.unwrap();
    for _ in ["key", "new"] {
        assert_eq!(world.next().await["counts"], json!({ "unread": 0 }));
    }
    world.nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn a_count_that_a_gateway_did_not_take_is_told_later() {
    let mut world = World::new().await;
    world.fixture.say(&world.room, &world.ann, "one").await;
    world.next().await;
    world.fixture.say(&world.room, &world.ben, "seen").await;
    world.nothing_more().await;
    world.fail(1);
    let base = Arc::clone(&world.fixture.base);
    let tx = base.tx();
    pushers::count_changed(&base, &tx, &world.ben).await.unwrap();
    base.commit(&tx).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.next().await["counts"], json!({ "unread": 0 }));
    }
    world.nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn a_count_waits_for_the_events_in_it() {
    let mut world = World::new().await;
    world.stop();
    let gateway: Arc<dyn PushGateway> = Arc::<Gateway>::clone(&world.gateway);
    let courier = Courier::new(Arc::clone(&world.fixture.base), gateway);
    let (key, rest) = ((world.ben.clone(), "org.app".to_owned(), "key".to_owned()), PUSH_OUTBOX.under(&()));
    assert_eq!(courier.deliver(&key, true, &rest).await, (Next::Nothing, false), "a pusher that was set");
    let id = world.fixture.say(&world.room, &world.ann, "one").await;
    assert_eq!(courier.deliver(&key, true, &rest).await, (Next::Behind, true));
    let later = Position(world.fixture.base.view().position().0 + 1);
    let other = world.fixture.public_room(&world.ann).await;
    world.fixture.say(&other, &world.ann, "ben is not here").await;
    let rest = PUSH_OUTBOX.from(&(), &(later, 0));
    assert_eq!(courier.deliver(&key, true, &rest).await, (Next::Nothing, false), "other rooms do not hold it up");
    assert_eq!(world.next().await["counts"], json!({ "unread": 1 }));
    world.start();
    assert_eq!(world.next().await["event_id"], json!(id));
    world.nothing_more().await;
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
