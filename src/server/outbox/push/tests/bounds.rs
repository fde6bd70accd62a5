//! What one user, one event or one gateway can do to the others.

use depesche_store::counting::Counting;
use ruma::push::{NewConditionalPushRule, NewPushRule};

use super::*;
use crate::{
    keyspace::{ACCOUNT_DATA, MEMBER, PUSHER_COUNT, ROOM_NO},
    push_rules::{Beside, Editor},
    records::push::Pusher as Row,
    rooms::view::RoomView,
};

impl World {
    /// A user with these phones, in the room.
    async fn user_with_phones(&self, name: &str, pushkeys: &[String]) -> OwnedUserId {
        let user = user(name);
        self.fixture.join(&self.room, &user).await;
        self.phones(&user, pushkeys).await;
        user
    }

    async fn phones(&self, user: &UserId, pushkeys: &[String]) {
        let tx = self.fixture.base.tx();
        let row = tx.view().get(&PUSHER, &key(&self.ben, "key")).await.unwrap().unwrap();
        let row = Row { device: "none".to_owned(), ..row };
        for pushkey in pushkeys {
            tx.put(&PUSHER, &key(user, pushkey), &row);
        }
        tx.put(&PUSHER_COUNT, &(user.to_owned(),), &(u32::try_from(pushkeys.len()).unwrap()));
        self.fixture.base.commit(&tx).await.unwrap();
        // As whoever sets a pusher does.
        self.fixture.base.pushers.fetch_add(1, Ordering::Release);
    }

    /// A rule that notifies of all, with so long a tweak.
    async fn long_tweak(&self, user: &UserId, bytes: usize) {
        let account_data = Arc::new(AccountData::new(Arc::clone(&self.fixture.base)));
        let editor = Editor::new(Arc::clone(&self.fixture.base), account_data);
        let actions = json!(["notify", { "set_tweak": "org.example", "value": "x".repeat(bytes) }]);
        let rule = NewConditionalPushRule::new("mine".into(), vec![], serde_json::from_value(actions).unwrap());
        editor.put(user, &NewPushRule::Override(rule), Beside::default()).await.unwrap();
    }

    /// Thirty users with sixty phones each, for which an event is more than one batch.
    async fn many_users(&self) {
        let users: Vec<_> = (0..30).map(|n| user(&format!("user{n}"))).collect();
        for user in &users {
            self.fixture.join(&self.room, user).await;
        }
        let mut distributor = Distributor::new(Arc::clone(&self.fixture.base));
        while distributor.distribute(&mut BTreeSet::new()).await.unwrap() {}
        assert_eq!(self.all_rows().await, (0, 0), "joins notify nobody");
        for user in &users {
            self.phones(user, &pushkeys("phone", 60)).await;
            self.long_tweak(user, 900).await;
        }
    }

    async fn all_rows(&self) -> (usize, usize) {
        let view = self.fixture.base.view();
        let outbox = view.scan(&PUSH_OUTBOX, PUSH_OUTBOX.under(&()), 10_000).await.unwrap();
        let queue = view.scan(&PUSH_QUEUE, PUSH_QUEUE.under(&()), 10_000).await.unwrap();
        (outbox.len(), queue.len())
    }
}

fn key(user: &UserId, pushkey: &str) -> PusherKey {
    (user.to_owned(), "org.app".to_owned(), pushkey.to_owned())
}

fn pushkeys(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n}")).collect()
}

