//! The number on an app's icon: what it counts, what counting costs, and when it is told without an event.

use depesche_store::counting::Counting;

use super::*;
use crate::{
    outbox::push::badge::Badges,
    rooms::receipts::{Read, Receipts},
};

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
