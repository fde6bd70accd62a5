//! A gateway that fails, a database that takes no writes, a start after a crash: what waits is told all the same, once.

use depesche_store::faults::{Fault as Injected, Faults};

use super::*;
use crate::keyspace::ACCOUNT_DATA;

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