fn told_to(told: &Value) -> &str {
    told["devices"][0]["pushkey"].as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn gateways_of_one_user_that_never_answer_leave_room_for_others() {
    let mut world = World::with("[push]\nconcurrency = 6").await;
    world.user_with_phones("aaa", &pushkeys("stuck", 20)).await;
    world.fixture.say(&world.room, &world.ann, "hello").await;
    let mut told = Vec::new();
    while told.last().is_none_or(|told| told != "key") {
        told.push(told_to(&world.next().await).to_owned());
    }
    assert!(told.len() <= 5, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_gateway_has_short_turns() {
    let mut world = World::with("[push]\nconcurrency = 1").await;
    world.stop();
    world.user_with_phones("aaa", &pushkeys("slow", 1)).await;
    for n in 0..8 {
        world.fixture.say(&world.room, &world.ann, &n.to_string()).await;
    }
    world.start();
    let mut told = Vec::new();
    for _ in 0..16 {
        told.push(told_to(&world.next().await).to_owned());
    }
    assert_eq!(told[..3], ["slow0", "slow0", "key"]);
    assert_eq!(told.iter().filter(|key| *key == "key").count(), 8);
}

#[tokio::test]
async fn an_event_for_many_is_distributed_in_parts_over_a_crash() {
    let mut world = World::new().await;
    world.stop();
    world.many_users().await;
    world.fixture.say(&world.room, &world.ann, "hello").await;
    assert_eq!(world.rows().await, (1, 0));
    let base = Arc::clone(&world.fixture.base);
    let distribution =
        tokio::spawn(async move { Distributor::new(base).distribute(&mut BTreeSet::new()).await.unwrap() });
    while world.rows().await.1 == 0 {
        tokio::task::yield_now().await;
    }
    // The crash.
    distribution.abort();
    assert!(distribution.await.unwrap_err().is_cancelled());
    let (outbox, queue) = world.all_rows().await;
    assert!(outbox == 1 && queue > 0 && queue < 1800, "{outbox} {queue}");
    let (mut distributor, mut woken) = (Distributor::new(Arc::clone(&world.fixture.base)), BTreeSet::new());
    while distributor.distribute(&mut woken).await.unwrap() {}
    assert_eq!(world.all_rows().await, (0, 30 * 60 + 1));
    assert_eq!(woken.len(), 30 * 60 + 1, "each is woken, also those whose part was committed before the crash");
}

#[tokio::test]
async fn a_part_that_is_committed_is_not_queued_again_when_a_pusher_comes_meanwhile() {
    let mut world = World::new().await;
    world.stop();
    world.many_users().await;
    world.fixture.say(&world.room, &world.ann, "hello").await;
    let mut distributor = Distributor::new(Arc::clone(&world.fixture.base));
    let mut woken = BTreeSet::new();
    {
        let mut distribution = std::pin::pin!(distributor.distribute(&mut woken));
        while world.rows().await.1 == 0 {
            assert!(futures::poll!(distribution.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
        // Of those whose part is yet to come, one sets a pusher anew; of the others, one has been told already.
        let view = world.fixture.base.view();
        let row = view.get(&PUSHER, &key(&user("user29"), "phone0")).await.unwrap().unwrap();
        let tx = world.fixture.base.tx();
        tx.put(&PUSHER, &key(&user("user29"), "phone0"), &Row { set_ms: row.set_ms + 1, ..row });
        let (first, _) = view.scan(&PUSH_QUEUE, PUSH_QUEUE.under(&()), 1).await.unwrap().remove(0);
        tx.delete(&PUSH_QUEUE, &first);
        world.fixture.base.commit(&tx).await.unwrap();
        assert!(distribution.await.unwrap(), "it conflicts");
    }
    while distributor.distribute(&mut woken).await.unwrap() {}
    assert_eq!(world.all_rows().await, (0, 30 * 60), "all but what was told");
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_notices_cannot_be_stored_is_passed_over() {
    let mut world = World::new().await;
    // A pusher whose key can just be stored; a row of its queue has a longer one.
    let fits = |length: &usize| PUSHER.key(&key(&world.ben, &"x".repeat(*length))).len() == depesche_store::MAX_KEY;
    let length = (0..depesche_store::MAX_KEY).find(fits).unwrap();
    world.stop();
    let other = world.fixture.public_room(&world.ann).await;
    let cleo = user("cleo");
    world.fixture.join(&other, &cleo).await;
    world.phones(&cleo, &pushkeys("phone", 1)).await;
    let ben = world.ben.clone();
    world.phones(&ben, &["key".to_owned(), "x".repeat(length)]).await;
    world.fixture.say(&other, &world.ann, "before").await;
    world.fixture.say(&world.room, &world.ann, "which cannot be stored").await;
    world.fixture.say(&other, &world.ann, "after").await;
    world.start();
    for body in ["before", "after"] {
        let told = world.next().await;
        assert_eq!((told_to(&told), &told["content"]["body"]), ("phone0", &json!(body)));
    }
    assert_eq!(world.rows().await.0, 0);
}

#[tokio::test]
async fn who_sets_a_pusher_while_a_batch_is_made_is_there_for_the_next() {
    let mut world = World::new().await;
    world.stop();
    let cleo = user("cleo");
    world.fixture.join(&world.room, &cleo).await;
    let mut distributor = Distributor::new(Arc::clone(&world.fixture.base));
    let mut found = Vec::new();
    for _ in 0..2 {
        let (generation, view) = distributor.begin();
        world.phone(&cleo, "other", &json!({ "url": URL })).await;
        let no = view.get(&ROOM_NO, &(world.room.clone(),)).await.unwrap().unwrap();
        let room = RoomView::open(&view, no).await.unwrap();
        found.push(distributor.candidates.of(&room, generation).await.unwrap().contains(&cleo));
    }
    assert_eq!(found, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_many_pages_is_coalesced_as_a_whole() {
    let mut world = World::new().await;
    world.stop();
    let newest = world.fixture.say(&world.room, &world.ann, "newest").await;
    let mut distributor = Distributor::new(Arc::clone(&world.fixture.base));
    while distributor.distribute(&mut BTreeSet::new()).await.unwrap() {}
    let tx = world.fixture.base.tx();
    let ((user, app, pushkey, position, _), notice) =
        tx.view().scan(&PUSH_QUEUE, PUSH_QUEUE.under(&()), 1).await.unwrap().remove(0);
    for sub in 0..1700 {
        // What came before, all of the one room.
        let place = Position(position.0 - 1);
        tx.put(&PUSH_QUEUE, &(user.clone(), app.clone(), pushkey.clone(), place, sub), &notice);
    }
    world.fixture.base.commit(&tx).await.unwrap();
    world.start();
    assert_eq!(world.next().await["event_id"], json!(newest));
    world.nothing_more().await;
    assert_eq!(world.rows().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_is_not_what_the_app_has_set_meanwhile() {
    let mut world = World::new().await;
    let (cleo, other) = (user("cleo"), world.fixture.public_room(&world.ann).await);
    world.fixture.join(&other, &cleo).await;
    world.phone(&cleo, "slow", &json!({ "url": URL })).await;
    world.gateway.answers.lock().unwrap().push_back(Ok(json!({ "rejected": ["slow"] })));
    world.fixture.say(&other, &world.ann, "hello").await;
    assert_eq!(told_to(&world.next().await), "slow");
    // While the gateway thinks it over.
    world.fixture.hand.fetch_add(10, Ordering::Relaxed);
    world.phone(&cleo, "slow", &json!({ "url": URL })).await;
    assert_eq!(told_to(&world.next().await), "slow", "the app of today is told");
    world.nothing_more().await;
    assert_eq!(world.pushers.list(&cleo).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_costs_neither_the_rules_of_its_readers_nor_a_look_at_all_members() {
    let engine = Counting::new(Memory::new(Options::default()));
    let count = engine.count();
    let mut world = World::on(Arc::new(engine), "").await;
    world.stop();
    let mut readers = Vec::new();
    for n in 0..30 {
        readers.push(world.user_with_phones(&format!("user{n}"), &pushkeys("phone", 1)).await);
    }
    let mut distributor = Distributor::new(Arc::clone(&world.fixture.base));
    // How many are told, and how many rows of a table are asked for meanwhile.
    let mut told = 0;
    let mut tell = async |world: &World| {
        count.reset();
        while distributor.distribute(&mut BTreeSet::new()).await.unwrap() {}
        let asked = count.by_first_byte();
        let (before, (_, queued)) = (told, world.all_rows().await);
        told = queued;
        let of = move |number: u8| asked.get(&number).map_or(0, |rows| rows.gets);
        (queued - before, of(ACCOUNT_DATA.number), of(PUSHER_COUNT.number), of(MEMBER.number))
    };
    world.fixture.say(&world.room, &world.ann, "first").await;
    let (notified, rules, ..) = tell(&world).await;
    assert_eq!((notified, rules), (31, 62), "once for each of them, ben among them");
    world.fixture.say(&world.room, &world.ann, "second").await;
    let (notified, rules, pushers, _) = tell(&world).await;
    assert_eq!((notified, rules, pushers), (31, 0, 0));
    let notice = json!({ "msgtype": "m.notice", "body": "of a machine" });
    world.fixture.send(&world.room, &world.ann, "m.room.message", notice).await;
    assert_eq!(tell(&world).await, (0, 0, 0, 0), "what notifies nobody costs nobody's row");
    let mention = json!({ "msgtype": "m.notice", "body": "you", "m.mentions": { "user_ids": [readers[3]] } });
    world.fixture.send(&world.room, &world.ann, "m.room.message", mention).await;
    assert_eq!(tell(&world).await.0, 0, "notices come before mentions");
    let mention = json!({ "m.mentions": { "user_ids": [readers[3]] } });
    world.fixture.send(&world.room, &world.ann, "org.example", mention).await;
    assert_eq!(tell(&world).await.0, 1, "who is named is judged alone");
    // A list that changes is read again, and no other one.
    world.fixture.ignore(&readers[0], &[&world.ann]).await;
    world.fixture.say(&world.room, &world.ann, "third").await;
    let (notified, rules, ..) = tell(&world).await;
    assert_eq!((notified, rules), (30, 2));
    // Of another state those are looked at who came or went.
    world.fixture.change(&world.room, &readers[1], &readers[1], Action::Leave).await.unwrap();
    world.fixture.say(&world.room, &world.ann, "fourth").await;
    let (notified, _, pushers, _) = tell(&world).await;
    assert_eq!(notified, 29);
    assert!(pushers <= 2, "{pushers}");
    world.fixture.join(&world.room, &readers[1]).await;
    world.fixture.join(&world.room, &user("cleo")).await;
    world.fixture.say(&world.room, &world.ann, "fifth").await;
    let (notified, _, pushers, _) = tell(&world).await;
    assert_eq!(notified, 30, "of those who came, who has a pusher");
    assert!(pushers <= 4, "{pushers}");
}
